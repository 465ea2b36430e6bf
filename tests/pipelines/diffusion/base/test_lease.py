"""A shared base forgets: nothing of one request is seen in the next, however the first one ended."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from pipelines.diffusion.base.loras.named_models import PlannedLora
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.errors import Cancelled
from portrait.generation.options import GenerationOptions, LoraChoice, PromptSpec
from portrait.types import Identity
from tests import hub_store

SCENE = PromptSpec("a photo of a {who}", "low quality")
STEPS = 3
BOTH = ("lora", "instantid")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    return hub_store.fill(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def ben(settings: Settings) -> Identity:
    return hub_store.trained_person(settings, 2, rank=2)


@pytest.fixture(scope="module")
def alone(settings: Settings, ben: Identity) -> np.ndarray:
    """Ben by InstantID, from a fresh process."""
    return fresh(settings, ben, "instantid")


@pytest.fixture(scope="module")
def load_person(settings: Settings, ben: Identity) -> np.ndarray:
    """Ben by his LoRA, from a fresh process."""
    return fresh(settings, ben, "lora")


def plan(painter: Diffusion, who: Identity, *identities: str, **more: Any) -> GenerationPlan:
    options = GenerationOptions(identities=identities, scheduler="own", steps=STEPS, guidance=4, **more)
    made = painter.plan(hub_store.request(who, SCENE, options))
    return replace(made, parameters=replace(made.parameters, size=Size(64, 64)))


def fresh(settings: Settings, who: Identity, *identities: str, **more: Any) -> np.ndarray:
    """As a process draws that has drawn nobody else."""
    painter = hub_store.painter(settings)
    image = hub_store.pixels(painter, plan(painter, who, *identities, **more))
    painter.close()
    return image


def stopping(at: int) -> Callable[[int], None]:
    def cancel(done: int) -> None:
        if done == at:
            raise Cancelled

    return cancel


EACH_STEP = tuple(range(1, STEPS + 1))


def cancelled(armed: tuple[str, ...], steps: tuple[int, ...], *marks: pytest.MarkDecorator) -> Any:
    """A way of drawing and the steps in which it is cancelled."""
    return pytest.param(armed, steps, id=f"{'+'.join(armed)} in {', '.join(map(str, steps))}", marks=marks)


@pytest.mark.parametrize(
    ("armed", "steps"),
    [
        cancelled(BOTH, EACH_STEP),
        cancelled(("lora", "photomaker_v2"), (2,)),
        cancelled(("faceid",), (STEPS,)),
        cancelled(("lora", "faceid_plus"), (1,)),
        *(
            cancelled(each, EACH_STEP, pytest.mark.bench)
            for each in (("lora", "photomaker_v2"), ("faceid",), ("lora", "faceid_plus"))
        ),
    ],
)
def test_a_portrait_after_one_that_was_cancelled_is_that_of_a_fresh_process(
    settings: Settings,
    anna: Identity,
    ben: Identity,
    alone: np.ndarray,
    load_person: np.ndarray,
    armed: tuple[str, ...],
    steps: tuple[int, ...],
) -> None:
    painter = hub_store.painter(settings)
    for step in steps:
        with pytest.raises(Cancelled):
            painter.draw(plan(painter, anna, *armed, freeu=True, cutoff=0.5), stopping(step))
        assert np.array_equal(hub_store.pixels(painter, plan(painter, ben, "instantid")), alone)
        assert np.array_equal(hub_store.pixels(painter, plan(painter, ben, "lora")), load_person)
    painter.close()


def test_a_portrait_after_perturbed_guidance_was_cancelled_is_that_of_a_fresh_process(
    settings: Settings, anna: Identity, ben: Identity, alone: np.ndarray, load_person: np.ndarray
) -> None:
    painter = hub_store.painter(settings)
    for armed in (("lora",), ("instantid", "lora"), ("faceid_plus",)):
        with pytest.raises(Cancelled):
            painter.draw(plan(painter, anna, *armed, perturbed=3.0), stopping(2))
        assert np.array_equal(hub_store.pixels(painter, plan(painter, ben, "instantid")), alone)
        assert np.array_equal(hub_store.pixels(painter, plan(painter, ben, "lora")), load_person)
    painter.close()


@pytest.mark.parametrize("turns", [10, pytest.param(50, marks=pytest.mark.bench)])
def test_turns_between_two_people_leave_base_and_portraits_as_they_were(
    settings: Settings, anna: Identity, ben: Identity, load_person: np.ndarray, turns: int
) -> None:
    copies = [fresh(settings, anna, "lora"), load_person]
    assert not np.array_equal(copies[0], copies[1])
    painter = hub_store.painter(settings)
    plans = [plan(painter, anna, "lora"), plan(painter, ben, "lora")]
    hub_store.pixels(painter, plan(painter, hub_store.stranger(9), "instantid"))
    before = hub_store.weights_of(painter)
    for turn in range(turns):
        assert np.array_equal(hub_store.pixels(painter, plans[turn % 2]), copies[turn % 2])
    assert hub_store.weights_of(painter) == before
    painter.close()


def test_loads_unloads_and_loras_are_logged_as_a_worker_counts_them(
    settings: Settings, ben: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    painter = hub_store.painter(settings)
    caplog.set_level("INFO", "portrait.models")
    for _ in range(2):
        painter.draw(plan(painter, ben, "lora"), stopping(STEPS + 1))
    painter.close()
    told = [
        record.__dict__ for record in caplog.records if record.name == "portrait.models" and "event" in record.__dict__
    ]
    of_base = [each for each in told if not str(each.get("model", "/")).count("/")]
    assert [each["event"] for each in of_base] == ["loaded", "unloaded"]
    assert len({each["model"] for each in of_base}) == 1
    assert of_base[0]["seconds"] > 0
    assert [each["result"] for each in told if each["event"] == "lora"] == ["miss", "hit"]


def test_the_slot_does_what_loading_the_lora_does(settings: Settings, anna: Identity) -> None:
    painter = hub_store.painter(settings)
    slot = hub_store.pixels(painter, plan(painter, anna, "lora", strengths={"lora": 1.0}))
    painter.close()
    other = hub_store.painter(settings)
    made = replace(plan(other, anna, "lora"), loras=[style_lora(anna.lora, 1.0)], identities=())
    assert np.abs(slot - hub_store.pixels(other, made)).max() < 1e-5
    other.close()


def test_a_larger_rank_makes_the_slot_grow_and_a_smaller_one_is_padded(settings: Settings, ben: Identity) -> None:
    large = hub_store.trained_person(settings, 3, rank=24)
    painter = hub_store.painter(settings)
    first = hub_store.pixels(painter, plan(painter, ben, "lora"))
    grown = hub_store.pixels(painter, plan(painter, large, "lora"))
    again = hub_store.pixels(painter, plan(painter, ben, "lora"))
    assert np.abs(first - again).max() < 1e-5
    assert np.abs(grown - fresh(settings, large, "lora")).max() < 1e-5
    painter.close()


def text_lora(settings: Settings, folder: Path) -> Path:
    """A LoRA that changes the first text encoder alone, as a style may."""
    encoder = CLIPTextModel.from_pretrained(settings.bases["xl"].path / "text_encoder")
    torch.manual_seed(7)
    weights: dict[str, Any] = {}
    for name, module in encoder.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith(("q_proj", "v_proj")):
            weights[f"{name}.lora_A.weight"] = torch.randn(4, module.in_features) * 0.3
            weights[f"{name}.lora_B.weight"] = torch.randn(module.out_features, 4) * 0.3
    StableDiffusionXLPipeline.save_lora_weights(folder, text_encoder_lora_layers=weights)
    return folder / "pytorch_lora_weights.safetensors"


def test_a_lora_of_text_encoders_is_taken_off_and_takes_no_other_with_it(
    settings: Settings, anna: Identity, ben: Identity, load_person: np.ndarray, tmp_path: Path
) -> None:
    file = text_lora(settings, tmp_path)
    both = replace(ben, lora=with_text(ben.lora, file, tmp_path / "both.safetensors"))
    alone = fresh(settings, both, "lora")
    assert np.abs(alone - load_person).max() > 1e-3, "the text encoder's part is heard"
    painter = hub_store.painter(settings)
    styled = replace(plan(painter, both, "lora"), loras=[style_lora(file, 0.5)])
    first = hub_store.pixels(painter, styled)
    assert np.abs(first - alone).max() > 1e-3, "the style is heard"
    assert np.array_equal(hub_store.pixels(painter, plan(painter, ben, "lora")), load_person)
    assert np.array_equal(hub_store.pixels(painter, plan(painter, both, "lora")), alone)
    stronger = replace(styled, loras=[style_lora(file, 1.0)])
    assert np.abs(hub_store.pixels(painter, stronger) - first).max() > 1e-3, "so is its strength"
    assert np.array_equal(hub_store.pixels(painter, styled), first)
    painter.close()
    other = hub_store.painter(settings)
    merged = hub_store.pixels(other, replace(plan(other, ben, "lora"), loras=[style_lora(file, 1.4)]))
    assert np.abs(merged - first).max() < 1e-4, "the style's half and the person's 0.9 are added up"
    other.close()


def style_lora(file: Path | None, strength: float) -> PlannedLora:
    """A LoRA beside the person's."""
    return PlannedLora(LoraChoice("style", strength), file or Path())


