"""A step of learning on Z-Image is that of a straightforward loop; checkpointing, compiling and estimates hold for it too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import ZImagePipeline
from peft import LoraConfig, set_peft_model_state_dict
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipelines import image_io
from pipelines.diffusion.base import device, lora
from pipelines.diffusion.base.families.zimage import ZImage
from pipelines.diffusion.base.loading import load_components, open_base
from pipelines.diffusion.training import class_images, estimate, run
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from pipelines.settings import PriorSettings, TrainSettings
from portrait.arrays import Image, Size
from portrait.training import TrainingJob
from portrait.types import Crop
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_zimage
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

PRIOR = PriorSettings(weight=0.7, images=2, steps=1)
TARGETS = r"layers\.\d+\.attention\.(to_[qkv]|to_out\.0)"
"""PEFT takes a text for a pattern of whole names."""
NEAR = 1e-5


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder `zimage`."""
    folder = tmp_path_factory.mktemp("zimage")
    tiny_zimage.zimage(folder / "zimage")
    return folder


def training_run(hub: Path, settings: TrainSettings, work_dir: Path, wide: bool = False) -> TrainingRun:
    """A run on the tiny base, with pictures that are square or wide, whose captions are of different lengths."""
    training, size = tiny_training.training_set(2), Size(64, 48) if wide else Size(64, 64)
    captions = ("a photo of sks person", "a photo of sks person in the studio")
    crops = (Crop(drawing.picture(at, size), caption, f"{at}.png") for at, caption in enumerate(captions))
    return tiny_training.training_run(hub, "zimage", settings, work_dir, replace(training, crops=tuple(crops)))


@pytest.mark.parametrize(("prior", "wide"), [(PriorSettings(), True), (PRIOR, False)], ids=["alone", "prior"])
def test_the_first_step_equals_a_straightforward_loop(
    hub: Path, tmp_path: Path, prior: PriorSettings, wide: bool
) -> None:
    of = training_run(hub, replace(PLAIN, batch=2, prior=prior), tmp_path, wide)
    learner, dataset = run.build_learner(of, None), run.build_dataset(of)
    random = torch.Generator().manual_seed(3)
    # The second factor begins at zero, where half of the gradients vanish.
    weights = {key: 0.3 * torch.randn(each.shape, generator=random) for key, each in learner.get_weights().items()}
    learner.load_weights(weights)
    loss = learner.loss(dataset, 0)
    loss.backward()
    grown = {key: place.grad for key, place in lora.trainable_parameters(learner.denoiser, "transformer")}
    expected, gradients = straightforward(of, weights, dataset)
    assert loss.item() == pytest.approx(expected, abs=NEAR, rel=NEAR)
    assert grown.keys() == gradients.keys()
    assert len(grown) == 2 * 4 * 2, "of two blocks, and not of the refiners"
    assert max(each.abs().max().item() for each in gradients.values()) > 1e-3
    for key, gradient in gradients.items():
        found = grown[key]
        assert found is not None
        assert torch.allclose(found, gradient, atol=NEAR), key


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, dict[str, torch.Tensor]]:
    """As diffusers' script for Z-Image writes it: everything in the loop, one batch of the person and of others."""
    pipe: Any = ZImagePipeline.from_pretrained(of.base.path, local_files_only=True)
    network, vae, prior = pipe.transformer.requires_grad_(False), pipe.vae, of.settings.prior
    network.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS))
    set_peft_model_state_dict(network, {key.removeprefix("transformer."): each for key, each in weights.items()})
    own = [of.job.training.crops[at] for at in dataset.sample_indices(0)]
    images, captions = [crop.image for crop in own], [crop.caption for crop in own]
    assert len(set(captions)) == 2
    if prior.weight:
        folder = class_images.cache_folder(of.cache, of.base_hash, prior, "person", 64)
        picked = dataset.class_indices(0)
        images += [image_io.read(folder / f"{at:04}.png").image for at in picked]
        captions += ["a photo of a person"] * len(picked)
    bucket = dataset.samples[0].sizes.bucket
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    drawn = [draw(random, count, bucket) for count in (len(own), len(images) - len(own)) if count]
    spread, noise, sigma = (torch.cat(each) for each in zip(*drawn, strict=True))
    pixels = torch.stack([torch.tensor(resized(image, bucket)).permute(2, 0, 1) for image in images])
    with torch.no_grad():
        found = vae.encode(pixels / 127.5 - 1).latent_dist
        clean = (found.mean + found.std * spread - vae.config.shift_factor) * vae.config.scaling_factor
        given = {"max_sequence_length": tiny_zimage.LENGTH, "do_classifier_free_guidance": False}
        words, _ = pipe.encode_prompt(captions, **given)
    noised = (1 - sigma) * clean + sigma * noise
    predicted = network(list(noised.unsqueeze(2).unbind(0)), 1 - sigma.flatten(), words, return_dict=False)[0]
    predicted = -torch.stack(predicted, dim=0).squeeze(2)
    errors = (predicted - (noise - clean)).square().mean(dim=(1, 2, 3))
    loss = errors[: len(own)].mean() + (prior.weight * errors[len(own) :].mean() if prior.weight else 0)
    loss.backward()
    named = {key.replace(".default.", "."): each.grad for key, each in network.named_parameters() if "lora_" in key}
    return loss.item(), {f"transformer.{key}": each for key, each in named.items()}


