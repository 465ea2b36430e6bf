"""The DreamBooth trainer on tiny bases: training, checkpoints, resuming, cancelling; files that stock diffusers reads."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.diffusion.base import loading, lora
from pipelines.diffusion.training.dataset import Dataset
from pipelines.diffusion.training.sample_images import SampleGenerator
from pipelines.diffusion.training.step import Learner
from pipelines.engines.trainers import dreambooth
from pipelines.settings import PriorSettings, TrainSettings, ValidationSettings
from portrait.arrays import Image
from portrait.errors import Cancelled, EngineError, UserError
from portrait.training import Checkpointing, TrainingJob, TrainingResult
from portrait.types import Identity
from tests import album, fakes, tiny
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN, RecordedProgress, train

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[4]
VALIDATING = replace(PLAIN, exam=ValidationSettings(every=4, steps=2, held_out=1, patience=0))


def generate(hub: Path, name: str, file: Path | None) -> torch.Tensor:
    """An image by stock diffusers, with its own loader of LoRA files."""
    pipeline: Any = loading.load_pipeline(loading.open_base(name, hub / name), torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if file is not None:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
    generator = torch.Generator().manual_seed(0)
    return pipeline("a photo of sks person", num_inference_steps=2, generator=generator, output_type="pt").images[0]


@pytest.mark.parametrize("family", ["sd15", pytest.param("sdxl", marks=pytest.mark.bench)])
def test_the_loss_on_an_overfit_photo_falls_by_half(tmp_path: Path, family: str) -> None:
    album.write(tmp_path / family, family)
    settings = replace(PLAIN, steps=100, rank=8, batch=4)
    run = tiny_training.training_run(tmp_path, family, settings, tmp_path, album.newcomer())
    result = train(tmp_path, family, tmp_path / "work", settings, training=album.newcomer())
    assert result.lora is not None
    assert tiny_training.overfit_loss(run, lora.load_weights(result.lora)) <= 0.5 * tiny_training.overfit_loss(
        run, None
    )


@pytest.mark.parametrize("text", [False, True], ids=["unet", "with text"])
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_both_files_draw_the_trained_person(hub: Path, tmp_path: Path, name: str, text: bool) -> None:
    result = train(hub, name, tmp_path, replace(PLAIN, text=text))
    assert result.lora is not None
    assert result.kohya_lora is not None
    parts = {key.split(".")[0] for key in lora.load_weights(result.lora)}
    encoders = {"text_encoder", "text_encoder_2"} if name == "sdxl" else {"text_encoder"}
    assert parts == {"unet"} | (encoders if text else set())
    once, twice = (generate(hub, name, result.lora) for _ in range(2))
    assert torch.equal(once, twice)
    assert torch.allclose(generate(hub, name, result.kohya_lora), once, atol=1e-4)
    assert (once - generate(hub, name, None)).abs().max() > 0.05


def test_the_reloaded_person_is_drawn_bit_for_bit_as_the_trainer_drew_it(hub: Path, tmp_path: Path) -> None:
    result = train(
        hub, "sd15", tmp_path, replace(VALIDATING, steps=4, exam=ValidationSettings(every=4, steps=2, held_out=0))
    )
    assert result.lora is not None
    pipeline: Any = loading.load_pipeline(loading.open_base("sd15", hub / "sd15"), torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(str(tmp_path), weight_name=result.lora.name)
    for number, (prompt, expected) in enumerate(result.sample_images):
        image = pipeline(
            prompt,
            negative_prompt=ValidationSettings().negative,
            num_inference_steps=2,
            guidance_scale=ValidationSettings().guidance,
            generator=torch.Generator().manual_seed(number),
            output_type="np",
        ).images[0]
        assert ((image.clip(0, 1) * 255).round().astype("uint8") == expected).all(), prompt


def test_kohyas_names_are_those_that_other_programs_know(hub: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    heads = {
        "sd15": "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "sdxl": "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q",
    }
    for name, head in heads.items():
        result = train(hub, name, tmp_path / name, replace(PLAIN, steps=1, text=True))
        with safe_open(result.kohya_lora, framework="pt") as file:
            names, metadata = set(file.keys()), file.metadata()
        assert {f"{head}.lora_down.weight", f"{head}.lora_up.weight", f"{head}.alpha"} <= names
        encoder = "lora_te1" if name == "sdxl" else "lora_te"
        assert f"{encoder}_text_model_encoder_layers_0_self_attn_q_proj.alpha" in names
        assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("4", "4.0")
        assert metadata["modelspec.trigger_phrase"] == "sks"


@pytest.mark.chaos  # a worker that is killed in mid-training, and another that goes on: tests/tasks/test_chaos_training.py
def test_a_killed_worker_resumes_to_identical_weights(hub: Path, tmp_path: Path) -> None:
    settings = replace(PLAIN, steps=24, exam=ValidationSettings(every=8, steps=2, held_out=1))
    uninterrupted = train(hub, "sdxl", tmp_path / "whole", settings)
    work_dir = tmp_path / "killed"
    work_dir.mkdir()
    last = random.randint(6, 22)  # noqa: S311 -- any step will do
    command = [sys.executable, "-m", "tests.pipelines.engines.tiny_training", str(hub), "sdxl", str(work_dir), "24"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"{last} Learning at loss"):
                process.kill()
                break
    assert not (work_dir / "lora.safetensors").exists()
    progress = RecordedProgress()
    resumed = train(hub, "sdxl", work_dir, settings, progress)
    first = min(done for done, _, doing in progress.reports if "loss" in doing)
    assert 1 < first <= last + 1, "it went on from a checkpoint"
    assert uninterrupted.lora is not None
    assert resumed.lora is not None
    assert uninterrupted.lora.read_bytes() == resumed.lora.read_bytes(), f"killed at step {last}"
    assert (uninterrupted.losses, uninterrupted.validations, uninterrupted.chosen) == (
        resumed.losses,
        resumed.validations,
        resumed.chosen,
    )


def test_it_stops_within_one_step(hub: Path, tmp_path: Path) -> None:
    progress = RecordedProgress(stop_at="7 Learning at loss")
    with pytest.raises(Cancelled):
        train(hub, "sd15", tmp_path, PLAIN, progress)
    assert progress.reports[-1][0] == 7
    # A checkpoint of a run with other settings is not resumed.
    progress = RecordedProgress()
    train(hub, "sd15", tmp_path, replace(PLAIN, rate=1e-3), progress)
    assert min(done for done, _, doing in progress.reports if "Learning" in doing) == 1


@pytest.mark.parametrize("at", ["Preserving", "Encoding", "Examining step", "Choosing"])
def test_it_stops_wherever_it_is(hub: Path, tmp_path: Path, at: str) -> None:
    settings = replace(
        VALIDATING, steps=4, prior=PriorSettings(1.0, images=1, steps=3, prompts=(f"a {at} photo of a person",))
    )
    with pytest.raises(Cancelled):
        train(hub, "sd15", tmp_path, settings, RecordedProgress(stop_at=at))


def test_a_loss_that_is_no_number_stops_with_its_step(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"at step 2") as caught:
        train(hub, "sd15", tmp_path, replace(PLAIN, rate=1e30))
    assert caught.value.code == "diverged"


@pytest.mark.parametrize("strength", ["off", "light", "full"])
def test_no_more_is_computed_again_than_memory_asks_for(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strength: Checkpointing
) -> None:
    job = TrainingJob(tiny_training.training_set(), "sdxl", tmp_path)
    needed = tiny_training.trainer(hub, replace(PLAIN, checkpointing=strength)).plan(job).memory
    monkeypatch.setattr(dreambooth.device, "free_memory", lambda where: 1.0001 * needed / dreambooth.MEMORY_SHARE)
    plan = tiny_training.trainer(hub, PLAIN).plan(job)
    assert (plan.checkpointing, plan.memory) == (strength, needed)


class OutOfMemory:
    """A loss that runs out of memory, from a step on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int, from_step: int = 0) -> None:
        self.left = times
        self.batches: list[tuple[int, int]] = []
        """Step and batch of each call."""
        loss = Learner.loss

        def failing(this: Learner, dataset: Dataset, step: int) -> torch.Tensor:
            self.batches.append((step, dataset.batch))
            if self.left and step >= from_step:
                self.left -= 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return loss(this, dataset, step)

        monkeypatch.setattr(Learner, "loss", failing)


