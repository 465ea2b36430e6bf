"""SDXL's refiner draws the last steps, equal to the published way of calling both; and the base makes room for it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

from pipelines.diffusion.sampling import refiner
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.errors import OperatorError, UserError
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.types import Identity
from tests import hub_store, tiny_hub

SCENE = PromptSpec("a photo of a {who}", "low quality")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    settings = hub_store.fill(tmp_path_factory.mktemp("hub"))
    tiny_hub.refiner(settings.models.folder / refiner.MODEL)
    return settings


def plan(painter: Diffusion, who: Identity, *identities: str, **more: Any) -> GenerationPlan:
    given: dict[str, Any] = {"scheduler": "own", "steps": 10, "guidance": 4.0, "refiner": 0.2, **more}
    options = GenerationOptions(identities=identities, **given)
    made = painter.plan(hub_store.request(who, SCENE, options))
    return replace(made, parameters=replace(made.parameters, size=Size(64, 64)))


def test_base_and_refiner_draw_what_the_published_calls_draw(
    painter: Diffusion, settings: Settings, anna: Identity
) -> None:
    made = replace(
        plan(painter, anna, "lora"), identities=(), parameters=plan(painter, anna, "lora", cutoff=1).parameters
    )
    made = replace(made, parameters=replace(made.parameters, prompt="a photo of a man", size=Size(64, 64)))
    steps: list[int] = []
    pixels, facts = painter.draw(made, steps.append)
    assert steps == list(range(1, 11))
    assert facts["refiner"] == 0.2
    base: Any = StableDiffusionXLPipeline.from_pretrained(settings.bases["xl"].path)
    second: Any = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        settings.models.folder / refiner.MODEL, variant="fp16"
    )
    words: dict[str, Any] = {"prompt": "a photo of a man", "negative_prompt": "low quality", "guidance_scale": 4.0}
    for pipe in (base, second):
        pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    latents = base(
        **words,
        width=64,
        height=64,
        num_inference_steps=10,
        denoising_end=0.8,
        output_type="latent",
        generator=torch.Generator().manual_seed(0),
    ).images
    wanted = second(
        **words,
        image=latents,
        num_inference_steps=10,
        denoising_start=0.8,
        output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    assert np.abs(pixels - wanted).max() < 1e-4


@pytest.mark.parametrize("names", [("lora",), ("instantid",), ("lora", "photomaker")], ids=str)
def test_the_refiner_changes_what_any_identity_draws_and_leaves_the_base_as_it_was(
    painter: Diffusion, anna: Identity, names: tuple[str, ...]
) -> None:
    alone = hub_store.pixels(painter, plan(painter, anna, *names, refiner=0.0))
    together = hub_store.pixels(painter, plan(painter, anna, *names))
    assert np.abs(alone - together).max() > 1e-3
    assert np.array_equal(hub_store.pixels(painter, plan(painter, anna, *names, refiner=0.0)), alone)


def test_the_refiners_prompt_has_no_trained_token(painter: Diffusion, anna: Identity) -> None:
    made = plan(painter, anna, "lora")
    assert "sks" in made.parameters.prompt
    assert made.refiner_prompt == "a photo of a man"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"refiner": 0.9}, "0.05 to 0.5 of the steps"),
        ({"scheduler": "lcm"}, "many steps"),
        ({"base": "sd", "identities": ("faceid",)}, "family sdxl alone"),
    ],
    ids=str,
)
def test_what_the_refiner_does_not_support_is_refused_beforehand(
    painter: Diffusion, anna: Identity, more: dict[str, Any], says: str
) -> None:
    given: dict[str, Any] = {"identities": ("lora",), "scheduler": "own", "refiner": 0.2, **more}
    options = GenerationOptions(**given)
    with pytest.raises(UserError, match=says):
        painter.plan(hub_store.request(hub_store.stranger(1) if "base" in more else anna, SCENE, options))


def test_a_missing_refiner_is_named_with_its_pull(settings: Settings, anna: Identity) -> None:
    painter = hub_store.painter(settings)
    file = settings.models.folder / refiner.MODEL / "unet" / "config.json"
    held = file.read_bytes()
    file.unlink()
    try:
        with pytest.raises(OperatorError, match="portrait models pull sdxl_refiner"):
            plan(painter, anna, "lora")
    finally:
        file.write_bytes(held)


class Pipeline:
    """Remembers where it was."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name, self._log, self.components = name, log, {"unet": torch.nn.Linear(10, 10, bias=False)}

    def to(self, where: torch.device | str) -> None:
        self._log.append(f"{self._name} to {torch.device(where).type}")


