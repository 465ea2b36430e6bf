"""What each family can is planned, and what it cannot is refused in a sentence, before anything is loaded."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
from diffusers import UNet2DConditionModel

from pipelines import model_requirements
from pipelines.diffusion.base import families
from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.loading import find_base
from pipelines.diffusion.base.registry import family_by_name
from pipelines.engines.identities.reference import ReferencePictures
from pipelines.engines.painters.diffusion import Diffusion
from pipelines.engines.trainers import dreambooth
from pipelines.model_requirements import CONTROL_MODELS, IP_ADAPTER_MODELS
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, Settings, TrainSettings
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.generation.edits import Edit
from portrait.generation.options import ControlInput, GenerationOptions, ImagePrompt, PromptSpec
from portrait.generation.parameters import Task
from portrait.types import Identity
from tests import hub_store
from tests.pipelines.diffusion.base.families import tiny_bases

STEPS = 8
PICTURE: Image = np.zeros((128, 128, 3), np.uint8)
SCENE = PromptSpec("a photo of a {who}", "low quality")
PLAIN = GenerationOptions(steps=STEPS, guidance=4.0, cutoff=1.0)
CODES = ("bad_technique", "bad_edit", "bad_blocks", "wrong_family")


@dataclass(frozen=True, slots=True)
class Wish:
    """Something to be drawn beside words, and whether bases of a family do it by what the family says of itself."""

    able: Callable[[Family], bool]
    options: Mapping[str, Any]
    edit: Edit | None = None
    scene: PromptSpec = SCENE


def base_of(family: str) -> str:
    """What the base of a family is called here: otherwise than the family."""
    return f"{family}_here"


def edit(kind: Any, strength: float = 0.5, pictures: int = 0) -> Edit:
    mask = np.ones(PICTURE.shape[:2], np.float32) if kind == "repaint" else None
    if mask is not None:
        mask[:40] = 0
    return Edit(kind, PICTURE, "0" * 64, strength, "a red scarf", mask, pictures=(PICTURE,) * pictures)


def has(family: Family, task: Task, controlled: bool = False, perturbed: bool = False, strength: bool = False) -> bool:
    """Whether there is a stock pipeline; with `strength` one that begins from a picture that is seen."""
    pipeline = family.pipelines.get((task, controlled, perturbed))
    return pipeline is not None and (not strength or "strength" in inspect.signature(pipeline.__call__).parameters)


def follows(family: Family, kind: str) -> bool:
    return family.name in CONTROL_MODELS[kind] and has(family, "text", True)


def control(kind: str, **more: Any) -> ControlInput:
    return ControlInput(kind, PICTURE, **more)


def several(family: Family) -> bool:
    return follows(family, "canny") and follows(family, "pose") and family.abilities.max_controls != 1


WISHES: dict[str, Wish] = {
    "words": Wish(lambda family: True, {}),
    "emphasis": Wish(
        lambda family: family.abilities.prompt_weights, {}, scene=replace(SCENE, prompt="a (red:1.2) {who}")
    ),
    "negative emphasis": Wish(
        lambda family: family.abilities.prompt_weights, {}, scene=replace(SCENE, negative="(dark:1.2)")
    ),
    "clip skip": Wish(lambda family: family.abilities.clip_skip, {"clip_skip": 1}),
    "freeu": Wish(lambda family: family.abilities.freeu, {"freeu": True}),
    "scheduler": Wish(lambda family: family.abilities.schedulers, {"scheduler": "euler"}),
    "cutoff": Wish(lambda family: family.abilities.cutoff, {"cutoff": 0.5}),
    "perturbed": Wish(lambda family: has(family, "text", perturbed=True), {"perturbed": 2.0}),
    "skip layers": Wish(lambda family: family.abilities.skip_layer_guidance, {"skip_layer_guidance": 2.8}),
    "refiner": Wish(lambda family: family.name == "sdxl", {"refiner": 0.25}),
    "once more": Wish(lambda family: has(family, "image", strength=True), {"sdedit": 0.5}),
    "once more, refined": Wish(lambda family: family.name == "sdxl", {"sdedit": 0.5, "sdedit_model": "refiner"}),
    "rescale": Wish(
        lambda family: "guidance_rescale" in inspect.signature(family.pipeline.__call__).parameters,
        {"guidance_rescale": 0.5},
    ),
    "look": Wish(
        lambda family: family.name in IP_ADAPTER_MODELS["ip_adapter"], {"look": ImagePrompt(PICTURE, "ip_adapter")}
    ),
    "blocks": Wish(lambda family: family.abilities.block_weights, {"lora_weights": {"lora": (1.0,) * 5}}),
    "references": Wish(lambda family: family.abilities.references > 0, {"identities": ("reference",)}),
    "instruction": Wish(lambda family: family.abilities.instructions, {}, edit("instruct", 1.0)),
    "instruction, pictures": Wish(
        lambda family: family.abilities.instructions and family.abilities.references > 1, {}, edit("instruct", 1.0, 1)
    ),
    "from a picture": Wish(lambda family: has(family, "image"), {}, edit("variations")),
    "into a picture": Wish(lambda family: has(family, "inpaint"), {}, edit("repaint")),
    "two controls": Wish(several, {"control_inputs": (control("canny"), control("pose"))}),
    "control, a part of the steps": Wish(
        lambda family: follows(family, "canny") and family.abilities.control_windows,
        {"control_inputs": (control("canny", end=0.5),)},
    ),
    "control, from a picture": Wish(
        lambda family: follows(family, "canny") and has(family, "image", True, strength=True),
        {"control_inputs": (control("canny"),)},
        edit("variations"),
    ),
    "control, into a picture": Wish(
        lambda family: follows(family, "canny") and has(family, "inpaint", True, strength=True),
        {"control_inputs": (control("canny"),)},
        edit("repaint"),
    ),
    **{
        f"control {kind}": Wish(lambda family, kind=kind: follows(family, kind), {"control_inputs": (control(kind),)})
        for kind in CONTROL_MODELS
    },
}
TAUGHT: dict[str, tuple[Callable[[Family], bool], dict[str, Any]]] = {
    "nothing else": (lambda family: True, {}),
    "token": (lambda family: family.abilities.tokens, {"token": True}),
    "text": (lambda family: family.abilities.text_encoders, {"text": True}),
    "noise offset": (lambda family: family.abilities.noise_offset, {"noise_offset": 0.05}),
}


class Known:
    """Somebody whom any base knows, without a file."""

    def describe(self, person: Identity, description: str) -> str:
        return description

    def check(self, person: Identity, base: object) -> None:
        pass


class Copied:
    """A control image that is the picture."""

    def process(self, image: Image) -> Image:
        return image


@pytest.fixture(scope="module")
def settings(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A tiny base of each family, and files in the place of every model that controls and looks need."""
    root = tmp_path_factory.mktemp("wishes")
    stored = hub_store.fill(root)
    bases = {base_of("sdxl"): stored.bases["xl"], base_of("sd15"): stored.bases["sd"]}
    for name in families.family_names():
        if base_of(name) not in bases:
            bases[base_of(name)] = BaseLocation(tiny_bases.write(name, root / "bases" / name))
    settings = replace(stored, bases=bases)
    models = ModelStore(settings.models)
    needed = {each for known in CONTROL_MODELS.values() for names in known.values() for each in names[:1]}
    for name in (*needed, "sdxl_refiner"):
        for file in models.find(name).files if models.missing(name) else ():
            place = settings.models.folder / name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    for family in ("sd15", "sdxl"):
        (file,) = models.find(f"ip_adapter_{family}").files
        unet = UNet2DConditionModel.from_pretrained(bases[base_of(family)].path / "unet")
        hub_store.save_adapter(
            hub_store.ip_adapter(unet, plus=False), settings.models.folder / f"ip_adapter_{family}" / file.name
        )
    return settings


