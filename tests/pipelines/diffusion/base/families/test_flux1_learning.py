"""A step of learning on FLUX.1 is that of a straightforward loop; compiling and estimates hold for it too."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from peft import LoraConfig, set_peft_model_state_dict
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipelines.diffusion.base import device, lora
from pipelines.diffusion.base.loading import load_components, open_base
from pipelines.diffusion.base.registry import family_by_name
from pipelines.diffusion.training import estimate, run
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.training import TrainingJob
from portrait.types import Crop
from tests.pipelines.diffusion.base.families import flux1_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_flux
from tests.pipelines.diffusion.base.families.flux2_drawing import picture
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILY = family_by_name("flux")
TARGETS = (
    r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|single_transformer_blocks\.\d+\.(attn\.to_[qkv]|proj_mlp|proj_out)"
)
"""PEFT takes a text for a pattern of whole names."""
NEAR = 1e-5
WIDE = Size(64, 48)


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hub folders `flux` and `schnell`."""
    folder = tmp_path_factory.mktemp("flux1")
    tiny_flux.flux(folder / "flux")
    tiny_flux.flux(folder / "schnell", distilled=True)
    return folder


def training_run(hub: Path, name: str, work_dir: Path) -> TrainingRun:
    """A run on a tiny base, with two wide pictures."""
    crops = tuple(Crop(picture(at, WIDE), f"a photo of sks person {at}", f"{at}.png") for at in (1, 2))
    training = replace(tiny_training.training_set(2), crops=crops)
    return tiny_training.training_run(hub, name, replace(PLAIN, batch=2), work_dir, training)


@pytest.mark.parametrize("name", ["flux", "schnell"])
def test_the_first_step_equals_a_straightforward_loop(hub: Path, tmp_path: Path, name: str) -> None:
    of = training_run(hub, name, tmp_path)
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
    assert len(grown) == 2 * (8 + 2 * 5), "of one double block and two single ones"
    assert max(each.abs().max().item() for each in gradients.values()) > 1e-3
    for key, gradient in gradients.items():
        found = grown[key]
        assert found is not None
        assert torch.allclose(found, gradient, atol=NEAR), key


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, dict[str, torch.Tensor]]:
    """As diffusers' script for FLUX.1 writes it: everything in the loop, one batch."""
    pipe: Any = FluxPipeline.from_pretrained(of.base.path, local_files_only=True)
    network, vae = pipe.transformer.requires_grad_(False), pipe.vae
    network.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS))
    set_peft_model_state_dict(network, {key.removeprefix("transformer."): each for key, each in weights.items()})
    crops = [of.job.training.crops[at] for at in dataset.sample_indices(0)]
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    pixels = torch.stack([torch.tensor(crop.image).permute(2, 0, 1) for crop in crops])
    with torch.no_grad():
        found = vae.encode(pixels / 127.5 - 1).latent_dist
        spread, noise, sigma = chance(random, found.mean.shape)
        clean = (found.mean + found.std * spread - vae.config.shift_factor) * vae.config.scaling_factor
        words, pooled, text_ids = pipe.encode_prompt(
            [crop.caption for crop in crops], None, max_sequence_length=tiny_flux.LENGTH
        )
    height, width = clean.shape[2:]
    sizes = (len(crops), clean.shape[1], height, width)
    noised = (1 - sigma) * pipe._pack_latents(clean, *sizes) + sigma * noise
    predicted = network(
        hidden_states=noised,
        timestep=sigma.flatten(),
        guidance=torch.tensor([1.0]).expand(len(crops)) if network.config.guidance_embeds else None,
        pooled_projections=pooled,
        encoder_hidden_states=words,
        txt_ids=text_ids,
        img_ids=pipe._prepare_latent_image_ids(1, height // 2, width // 2, "cpu", torch.float32),
        return_dict=False,
    )[0]
    loss = (predicted - (noise - pipe._pack_latents(clean, *sizes))).square().mean()
    loss.backward()
    named = {key.replace(".default.", "."): each.grad for key, each in network.named_parameters() if "lora_" in key}
    return loss.item(), {f"transformer.{key}": each for key, each in named.items()}


def chance(random: torch.Generator, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The spread of latents, noise as tokens, and sigmas by the random numbers of the learner, in their order."""
    count, channels, height, width = shape
    for _ in range(count):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    spread = torch.randn(shape, generator=random)
    noise = torch.randn((count, 4 * channels, height // 2, width // 2), generator=random)
    uniform = torch.sigmoid(torch.randn((count,), generator=random))
    torch.rand(count, generator=random)  # caption or not
    mu = 0.5 + (1.15 - 0.5) * (height * width // 4 - 256) / (4096 - 256)
    sigma = math.exp(mu) / (math.exp(mu) + 1 / uniform - 1)
    return spread, noise.flatten(2).transpose(1, 2), sigma.view(-1, 1, 1)


def test_what_is_estimated_without_weights_is_what_a_pass_takes(hub: Path) -> None:
    base = open_base("flux", hub / "flux")
    cost = estimate.estimate_cost(base, 4, 64, torch.float32, "cpu")
    assert cost.activation_bytes > cost.checkpointed_bytes > 0
    network = load_components(base, torch.float32, ["transformer"])["transformer"]
    lora.add_adapter(network, 4, FAMILY.lora_targets(network), 0)
    tokens = FAMILY.blank_embeddings(base.config, torch.float32)
    # The counter does not know the CPU's own kernel of attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        FAMILY.predict(network, torch.zeros(1, 16, 4, 4), torch.zeros(1), tokens, [])
    assert cost.forward_flops == counter.get_total_flops()


def test_plans_and_refusals_are_those_of_the_family(hub: Path, tmp_path: Path) -> None:
    job = TrainingJob(tiny_training.training_set(), "flux", tmp_path)
    plan = tiny_training.trainer(hub, replace(PLAIN, side=0)).plan(job)
    assert (plan.family, plan.side) == ("flux", 64)
    for refused in ({"token": True}, {"text": True}):
        with pytest.raises(UserError, match=r"flux\) is not trained with") as caught:
            tiny_training.trainer(hub, PLAIN).plan(replace(job, overrides=refused))
        assert caught.value.code == "bad_lesson"


@pytest.mark.bench
def test_blocks_are_compiled_once_for_all_people(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # PyTorch's own tracing and guards without the machine code, which takes a compiler and half a minute.
    monkeypatch.setattr(device, "COMPILE_BACKEND", "eager")
    torch._dynamo.reset()
    plain, compiled = (drawing.load(hub / "flux", compiled=each) for each in (False, True))
    files = [drawing.person_lora(plain, seed, tmp_path / str(seed))[0] for seed in (1, 2)]
    before = counters["stats"]["unique_graphs"]
    drawing.draw(compiled, lora_file=files[0])
    once = counters["stats"]["unique_graphs"]
    assert once > before
    for file in files[::-1]:
        assert np.array_equal(drawing.draw(compiled, lora_file=file), drawing.draw(plain, lora_file=file))
    assert counters["stats"]["unique_graphs"] == once
    plain.close()
    compiled.close()
