"""What tests of learning have alike for all families: the frame of a straightforward loop, estimates, plans, compiling."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pytest
import torch
from peft import LoraConfig, set_peft_model_state_dict
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipelines import image_io
from pipelines.diffusion.base import device, lora
from pipelines.diffusion.base.family import TextEmbeddings
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import load_components, open_base
from pipelines.diffusion.training import class_images, estimate, run
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.estimate import TrainingCost
from pipelines.diffusion.training.run import TrainingRun
from pipelines.settings import TrainSettings
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.training import TrainingJob
from tests.pipelines.engines import tiny_training

NEAR = 1e-5
Gradients: TypeAlias = Mapping[str, torch.Tensor | None]
Straightforward: TypeAlias = Callable[[TrainingRun, lora.Weights, ours.Dataset], tuple[float, Gradients]]
"""The loss of a first step with a LoRA, and the gradients by its names, as the makers' script computes them."""


def check_first_step(of: TrainingRun, straightforward: Straightforward, factors: int | None = None) -> None:
    """The first step of a run is that of a straightforward loop; of how many factors of LoRAs, where that is known."""
    learner, dataset = run.build_learner(of, None), run.build_dataset(of)
    random = torch.Generator().manual_seed(3)
    # The second factor begins at zero, where half of the gradients vanish.
    weights = {key: 0.3 * torch.randn(each.shape, generator=random) for key, each in learner.get_weights().items()}
    learner.load_weights(weights)
    loss = learner.loss(dataset, 0)
    loss.backward()
    grown = {key: place.grad for key, place in lora.trainable_parameters(learner.denoiser, of.base.family.denoiser)}
    expected, gradients = straightforward(of, weights, dataset)
    assert loss.item() == pytest.approx(expected, abs=NEAR, rel=NEAR)
    assert grown.keys() == gradients.keys()
    assert factors in (None, len(grown))
    assert max(each.abs().max().item() for each in gradients.values() if each is not None) > 1e-3
    for key, gradient in gradients.items():
        found = grown[key]
        assert found is not None
        assert gradient is not None
        assert torch.allclose(found, gradient, atol=NEAR), key


def wear(network: Any, weights: lora.Weights, targets: str | Sequence[str]) -> Any:
    """A transformer whose own weights are frozen, with a LoRA as peft adds it."""
    network.requires_grad_(False)
    chosen = targets if isinstance(targets, str) else list(targets)
    network.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=chosen))
    set_peft_model_state_dict(network, {key.removeprefix("transformer."): each for key, each in weights.items()})
    return network


def gradients_of(network: torch.nn.Module) -> Gradients:
    """The gradients of the LoRA that a transformer wears, by our names."""
    named = {key.replace(".default.", "."): each.grad for key, each in network.named_parameters() if "lora_" in key}
    return {f"transformer.{key}": each for key, each in named.items()}


def pictures_of(of: TrainingRun, dataset: ours.Dataset) -> tuple[int, list[Image], list[str]]:
    """The first step's pictures with their captions, and how many of them are the person's: the others are drawn ones."""
    own = [of.job.training.crops[at] for at in dataset.sample_indices(0)]
    images, captions = [crop.image for crop in own], [crop.caption for crop in own]
    if of.settings.prior.weight:
        folder = class_images.cache_folder(of.cache, of.base_hash, of.settings.prior, "person", of.plan.side)
        picked = dataset.class_indices(0)
        images += [image_io.read(folder / f"{at:04}.png").image for at in picked]
        captions += ["a photo of a person"] * len(picked)
    return len(own), images, captions


def pixels_of(images: Sequence[Image], bucket: Size) -> torch.Tensor:
    """Pictures in the size of their bucket, N×3×H×W, -1..1."""
    wanted = (bucket.width, bucket.height)
    resized = [
        image if image.shape[1::-1] == wanted else cv2.resize(image, wanted, interpolation=cv2.INTER_AREA)
        for image in images
    ]
    return torch.stack([torch.tensor(each).permute(2, 0, 1) for each in resized]) / 127.5 - 1