def test_out_of_memory_is_met_by_smaller_and_smaller_plans(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = OutOfMemory(monkeypatch, 3)
    result = train(hub, "sd15", tmp_path, replace(PLAIN, batch=2, steps=1))
    assert failing.batches == [(0, 2), (0, 1), (0, 1), (0, 1)]
    plan: Any = result.facts["plan"]
    assert (plan["batch"], plan["checkpointing"], result.steps) == (1, "full", 1)
    assert "a smaller plan, 1 pictures a step and full" in " ".join(result.notes)


def test_a_smaller_plan_goes_on_from_the_checkpoint_of_a_larger_one(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = OutOfMemory(monkeypatch, 1, from_step=2)
    settings = replace(PLAIN, batch=2, steps=4, checkpoint_every=2)
    result = train(hub, "sd15", tmp_path, settings)
    assert failing.batches == [(0, 2), (1, 2), (2, 2), (2, 1), (3, 1)]
    assert len(result.losses) == 4


def test_out_of_memory_with_the_smallest_plan_is_an_error(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = OutOfMemory(monkeypatch, 99)
    with pytest.raises(EngineError) as caught:
        train(hub, "sd15", tmp_path, replace(PLAIN, steps=3, checkpointing="light"))
    assert caught.value.code == "out_of_memory"
    assert "smallest plan" in caught.value.message
    assert len(failing.batches) == 2, "light and full checkpointing"


def test_pictures_that_show_nothing_are_told(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    monkeypatch.setattr(SampleGenerator, "generate", lambda *given: black)
    progress = RecordedProgress(stop_at="3 Learning")
    settings = replace(PLAIN, steps=4, exam=ValidationSettings(every=2, steps=2, held_out=0))
    with pytest.raises(Cancelled):
        train(hub, "sd15", tmp_path, settings, progress)
    result = train(hub, "sd15", tmp_path, settings)
    assert [note for note in result.notes if "showed nothing" in note and "step 2" in note] == list(result.notes[:1])
    with pytest.raises(EngineError) as caught:
        train(hub, "sd15", tmp_path / "prior", replace(PLAIN, prior=PriorSettings(1.0, images=1, prompts=("a",))))
    assert caught.value.code == "empty_drawing"


def test_what_would_learn_nothing_is_refused_in_the_plan(hub: Path, tmp_path: Path) -> None:
    trainer = tiny_training.trainer(hub, replace(PLAIN, lora=False))
    job = TrainingJob(tiny_training.training_set(), "sd15", tmp_path)
    for each in (trainer.plan, lambda wanted: trainer.train(wanted, RecordedProgress())):
        with pytest.raises(UserError, match=r"train\.lora") as caught:
            each(job)
        assert caught.value.code == "bad_lesson"
    assert trainer.plan(replace(job, overrides={"token": True})).steps == 12


def test_a_learned_token_is_not_dropped_by_learning_further(hub: Path, tmp_path: Path) -> None:
    with_token = replace(PLAIN, steps=1, token=True)
    first = train(hub, "sd15", tmp_path / "a", with_token)
    identity = Identity("a", (), {}, first.lora, "<sks>", "person", "sd15", tokens=first.tokens)
    with pytest.raises(UserError, match=r"train\.token") as caught:
        train(hub, "sd15", tmp_path / "b", replace(PLAIN, steps=1), continue_from=identity)
    assert caught.value.code == "bad_lesson"
    further = train(hub, "sd15", tmp_path / "c", replace(with_token, rate=0.0, token_rate=0.0), continue_from=identity)
    assert first.tokens is not None
    assert further.tokens is not None
    assert further.tokens.read_bytes() == first.tokens.read_bytes()


def test_validations_select_a_checkpoint_and_are_reported(hub: Path, tmp_path: Path) -> None:
    progress = RecordedProgress()
    result = train(hub, "sd15", tmp_path, VALIDATING, progress)
    assert [each.step for each in result.validations] == [4, 8, 12]
    assert {"step 12"} < set(result.test_results)
    assert any(name.startswith("merge of steps") for name in result.test_results)
    best = min(result.test_results.values(), key=lambda each: (each.collapsed, each.distance))
    assert result.test_results[result.chosen] == best
    assert progress.previews
    assert result.sample_images[0][0] == "a photo of sks person"


def test_without_a_face_the_last_checkpoint_is_taken_and_it_says_so(hub: Path, tmp_path: Path) -> None:
    class Blind(fakes.FakeFinder):
        def faces(self, image: Image, embedded: int = 1) -> list:
            return []

    result = tiny_training.trainer(hub, VALIDATING, Blind()).train(
        TrainingJob(tiny_training.training_set(), "sd15", tmp_path), RecordedProgress()
    )
    assert result.chosen == "step 12"
    assert "No face" in result.notes[0]
    assert all(each.found == 0 for each in result.validations)


def test_it_ends_on_a_plateau(hub: Path, tmp_path: Path) -> None:
    settings = replace(VALIDATING, steps=40, exam=replace(VALIDATING.exam, every=2, patience=2, held_out=0))
    result = train(hub, "sd15", tmp_path, settings)
    assert result.steps == 6, "the fake faces never get any nearer"
    assert "nothing was gained" in result.notes[0]


def test_training_continues_from_an_identity(hub: Path, tmp_path: Path) -> None:
    first = train(hub, "sd15", tmp_path / "a", PLAIN)
    assert first.lora is not None
    identity = Identity("a", (), {}, first.lora, "sks", "person", "sd15")
    unchanged = train(hub, "sd15", tmp_path / "b", replace(PLAIN, steps=1, rate=0.0, rank=0), continue_from=identity)
    assert unchanged.lora is not None
    before, after = lora.load_weights(first.lora), lora.load_weights(unchanged.lora)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before), "it starts with the trained weights"
    more = train(hub, "sd15", tmp_path / "c", replace(PLAIN, steps=2), continue_from=identity)
    assert more.lora is not None
    assert more.lora.read_bytes() != first.lora.read_bytes()
    with pytest.raises(UserError) as caught:
        train(hub, "sdxl", tmp_path / "d", PLAIN, continue_from=identity)
    assert caught.value.code == "wrong_base"


def test_a_base_of_the_same_shape_is_not_the_same_base(hub: Path, tmp_path: Path) -> None:
    first = train(hub, "sd15", tmp_path / "a", replace(PLAIN, steps=1))
    identity = Identity("a", (), {}, first.lora, "sks", "person", "sd15", str(first.facts["base_hash"]))
    assert train(hub, "sd15", tmp_path / "b", replace(PLAIN, steps=1), continue_from=identity).steps == 1
    tiny.sd15(tmp_path / "hub" / "sd15", seed=2)
    with pytest.raises(UserError) as caught:
        train(tmp_path / "hub", "sd15", tmp_path / "c", PLAIN, continue_from=identity)
    assert caught.value.code == "wrong_base"


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with a LoRA"])
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_a_new_token_is_trained(hub: Path, tmp_path: Path, name: str, alone: bool) -> None:
    result = train(hub, name, tmp_path, replace(PLAIN, token=True, token_rate=0.05, lora=not alone))
    assert result.trigger == "<sks>"
    assert result.tokens is not None
    assert (result.lora is None) == alone
    pipeline: Any = loading.load_pipeline(loading.open_base(name, hub / name), torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    load(pipeline, result, name)
    plain = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    words = pipeline.encode_prompt(prompt="a photo of <sks> person", **plain)[0]
    other = pipeline.encode_prompt(prompt="a photo of person person", **plain)[0]
    assert (words - other).abs().max() > 0.01


def load(pipeline: Any, result: TrainingResult, name: str) -> None:
    """A token, as diffusers' guide loads it."""
    from safetensors.torch import load_file

    assert result.tokens is not None
    rows = load_file(result.tokens)
    if name == "sd15":
        pipeline.load_textual_inversion(rows, token="<sks>")  # noqa: S106 -- a word
        return
    for key, suffix in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            rows[key],
            token="<sks>",  # noqa: S106 -- a word
            text_encoder=getattr(pipeline, f"text_encoder{suffix}"),
            tokenizer=getattr(pipeline, f"tokenizer{suffix}"),
        )


def test_class_images_are_generated_once(hub: Path, tmp_path: Path) -> None:
    settings = replace(
        PLAIN, steps=2, prior=PriorSettings(1.0, images=3, steps=1, prompts=("a photo of a {class_word}", "a man"))
    )
    first, second = RecordedProgress(), RecordedProgress()
    train(hub, "sdxl", tmp_path / "a", settings, first)
    train(hub, "sdxl", tmp_path / "b", replace(settings, rate=1e-3), second)
    assert sum("Preserving" in doing for _, _, doing in first.reports) == 3
    assert not any("Preserving" in doing for _, _, doing in second.reports)


def test_frozen_encoders_are_freed_before_the_first_step(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gc

    from transformers import CLIPTextModel

    alive: list[int] = []

    def count_encoders(done: int, total: int, doing: str, preview: Image | None = None) -> None:
        if doing.startswith("Learning"):
            gc.collect()
            alive.append(sum(type(each) is CLIPTextModel for each in gc.get_objects()))

    gc.collect()
    before = sum(type(each) is CLIPTextModel for each in gc.get_objects())
    train(hub, "sd15", tmp_path, replace(PLAIN, steps=2), count_encoders)
    assert alive == [before, before]


def test_the_plan_estimates_time_and_memory(hub: Path, tmp_path: Path) -> None:
    job = TrainingJob(tiny_training.training_set(), "sdxl", tmp_path)
    plan = tiny_training.trainer(hub, TrainSettings()).plan(job)
    assert (plan.family, plan.steps, plan.batch, plan.side) == ("sdxl", 600, 1, 64)
    assert plan.buckets == {"64×64": 3}
    assert 0 < plan.memory < plan.free
    assert plan.seconds > 0
    larger = tiny_training.trainer(hub, TrainSettings(batch=4, prior=PriorSettings(1.0))).plan(job)
    assert larger.memory > plan.memory
    assert (larger.steps, larger.batch) == (600, 4)
