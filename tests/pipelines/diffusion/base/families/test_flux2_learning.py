"""A step of learning on FLUX.2 is that of a straightforward loop; checkpointing, compiling and estimates hold for it too."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from peft import LoraConfig, set_peft_model_state_dict
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipelines import image_io
from pipelines.diffusion.base import device, lora
from pipelines.diffusion.base.loading import load_components, open_base
from pipelines.diffusion.training import class_images, estimate, run
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from pipelines.diffusion.training.step import Learner
from pipelines.settings import PriorSettings, TrainSettings
from portrait.arrays import Image, Size
from portrait.training import TrainingJob
from portrait.types import Crop
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.diffusion.base.families.flux2_drawing import FAMILY
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
PRIOR = PriorSettings(weight=0.7, images=2, steps=1)
TARGETS = (
    r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|single_transformer_blocks\.\d+\.attn\.(to_qkv_mlp_proj|to_out)"
)
"""PEFT takes a text for a pattern of whole names."""
NEAR = 1e-5


def training_run(hub: Path, settings: TrainSettings, work_dir: Path, wide: bool = False) -> TrainingRun:
    """A run on the tiny base, with pictures that are square or wide."""
    training = tiny_training.training_set(2)
    if wide:
        crops = (Crop(drawing.picture(at, Size(64, 48)), "a photo of sks person", f"{at}.png") for at in (1, 2))
        training = replace(training, crops=tuple(crops))
    return tiny_training.training_run(hub, "flux2", settings, work_dir, training)


@pytest.mark.parametrize(("prior", "wide"), [(PriorSettings(), True), (PRIOR, False)], ids=["alone", "prior"])
def test_the_first_step_equals_a_straightforward_loop(
    flux2_hub: Path, tmp_path: Path, prior: PriorSettings, wide: bool
) -> None:
    of = training_run(flux2_hub, replace(PLAIN, batch=2, prior=prior), tmp_path, wide)
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
    assert len(grown) == 2 * (8 + 2 * 2), "of one double block and two single ones"
    assert max(each.abs().max().item() for each in gradients.values()) > 1e-3
    for key, gradient in gradients.items():
        found = grown[key]
        assert found is not None
        assert torch.allclose(found, gradient, atol=NEAR), key


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, dict[str, torch.Tensor]]:
    """As diffusers' script for FLUX.2 [klein] writes it: everything in the loop, one batch of the person and of others."""
    pipe: Any = Flux2KleinPipeline.from_pretrained(of.base.path, local_files_only=True)
    network, vae, prior = pipe.transformer.requires_grad_(False), pipe.vae, of.settings.prior
    network.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS))
    set_peft_model_state_dict(network, {key.removeprefix("transformer."): each for key, each in weights.items()})
    own = [of.job.training.crops[at] for at in dataset.sample_indices(0)]
    images, captions = [crop.image for crop in own], [crop.caption for crop in own]
    bucket = dataset.samples[0].sizes.bucket
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    drawn = [draw(random, len(own), bucket)]
    if prior.weight:
        folder = class_images.cache_folder(of.cache, of.base_hash, prior, "person", 64)
        picked = dataset.class_indices(0)
        images += [image_io.read(folder / f"{at:04}.png").image for at in picked]
        captions += ["a photo of a person"] * len(picked)
        drawn.append(draw(random, len(picked), bucket))
    noise, sigma = (torch.cat(each) for each in zip(*drawn, strict=True))
    pixels = torch.stack([torch.tensor(resized(image, bucket)).permute(2, 0, 1) for image in images])
    with torch.no_grad():
        clean = pipe._patchify_latents(vae.encode(pixels / 127.5 - 1).latent_dist.mode())
        mean = vae.bn.running_mean.view(1, -1, 1, 1)
        clean = (clean - mean) / torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps)
        given = {"max_sequence_length": drawing.LENGTH, "text_encoder_out_layers": drawing.LAYERS}
        words, text_ids = pipe.encode_prompt(captions, **given)
    noised = (1 - sigma) * clean + sigma * noise
    image_ids = pipe._prepare_latent_ids(noised)
    predicted = network(
        hidden_states=pipe._pack_latents(noised),
        timestep=sigma.flatten(),
        guidance=None,
        encoder_hidden_states=words,
        txt_ids=text_ids,
        img_ids=image_ids,
        return_dict=False,
    )[0]
    predicted = pipe._unpack_latents_with_ids(predicted, image_ids)
    errors = (predicted - (noise - clean)).square().mean(dim=(1, 2, 3))
    loss = errors[: len(own)].mean() + (prior.weight * errors[len(own) :].mean() if prior.weight else 0)
    loss.backward()
    named = {key.replace(".default.", "."): each.grad for key, each in network.named_parameters() if "lora_" in key}
    return loss.item(), {f"transformer.{key}": each for key, each in named.items()}