def with_text(lora: Path | None, text: Path, file: Path) -> Path:
    """A person's LoRA with the text encoder's weights of another."""
    save_file({**load_file(lora or ""), **load_file(text)}, file)
    return file


def test_words_are_encoded_once_for_a_base_unless_a_request_changes_what_they_mean(
    settings: Settings, ben: Identity, load_person: np.ndarray, tmp_path: Path
) -> None:
    alone = load_person
    heard = replace(ben, lora=with_text(ben.lora, text_lora(settings, tmp_path), tmp_path / "both.safetensors"))
    painter, runs = hub_store.painter(settings), list[int]()
    assert np.array_equal(hub_store.pixels(painter, plan(painter, ben, "lora")), alone)
    assert painter._loaded is not None
    painter._loaded.pipeline.text_encoder.register_forward_hook(lambda *call: runs.append(len(runs)))
    assert np.array_equal(hub_store.pixels(painter, plan(painter, ben, "lora")), alone)
    assert runs == [], "a LoRA of the denoiser alone leaves the words as they are"
    changed = hub_store.pixels(painter, plan(painter, heard, "lora"))
    assert runs
    assert np.abs(changed - alone).max() > 1e-3
    runs.clear()
    assert np.array_equal(hub_store.pixels(painter, plan(painter, ben, "lora")), alone)
    assert runs == []
    painter.close()