def draw(random: torch.Generator, count: int, bucket: Size) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise of the VAE's distribution, noise and sigmas by the random numbers of the learner, in their order."""
    for _ in range(count):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    shape = (count, 16, bucket.height // 8, bucket.width // 8)
    spread, noise = (torch.randn(shape, generator=random) for _ in range(2))
    uniform = torch.sigmoid(torch.randn((count,), generator=random))
    torch.rand(count, generator=random)  # caption or not
    return spread, noise, (2 * uniform / (1 + uniform)).view(-1, 1, 1, 1)


def resized(image: Image, bucket: Size) -> np.ndarray:
    """A picture in the size of its bucket."""
    wanted = (bucket.width, bucket.height)
    return image if image.shape[1::-1] == wanted else cv2.resize(image, wanted, interpolation=cv2.INTER_AREA)


def test_checkpointing_leaves_gradients_as_they_are(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ZImage, "stored_products", 64)  # of products with 32 and 85 numbers
    found = []
    for mode in ("off", "light", "full"):
        of = training_run(hub, replace(PLAIN, checkpointing=mode), tmp_path)
        learner, dataset = run.build_learner(of, None), run.build_dataset(of)
        learner.denoiser.train()
        with FlopCounterMode(display=False) as counter:
            learner.loss(dataset, 0).backward()
        places = lora.trainable_parameters(learner.denoiser, "transformer")
        found.append(([place.grad for _, place in places if place.grad is not None], counter.get_total_flops()))
    off, light, full = found
    assert off[1] < light[1] < full[1], "light computes less again"
    for gradients, _ in (light, full):
        assert len(gradients) == len(off[0]) == 16
        assert all(torch.equal(one, other) for one, other in zip(gradients, off[0], strict=True))


def test_what_is_estimated_without_weights_is_what_a_pass_takes(hub: Path) -> None:
    base = open_base("zimage", hub / "zimage")
    cost = estimate.estimate_cost(base, 4, 64, torch.float32, "cpu")
    assert cost.activation_bytes > cost.checkpointed_bytes > 0
    network = load_components(base, torch.float32, ["transformer"])["transformer"]
    lora.add_adapter(network, 4, base.family.lora_targets(network), 0)
    tokens = base.family.blank_embeddings(base.config, torch.float32)
    # The counter does not know the CPU's own kernel of attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        base.family.predict(network, torch.zeros(1, 16, 8, 8), torch.zeros(1), tokens, [])
    assert cost.forward_flops == counter.get_total_flops()


def test_plans_and_refusals_are_those_of_the_family(hub: Path, tmp_path: Path) -> None:
    job = TrainingJob(tiny_training.training_set(), "zimage", tmp_path)
    plan = tiny_training.trainer(hub, replace(PLAIN, side=0)).plan(job)
    assert (plan.family, plan.side) == ("zimage", 64)
    for refused in ({"token": True}, {"text": True}):
        with pytest.raises(Exception, match=r"zimage\) is not trained with") as caught:
            tiny_training.trainer(hub, PLAIN).plan(replace(job, overrides=refused))
        assert getattr(caught.value, "code", "") == "bad_lesson"


@pytest.mark.bench
def test_blocks_are_compiled_once_for_all_people(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # PyTorch's own tracing and guards without the machine code, which takes a compiler and half a minute.
    monkeypatch.setattr(device, "COMPILE_BACKEND", "eager")
    torch._dynamo.reset()
    plain, compiled = (drawing.load(hub / "zimage", compiled=each) for each in (False, True))
    files = [drawing.person_lora(plain, seed, tmp_path / str(seed))[0] for seed in (1, 2)]
    before, one_pass = counters["stats"]["unique_graphs"], {"steps": 1, "guidance": 0.0}
    drawing.draw(compiled, lora_file=files[0], **one_pass)
    once = counters["stats"]["unique_graphs"]
    assert once > before
    for file in files[::-1]:
        one, other = (drawing.draw(each, lora_file=file, **one_pass) for each in (plain, compiled))
        assert np.array_equal(one, other)
    assert counters["stats"]["unique_graphs"] == once
    plain.close()
    compiled.close()