@pytest.mark.parametrize(
    ("free", "log"),
    [
        (1000.0, ["refiner to cuda", "drawn"]),
        (400.0, ["base to cpu", "refiner to cuda", "drawn", "refiner to cpu", "base to cuda"]),
    ],
)
def test_where_both_do_not_fit_each_waits_for_its_turn(
    monkeypatch: pytest.MonkeyPatch, free: float, log: list[str]
) -> None:
    events: list[str] = []
    second: Any = SimpleNamespace(pipeline=Pipeline("refiner", events))
    loaded = SimpleNamespace(move=Pipeline("base", events).to, profile="full")
    lease: Any = SimpleNamespace(loaded=loaded, device=torch.device("cuda"))
    monkeypatch.setattr(refiner.device, "free_memory", lambda where: free)
    monkeypatch.setattr(refiner.device, "release_memory", lambda where: None)
    with refiner.refiner_on_device(lease, second):
        events.append("drawn")
    assert events == log


@pytest.mark.parametrize("model", ["base", "refiner"])
def test_sdedit_draws_what_the_published_calls_draw_one_after_the_other(
    painter: Diffusion, settings: Settings, anna: Identity, model: str
) -> None:
    made = plan(painter, anna, "lora", refiner=0.0, cutoff=1, steps=6, sdedit=0.4, sdedit_model=model)
    made = replace(made, identities=(), parameters=replace(made.parameters, prompt="a photo of a man"))
    steps: list[int] = []
    pixels, facts = painter.draw(made, steps.append)
    assert steps == list(range(1, 9))
    assert facts["sdedit"] == {"strength": 0.4, "model": model}
    assert (f"{refiner.MODEL}/unet/" in str(facts)) == (model == "refiner")
    first: Any = StableDiffusionXLPipeline.from_pretrained(settings.bases["xl"].path)
    second: Any = (
        StableDiffusionXLImg2ImgPipeline.from_pretrained(settings.models.folder / refiner.MODEL, variant="fp16")
        if model == "refiner"
        else StableDiffusionXLImg2ImgPipeline(**first.components)
    )
    words: dict[str, Any] = {"prompt": "a photo of a man", "negative_prompt": "low quality", "guidance_scale": 4.0}
    generators = [
        torch.Generator().manual_seed(seed) for seed in (0, int(np.random.SeedSequence([0, 1]).generate_state(1)[0]))
    ]
    for pipe in (first, second):
        pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    drawn = first(**words, width=64, height=64, num_inference_steps=6, generator=generators[0]).images[0]
    wanted = second(
        **words, image=drawn, strength=0.4, num_inference_steps=6, generator=generators[1], output_type="np"
    ).images[0]
    assert np.abs(pixels - wanted).max() < 1e-4
    assert np.abs(pixels - np.asarray(drawn) / 255).max() > 1e-3


def test_sdedit_draws_whoever_is_drawn_and_leaves_edits_alone(painter: Diffusion, anna: Identity) -> None:
    options = {"refiner": 0.0, "steps": 5, "sdedit": 0.4}
    names = ("lora", "photomaker")
    pictures = [
        hub_store.pixels(painter, plan(painter, anna, *names, **(options | more)))
        for more in ({}, {"sdedit": 0.0}, {"sdedit": 0.2})
    ]
    assert min(np.abs(pictures[0] - each).max() for each in pictures[1:]) > 1e-3
    made = plan(painter, anna, "lora", **options)
    start = np.zeros((64, 64, 3), np.uint8)
    assert made.steps_done == 7
    edited = replace(made, parameters=replace(made.parameters, start=start, strength=0.6))
    assert (edited.uses_sdedit, edited.steps_done) == (False, 3)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"sdedit": 0.9}, "strength of 0 to 0.6"),
        ({"sdedit": 0.05, "steps": 10}, "does none of them"),
        ({"sdedit": 0.4, "sdedit_model": "refiner", "base": "sd", "identities": ("faceid",)}, "family sdxl alone"),
        ({"sdedit": 0.4, "sdedit_model": "refiner", "scheduler": "lcm"}, "many steps"),
        ({"sdedit": 0.4, "sdedit_model": "other"}, "base or refiner"),
    ],
    ids=str,
)
def test_what_sdedit_cannot_draw_once_more_is_refused_beforehand(
    painter: Diffusion, anna: Identity, more: dict[str, Any], says: str
) -> None:
    given: dict[str, Any] = {"identities": ("lora",), "scheduler": "own", **more}
    options = GenerationOptions(**given)
    with pytest.raises(UserError, match=says) as caught:
        painter.plan(hub_store.request(hub_store.stranger(1) if "base" in more else anna, SCENE, options))
    assert caught.value.code == "bad_technique"