def draw(random: torch.Generator, count: int, bucket: Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise and sigmas by the random numbers of the learner, in their order."""
    for _ in range(count):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    noise = torch.randn((count, 16, bucket.height // 16, bucket.width // 16), generator=random)
    uniform = torch.sigmoid(torch.randn((count,), generator=random))
    torch.rand(count, generator=random)  # caption or not
    tokens = noise.shape[-1] * noise.shape[-2]
    mu = 0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)
    sigma = math.exp(mu) / (math.exp(mu) + 1 / uniform - 1)
    return noise, sigma.view(-1, 1, 1, 1)


def resized(image: Image, bucket: Size) -> np.ndarray:
    """A picture in the size of its bucket."""
    wanted = (bucket.width, bucket.height)
    return image if image.shape[1::-1] == wanted else cv2.resize(image, wanted, interpolation=cv2.INTER_AREA)


def learned(learner: Learner, dataset: ours.Dataset) -> tuple[list[torch.Tensor], int]:
    """Gradients of a step, and operations there and back."""
    learner.denoiser.train()
    with FlopCounterMode(display=False) as counter:
        learner.loss(dataset, 0).backward()
    places = lora.trainable_parameters(learner.denoiser, "transformer")
    return [place.grad for _, place in places if place.grad is not None], counter.get_total_flops()


def test_checkpointing_leaves_gradients_and_light_computes_less_again(
    flux2_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(FAMILY), "stored_products", 64)  # of products with 32, 48 and 128 numbers
    found = []
    for mode in ("off", "light", "full"):
        of = training_run(flux2_hub, replace(PLAIN, checkpointing=mode), tmp_path)
        found.append(learned(run.build_learner(of, None), run.build_dataset(of)))
    off, light, full = found
    assert off[1] < light[1] < full[1]
    for gradients, _ in (light, full):
        assert len(gradients) == len(off[0]) == 24
        assert all(torch.equal(one, other) for one, other in zip(gradients, off[0], strict=True))


def test_what_is_estimated_without_weights_is_what_a_pass_takes(flux2_hub: Path) -> None:
    base = open_base("flux2", flux2_hub / "flux2")
    cost = estimate.estimate_cost(base, 4, 64, torch.float32, "cpu")
    assert cost.activation_bytes > cost.checkpointed_bytes > 0
    network = load_components(base, torch.float32, ["transformer"])["transformer"]
    lora.add_adapter(network, 4, FAMILY.lora_targets(network), 0)
    weights = sum(each.numel() for each in network.parameters())
    assert cost.fixed_bytes - estimate.CONTEXT_BYTES["cpu"] < 4 * weights + 16 * weights
    tokens = FAMILY.blank_embeddings(base.config, torch.float32)
    # The counter does not know the CPU's own kernel of attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        FAMILY.predict(network, torch.zeros(1, 16, 4, 4), torch.zeros(1), tokens, [])
    assert cost.forward_flops == counter.get_total_flops()


def test_plans_and_refusals_are_those_of_the_family(flux2_hub: Path, tmp_path: Path) -> None:
    job = TrainingJob(tiny_training.training_set(), "flux2", tmp_path)
    plan = tiny_training.trainer(flux2_hub, replace(PLAIN, side=0)).plan(job)
    assert (plan.family, plan.side) == ("flux2", 64)
    for refused in ({"token": True}, {"text": True}):
        with pytest.raises(Exception, match=r"flux2\) is not trained with") as caught:
            tiny_training.trainer(flux2_hub, PLAIN).plan(replace(job, overrides=refused))
        assert getattr(caught.value, "code", "") == "bad_lesson"


def test_blocks_are_compiled_once_for_all_people(
    flux2_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PyTorch's own tracing and guards without the machine code, which takes a compiler and half a minute.
    monkeypatch.setattr(device, "COMPILE_BACKEND", "eager")
    torch._dynamo.reset()
    plain, compiled = (drawing.load(flux2_hub / "flux2", compiled=each) for each in (False, True))
    files = [drawing.person_lora(plain, seed, tmp_path / str(seed))[0] for seed in (1, 2)]
    before = counters["stats"]["unique_graphs"]
    first = drawing.draw(compiled, [], files[0])
    once = counters["stats"]["unique_graphs"]
    assert once > before
    for file in files[::-1]:
        assert np.array_equal(drawing.draw(compiled, [], file), drawing.draw(plain, [], file))
    assert counters["stats"]["unique_graphs"] == once
    assert np.array_equal(first, drawing.draw(plain, [], files[0]))
    plain.close()
    compiled.close()
