"""A step of learning on Stable Diffusion 3 is that of a straightforward loop, with T5 and without; plans and estimates hold."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from peft import LoraConfig, set_peft_model_state_dict
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipelines.diffusion.base import device, lora
from pipelines.diffusion.base.loading import load_components, open_base
from pipelines.diffusion.training import estimate, run
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from pipelines.settings import PriorSettings
from portrait.training import TrainingJob
from tests.pipelines.diffusion.base.families import tiny_sd3 as tiny
from tests.pipelines.diffusion.base.families.tiny_sd3 import FAMILY
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

NEAR = 1e-5
TARGETS = [
    *("attn.add_k_proj", "attn.add_q_proj", "attn.add_v_proj", "attn.to_add_out"),
    *("attn.to_k", "attn.to_out.0", "attn.to_q", "attn.to_v"),
]
"""As diffusers' script has them."""


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the hub folder `sd3`."""
    folder = tmp_path_factory.mktemp("sd3")
    tiny.sd3(folder / "sd3")
    return folder


@pytest.mark.parametrize("left_out", [(), FAMILY.optional_components], ids=["with T5", "without T5"])
def test_the_first_step_equals_a_straightforward_loop(hub: Path, tmp_path: Path, left_out: tuple[str, ...]) -> None:
    of = tiny_training.training_run(hub, "sd3", replace(PLAIN, batch=2), tmp_path, tiny_training.training_set(2))
    of = replace(of, base=replace(of.base, left_out=tuple(left_out)))
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
    assert len(grown) == 2 * (3 * 8 - 1)
    assert max(each.abs().max().item() for each in gradients.values()) > 1e-3
    for key, gradient in gradients.items():
        found = grown[key]
        assert found is not None
        assert torch.allclose(found, gradient, atol=NEAR), key


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, dict[str, torch.Tensor]]:
    """As diffusers' script for Stable Diffusion 3 writes it, but for sigmas that are not rounded to a thousandth."""
    missing: dict[str, Any] = dict.fromkeys(of.base.left_out)
    pipe: Any = StableDiffusion3Pipeline.from_pretrained(of.base.path, local_files_only=True, **missing)
    network, vae = pipe.transformer.requires_grad_(False), pipe.vae
    network.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS))
    set_peft_model_state_dict(network, {key.removeprefix("transformer."): each for key, each in weights.items()})
    crops = [of.job.training.crops[at] for at in dataset.sample_indices(0)]
    captions = [crop.caption for crop in crops]
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    for _ in crops:
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    side = dataset.samples[0].sizes.bucket.height
    pixels = torch.stack([torch.tensor(tiny_training_picture(crop.image, side)).permute(2, 0, 1) for crop in crops])
    with torch.no_grad():
        spread = vae.encode(pixels / 127.5 - 1).latent_dist
        clean = spread.mean + spread.std * torch.randn(spread.mean.shape, generator=random)
        clean = (clean - vae.config.shift_factor) * vae.config.scaling_factor
        words, _, pooled, _ = pipe.encode_prompt(captions, captions, captions, do_classifier_free_guidance=False)
    noise = torch.randn(clean.shape, generator=random)
    u = torch.sigmoid(torch.randn((len(crops),), generator=random))
    sigma = (3 * u / (1 + 2 * u)).view(-1, 1, 1, 1)
    noised = sigma * noise + (1 - sigma) * clean
    predicted = network(
        hidden_states=noised,
        timestep=1000 * sigma.flatten(),
        encoder_hidden_states=words,
        pooled_projections=pooled,
        return_dict=False,
    )[0]
    loss = (predicted * (-sigma) + noised - clean).square().mean(dim=(1, 2, 3)).mean()
    loss.backward()
    named = {key.replace(".default.", "."): each.grad for key, each in network.named_parameters() if "lora_" in key}
    return loss.item(), {f"transformer.{key}": each for key, each in named.items()}


