"""A step of learning on Qwen-Image is that of diffusers' script; checkpointing, compiling and estimates hold for it too."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import QwenImagePipeline
from peft import LoraConfig, set_peft_model_state_dict
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipelines import image_io
from pipelines.diffusion.base import device, lora
from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.loading import load_components, open_base
from pipelines.diffusion.base.registry import family_by_name
from pipelines.diffusion.training import class_images, estimate, run
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from pipelines.settings import PriorSettings, TrainSettings
from portrait.arrays import Size
from portrait.training import TrainingJob
from portrait.types import Crop
from tests.pipelines.diffusion.base.families import qwen_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_qwen
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
PRIOR = PriorSettings(weight=0.7, images=2, steps=2)
SMALL = replace(PLAIN, batch=2, side=64)
NEAR = 1e-5


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base `qwen`."""
    folder = tmp_path_factory.mktemp("qwen")
    tiny_qwen.write(folder / "qwen")
    return folder


@pytest.fixture
def family() -> Family:
    """The family."""
    return family_by_name("qwenimage")


def training_run(hub: Path, settings: TrainSettings, work_dir: Path, wide: bool = False) -> TrainingRun:
    """A run on the tiny base, with pictures that are square or wide, and captions of unequal lengths."""
    training = tiny_training.training_set(2)
    shape = Size(128, 64) if wide else Size(64, 64)
    captions = ("a photo of sks person", "sks person outdoors")
    crops = (Crop(drawing.picture(at, shape), each, f"{at}.png") for at, each in enumerate(captions))
    return tiny_training.training_run(hub, "qwen", settings, work_dir, replace(training, crops=tuple(crops)))