def weighed(errors: torch.Tensor, own: int, of: TrainingRun) -> torch.Tensor:
    """The loss of pictures' errors: the mean of the person's, and that of the others by its weight."""
    prior = of.settings.prior
    return errors[:own].mean() + (prior.weight * errors[own:].mean() if prior.weight else 0)


def check_checkpointing(runs: Mapping[str, TrainingRun], factors: int) -> None:
    """Gradients are the same to the bit in each way of checkpointing, and each way computes more than the one before."""
    found = []
    for of in runs.values():
        learner, dataset = run.build_learner(of, None), run.build_dataset(of)
        learner.denoiser.train()
        with FlopCounterMode(display=False) as counter:
            learner.loss(dataset, 0).backward()
        places = lora.trainable_parameters(learner.denoiser, "transformer")
        found.append(([place.grad for _, place in places if place.grad is not None], counter.get_total_flops()))
    operations = [each for _, each in found]
    assert operations == sorted(set(operations)), "each computes more again"
    whole = found[0][0]
    for gradients, _ in found:
        assert len(gradients) == len(whole) == factors
        assert all(torch.equal(one, other) for one, other in zip(gradients, whole, strict=True))


def check_estimate(hub: Path, name: str, latents: int) -> tuple[TrainingCost, torch.nn.Module, TextEmbeddings]:
    """What is estimated without weights is what a pass over `latents`×`latents` takes; the cost, network and words of it."""
    base = open_base(name, hub / name)
    cost = estimate.estimate_cost(base, 4, 64, torch.float32, "cpu")
    assert cost.activation_bytes > cost.checkpointed_bytes > 0
    network = load_components(base, torch.float32, ["transformer"])["transformer"]
    lora.add_adapter(network, 4, base.family.lora_targets(network), 0)
    words = base.family.blank_embeddings(base.config, torch.float32)
    # The counter does not know the CPU's own kernel of attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        base.family.predict(network, torch.zeros(1, 16, latents, latents), torch.zeros(1), words, [])
    assert cost.forward_flops == counter.get_total_flops()
    return cost, network, words


def check_plan(hub: Path, name: str, family: str, work_dir: Path, settings: TrainSettings) -> None:
    """A training is planned at 64 pixels; new tokens and text encoders are refused, by the name of the family."""
    job = TrainingJob(tiny_training.training_set(), name, work_dir)
    plan = tiny_training.trainer(hub, settings).plan(job)
    assert (plan.family, plan.side) == (family, 64)
    for refused in ({"token": True}, {"text": True}):
        with pytest.raises(UserError, match=rf"{family}\) is not trained with") as caught:
            tiny_training.trainer(hub, settings).plan(replace(job, overrides=refused))
        assert caught.value.code == "bad_lesson"


def check_compiling(
    load: Callable[[bool], LoadedBase],
    person_lora: Callable[[LoadedBase, int, Path], tuple[Path, Any]],
    draw: Callable[[LoadedBase, Path], np.ndarray],
    folder: Path,
    near: float = 0,
) -> None:
    """Blocks are compiled once for all people, and draw what they drew before; `load` has them compiled or not."""
    torch._dynamo.reset()
    with pytest.MonkeyPatch.context() as patch:
        # PyTorch's own tracing and guards without the machine code, which takes a compiler and half a minute.
        patch.setattr(device, "COMPILE_BACKEND", "eager")
        plain, compiled = (load(each) for each in (False, True))
        files = [person_lora(plain, seed, folder / str(seed))[0] for seed in (1, 2)]
        before = counters["stats"]["unique_graphs"]
        first = draw(compiled, files[0])
        once = counters["stats"]["unique_graphs"]
        assert once > before
        second = draw(compiled, files[1])
        assert counters["stats"]["unique_graphs"] == once
        for drawn, file in ((first, files[0]), (second, files[1])):
            assert np.abs(drawn - draw(plain, file)).max() <= near
        plain.close()
        compiled.close()