def tiny_training_picture(image: np.ndarray, side: int) -> np.ndarray:
    """A square picture in the size of its bucket."""
    import cv2

    return image if image.shape[0] == side else cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def test_noise_levels_are_those_of_the_schedule(hub: Path) -> None:
    loss = FAMILY.loss(open_base("sd3", hub / "sd3").config("scheduler"), 5.0)
    many = loss.sample_timesteps(torch.zeros(1).expand(20000, 16, 8, 12), torch.Generator().manual_seed(0))
    assert abs(float(many.median()) - 0.75) < 0.01, "a half, shifted by three"
    wide = loss.sample_timesteps(torch.zeros(1).expand(20000, 16, 64, 64), torch.Generator().manual_seed(0))
    assert torch.allclose(many, wide), "whatever the size"
    sigma = torch.tensor([0.5, 1.0])
    error = torch.stack([torch.ones(1, 2, 2), torch.zeros(1, 2, 2)])
    assert math.isclose(float(loss(error, torch.zeros_like(error), sigma)), 0.125)


def test_what_is_estimated_without_weights_is_what_a_pass_takes(hub: Path) -> None:
    base = open_base("sd3", hub / "sd3")
    cost = estimate.estimate_cost(base, 4, 64, torch.float32, "cpu")
    assert cost.activation_bytes > cost.checkpointed_bytes > 0
    network = load_components(base, torch.float32, ["transformer"])["transformer"]
    lora.add_adapter(network, 4, FAMILY.lora_targets(network), 0)
    words = FAMILY.blank_embeddings(base.config, torch.float32)
    with torch.no_grad():
        encoded = FAMILY.encode(load_components(base, torch.float32, base_parts(base)), ["a photo"])
    assert words.pooled is not None
    assert encoded.pooled is not None
    assert (words.hidden.shape, words.pooled.shape) == (encoded.hidden.shape, encoded.pooled.shape)
    # The counter does not know the CPU's own kernel of attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        FAMILY.predict(network, torch.zeros(1, 16, 8, 8), torch.zeros(1), words, [])
    assert cost.forward_flops == counter.get_total_flops()


def base_parts(base: Any) -> list[str]:
    """Text encoders with their tokenizers, and the transformer."""
    return ["transformer", *(name for pair in base.text_encoders for name in pair)]


def test_a_training_has_pictures_of_others_drawn_for_it(hub: Path, tmp_path: Path) -> None:
    prior = PriorSettings(weight=0.5, images=1, steps=1)
    result = tiny_training.train(hub, "sd3", tmp_path, replace(PLAIN, steps=2, prior=prior))
    assert result.lora is not None
    learned = lora.load_weights(result.lora)
    assert len(learned) == 2 * (3 * 8 - 1)
    assert any(each.any() for name, each in learned.items() if "lora_B" in name)
    assert list(hub.glob("cache/**/0000.png"))


def test_plans_and_refusals_are_those_of_the_family(hub: Path, tmp_path: Path) -> None:
    job = TrainingJob(tiny_training.training_set(), "sd3", tmp_path)
    plan = tiny_training.trainer(hub, replace(PLAIN, side=0)).plan(job)
    assert (plan.family, plan.side) == ("sd3", 64)
    for refused in ({"token": True}, {"text": True}):
        with pytest.raises(Exception, match=r"sd3\) is not trained with") as caught:
            tiny_training.trainer(hub, PLAIN).plan(replace(job, overrides=refused))
        assert getattr(caught.value, "code", "") == "bad_lesson"


@pytest.mark.bench
def test_blocks_are_compiled_once_for_all_people(
    one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PyTorch's own tracing and guards without the machine code, which takes a compiler and half a minute.
    monkeypatch.setattr(device, "COMPILE_BACKEND", "eager")
    torch._dynamo.reset()
    base = open_base("short", tiny.sd3(tmp_path / "short", layers=2))
    plain, compiled = (tiny.load(base, compiled=each) for each in (False, True))
    files = [tiny.person_lora(plain, seed, tmp_path / str(seed))[0] for seed in (1, 2)]
    before = counters["stats"]["unique_graphs"]
    one: dict[str, Any] = {"steps": 1}
    first = tiny.draw(compiled, files[0], **one)
    once = counters["stats"]["unique_graphs"]
    assert once > before
    assert np.array_equal(tiny.draw(compiled, files[1], **one), tiny.draw(plain, files[1], **one))
    assert counters["stats"]["unique_graphs"] == once
    assert np.array_equal(first, tiny.draw(plain, files[0], **one))
    plain.close()
    compiled.close()