@pytest.fixture(scope="module")
def painter(settings: Settings) -> Diffusion:
    models, known = ModelStore(settings.models), cast(Any, {"lora": Known(), "reference": ReferencePictures()})
    return Diffusion(
        lambda name: find_base(name, settings, models),
        known.__getitem__,
        lambda kind: Copied(),
        models,
        settings.draw,
    )


def refusal(attempt: Callable[[], object]) -> UserError | None:
    """What is refused; None where nothing is."""
    try:
        attempt()
    except UserError as refused:
        return refused
    return None


def is_sentence(refused: UserError, base: str) -> bool:
    """Whether it is a sentence that names the base."""
    return refused.code in CODES and refused.message.endswith(".") and base in refused.message


@pytest.mark.parametrize("name", families.family_names())
def test_every_wish_is_planned_or_refused_in_a_sentence(painter: Diffusion, name: str) -> None:
    family, base, wrong = family_by_name(name), base_of(name), dict[str, str]()
    way = ("reference",) if family.reads_references else ("lora",)
    for what, wish in WISHES.items():
        asked: dict[str, Any] = {"base": base, "identities": way, **wish.options}
        options = replace(PLAIN, **asked)
        request = replace(hub_store.request(hub_store.stranger(1), wish.scene, options), edit=wish.edit)
        refused = refusal(partial(painter.plan, request))
        if refused is None and not wish.able(family):
            wrong[what] = "planned, though the family says that it cannot"
        if refused is not None and (wish.able(family) or not is_sentence(refused, base)):
            wrong[what] = f"{refused.code}: {refused.message}"
    assert wrong == {}


@pytest.mark.parametrize("name", families.family_names())
def test_what_is_trained_with_a_lora_is_known_or_refused(settings: Settings, name: str) -> None:
    base, family = find_base(base_of(name), settings, ModelStore(settings.models)), family_by_name(name)
    for what, (able, more) in TAUGHT.items():
        lessons: dict[str, Any] = {"lora": True, "text": False, "token": False, "noise_offset": 0.0, **more}
        learns = TrainSettings(**lessons)
        refused = refusal(partial(dreambooth._check_abilities, base, learns))
        assert (refused is None) == (able(family) and not family.reads_references), what
        assert refused is None or (refused.code == "bad_lesson" and base.name in refused.message), what


def test_what_programs_are_told_of_a_family_is_what_is_planned(settings: Settings) -> None:
    models = ModelStore(settings.models)
    for name in families.family_names():
        told, family = model_requirements.ability_words(name), family_by_name(name)
        assert ("instruct" in told) == WISHES["instruction"].able(family)
        for word, wish in {"prompt_weights": "emphasis", "clip_skip": "clip skip", "freeu": "freeu"}.items():
            assert (f"option:{word}" in told) == WISHES[wish].able(family)
        shipped = {kind for kind in CONTROL_MODELS if WISHES[f"control {kind}"].able(family)}
        assert {*model_requirements.controls(name, models)} & {*CONTROL_MODELS} == shipped
