"""Training in half precision: every part learns as in float32, and what overflows is computed in float32."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import lora
from pipelines.diffusion.training import run
from pipelines.diffusion.training.loop import sampling
from pipelines.diffusion.training.sample_images import shows_nothing
from pipelines.diffusion.training.step import Learner
from pipelines.settings import PriorSettings, ValidationSettings
from portrait.training import Checkpointing
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN, train

pytestmark = pytest.mark.usefixtures("one_thread")
ALL_PARTS = replace(
    PLAIN,
    steps=2,
    text=True,
    token=True,
    prior=PriorSettings(1.0, images=1, steps=1),
    exam=ValidationSettings(every=2, prompts=("a photo of {who}",), steps=1, held_out=0),
)


@pytest.mark.parametrize(
    ("name", "precision", "checkpointing"),
    [("sd15", "float16", "light"), ("sdxl", "bfloat16", "full")],
)
def test_every_part_is_trained_with_every_checkpointing(
    hub: Path, tmp_path: Path, name: str, precision: Literal["bfloat16", "float16"], checkpointing: Checkpointing
) -> None:
    settings = replace(ALL_PARTS, precision=precision, checkpointing=checkpointing)
    result = train(hub, name, tmp_path, settings)
    plan: Any = result.facts["plan"]
    assert (plan["precision"], plan["checkpointing"]) == (precision, checkpointing)
    # The second loss shows that the first step moved the weights as in float32; bfloat16 has eight bits.
    assert result.losses == pytest.approx(losses_in_float32(hub, name, tmp_path), rel=3e-3)
    assert result.lora is not None
    assert result.tokens is not None
    assert not result.notes


def losses_in_float32(hub: Path, name: str, work_dir: Path) -> tuple[float, ...]:
    """Of the first steps, without validation."""
    of = tiny_training.training_run(hub, name, ALL_PARTS, work_dir)
    learner, samples = run.build_learner(of, None), run.build_dataset(of)
    return tuple(learner.train_step(samples, step) for step in range(ALL_PARTS.steps))


def test_small_gradients_are_not_lost_in_float16_and_the_scale_goes_on(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(PLAIN, precision="float16")
    of = tiny_training.training_run(hub, "sd15", settings, tmp_path)
    learner, samples = run.build_learner(of, None), run.build_dataset(of)
    loss = Learner.loss
    # As small as those of grown networks, of which float16 would leave nothing.
    monkeypatch.setattr(Learner, "loss", lambda *given: 1e-6 * loss(*given))
    before = learner.get_weights()
    learner.train_step(samples, 0)
    after = learner.get_weights()
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith(lora.UP))
    learner.scaler.update(1024.0)
    other = run.build_learner(of, None)
    other.load_state(learner.state())
    assert other.scaler.get_scale() == 1024
    assert all(torch.equal(each, after[name]) for name, each in other.get_weights().items())


def test_a_vae_that_overflows_in_half_precision_is_decoded_in_float32(hub: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sdxl"
    shutil.copytree(hub / "sdxl", folder)
    config = json.loads((folder / "vae/config.json").read_text())
    (folder / "vae/config.json").write_text(json.dumps({**config, "force_upcast": True}))
    file = folder / "vae/diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file({name: each * 3e4 if name == "decoder.conv_in.weight" else each for name, each in weights.items()}, file)
    of = tiny_training.training_run(tmp_path, "sdxl", replace(PLAIN, precision="float16"), tmp_path)
    learner = run.build_learner(of, None)
    with sampling(of, learner) as generator:
        image = generator.generate("", "", 0, ValidationSettings(steps=1), lambda: None)
    assert not shows_nothing(image)