@pytest.mark.parametrize(
    ("settings", "wide"),
    [(replace(SMALL, side=128), True), (replace(SMALL, prior=PRIOR), False)],
    ids=["alone", "prior"],
)
def test_the_first_step_equals_that_of_diffusers_script(
    hub: Path, tmp_path: Path, settings: TrainSettings, wide: bool
) -> None:
    of = training_run(hub, settings, tmp_path, wide)
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
    assert len(grown) == 2 * 2 * 4
    assert max(each.abs().max().item() for each in gradients.values()) > 1e-3
    for key, gradient in gradients.items():
        found = grown[key]
        assert found is not None
        assert torch.allclose(found, gradient, atol=NEAR), key


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, dict[str, torch.Tensor]]:
    """As diffusers' script for Qwen-Image writes it: everything in the loop, one batch of the person and of others."""
    pipe: Any = QwenImagePipeline.from_pretrained(of.base.path, local_files_only=True)
    network, prior = pipe.transformer.requires_grad_(False), of.settings.prior
    network.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    set_peft_model_state_dict(network, {key.removeprefix("transformer."): each for key, each in weights.items()})
    own = [of.job.training.crops[at] for at in dataset.sample_indices(0)]
    images, captions = [crop.image for crop in own], [crop.caption for crop in own]
    bucket = dataset.samples[0].sizes.bucket
    assert bucket == Size(*images[0].shape[1::-1])
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    drawn = [draw(random, len(own), bucket)]
    if prior.weight:
        folder = class_images.cache_folder(of.cache, of.base_hash, prior, "person", of.plan.side)
        picked = dataset.class_indices(0)
        images += [image_io.read(folder / f"{at:04}.png").image for at in picked]
        captions += ["a photo of a person"] * len(picked)
        drawn.append(draw(random, len(picked), bucket))
    spread, noise, sigmas = (torch.cat(each) for each in zip(*drawn, strict=True))
    pixels = torch.stack([torch.tensor(each).permute(2, 0, 1) for each in images])[:, :, None] / 127.5 - 1
    with torch.no_grad():
        distribution = pipe.vae.encode(pixels).latent_dist
        mean, std = (
            torch.tensor(pipe.vae.config[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std")
        )
        clean = (distribution.mean + distribution.std * spread - mean) / std
        words, mask = pipe.encode_prompt(captions, max_sequence_length=1024)
    noised = ((1.0 - sigmas) * clean + sigmas * noise).permute(0, 2, 1, 3, 4)
    count, _, channels, height, width = noised.shape
    predicted = network(
        hidden_states=pipe._pack_latents(noised, count, channels, height, width),
        encoder_hidden_states=words,
        encoder_hidden_states_mask=mask,
        timestep=sigmas.flatten(),
        img_shapes=[(1, height // 2, width // 2)] * count,
        return_dict=False,
    )[0]
    predicted = pipe._unpack_latents(predicted, bucket.height, bucket.width, pipe.vae_scale_factor)
    errors = (predicted.float() - (noise - clean).float()).square().flatten(1).mean(dim=1)
    loss = errors[: len(own)].mean() + (prior.weight * errors[len(own) :].mean() if prior.weight else 0)
    loss.backward()
    named = {key.replace(".default.", "."): each.grad for key, each in network.named_parameters() if "lora_" in key}
    return loss.item(), {f"transformer.{key}": each for key, each in named.items()}


def draw(random: torch.Generator, count: int, bucket: Size) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the latents are sampled by, noise and sigmas, by the random numbers of the learner in their order."""
    for _ in range(count):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    height, width = bucket.height // 8, bucket.width // 8
    spread = torch.randn((count, 4, height, width), generator=random)[:, :, None]
    tokens = torch.randn((count, 16, height // 2, width // 2), generator=random)
    noise = QwenImagePipeline._unpack_latents(tokens.flatten(2).transpose(1, 2), bucket.height, bucket.width, 8)
    uniform = torch.sigmoid(torch.randn((count,), generator=random))
    torch.rand(count, generator=random)  # caption or not
    mu = 0.5 + (0.9 - 0.5) * (height * width / 4 - 256) / (8192 - 256)
    return spread, noise, (math.exp(mu) / (math.exp(mu) + 1 / uniform - 1)).view(-1, 1, 1, 1, 1)


def test_checkpointing_leaves_gradients_as_they_are(hub: Path, tmp_path: Path) -> None:
    found = []
    for mode in ("off", "full"):
        of = training_run(hub, replace(SMALL, checkpointing=mode), tmp_path)
        learner = run.build_learner(of, None)
        learner.denoiser.train()
        with FlopCounterMode(display=False) as counter:
            learner.loss(run.build_dataset(of), 0).backward()
        places = lora.trainable_parameters(learner.denoiser, "transformer")
        found.append(([each.grad for _, each in places if each.grad is not None], counter.get_total_flops()))
    (off, less), (full, more) = found
    assert less < more
    assert len(off) == len(full) == 16
    assert all(torch.equal(one, other) for one, other in zip(off, full, strict=True))


def test_what_is_estimated_without_weights_is_what_a_pass_takes(hub: Path, family: Family) -> None:
    base = open_base("qwen", hub / "qwen")
    cost = estimate.estimate_cost(base, 4, 64, torch.float32, "cpu")
    assert cost.activation_bytes > cost.checkpointed_bytes > 0
    network = load_components(base, torch.float32, ["transformer"])["transformer"]
    tokens = family.blank_embeddings(base.config, torch.float32)
    lora.add_adapter(network, 4, family.lora_targets(network), 0)
    # The counter does not know the CPU's own kernel of attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        family.predict(network, torch.zeros(1, 16, 4, 4), torch.zeros(1), tokens, [])
    assert cost.forward_flops == counter.get_total_flops()


def test_plans_and_refusals_are_those_of_the_family(hub: Path, tmp_path: Path) -> None:
    job = TrainingJob(tiny_training.training_set(), "qwen", tmp_path)
    plan = tiny_training.trainer(hub, SMALL).plan(job)
    assert (plan.family, plan.side, open_base("qwen", hub / "qwen").native_side) == ("qwenimage", 64, 1024)
    for refused in ({"token": True}, {"text": True}):
        with pytest.raises(Exception, match=r"qwenimage\) is not trained with") as caught:
            tiny_training.trainer(hub, SMALL).plan(replace(job, overrides=refused))
        assert getattr(caught.value, "code", "") == "bad_lesson"


@pytest.mark.bench
def test_blocks_are_compiled_once_for_all_people(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # PyTorch's own tracing and guards without the machine code, which takes a compiler and half a minute.
    monkeypatch.setattr(device, "COMPILE_BACKEND", "eager")
    torch._dynamo.reset()
    plain, compiled = (drawing.load(hub / "qwen", compiled=each) for each in (False, True))
    files = [drawing.person_lora(plain, seed, tmp_path / str(seed))[0] for seed in (1, 2)]
    before = counters["stats"]["unique_graphs"]
    drawing.draw(compiled, [], files[0], guidance=1.0)
    once = counters["stats"]["unique_graphs"]
    assert once > before
    drawn = drawing.draw(compiled, [], files[1], guidance=1.0)
    assert counters["stats"]["unique_graphs"] == once
    assert drawing.apart(drawn, drawing.draw(plain, [], files[1], guidance=1.0)) < NEAR
    plain.close()
    compiled.close()
