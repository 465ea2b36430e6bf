"""People by reference pictures, and edits by instruction, on a tiny FLUX.2: each picture counts, and refusals come first."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.diffusion.sampling.generation_options import check_edit, identity_names, with_edit
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.settings import BaseLocation, DrawSettings, ModelStoreSettings, Settings
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.edits import Edit
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.types import Identity
from tests import hub_store, tiny

SCENE = PromptSpec("{who}, garden", "low quality", sentence="A photo of a {who} in a garden.")
VISIBLE = 1e-4
"""A change that is more than rounding."""
PICTURE = np.random.default_rng(5).integers(0, 255, (80, 100, 3), dtype=np.uint8)
COAT = np.random.default_rng(6).integers(0, 255, (30, 90, 3), dtype=np.uint8)
INSTRUCTION = Edit("instruct", PICTURE, "hash", 1.0, "Give them a red coat")
MASK = np.zeros((80, 100), np.float32)
MASK[20:60, 20:60] = 1
REPAINT = Edit("repaint", PICTURE, "hash", 0.85, "a tie", MASK)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("hub")
    bases = {"klein": BaseLocation(tiny.flux2(place / "flux2", distilled=True)), "sd": BaseLocation(place / "sd15")}
    tiny.sd15(place / "sd15")
    yield Settings(
        models=ModelStoreSettings(folder=place / "models"), bases=bases, draw=DrawSettings(base="klein", device="cpu")
    )
    torch.set_num_threads(before)


def person(*seeds: int, **more: Any) -> Identity:
    """Somebody with one photo a seed."""
    references = [hub_store.stranger(seed).references[0] for seed in seeds]
    return replace(hub_store.stranger(seeds[0] if seeds else 0), references=tuple(references), **more)


def plan(painter: Diffusion, who: Identity, edit: Edit | None = None, **more: Any) -> GenerationPlan:
    size = Size(64, 64) if edit is None else None
    asked = hub_store.request(who, SCENE, GenerationOptions(**more), size=size)
    return painter.plan(replace(asked, edit=edit))


def drawn(painter: Diffusion, who: Identity, edit: Edit | None = None) -> np.ndarray:
    return hub_store.pixels(painter, plan(painter, who, edit))


def differ(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(one - other).max() > VISIBLE)


def refused(painter: Diffusion, who: Identity, edit: Edit | None = None, **more: Any) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        plan(painter, who, edit, **more)
    return caught.value.code, caught.value.message


def test_each_reference_counts_and_so_does_their_order(painter: Diffusion) -> None:
    made = plan(painter, person(1, 2, 3))
    nobody = hub_store.pixels(painter, replace(made, identities=()))
    usual = hub_store.pixels(painter, made)
    others = [drawn(painter, person(*seeds)) for seeds in ((1, 2, 3), (1, 2), (2, 1, 3), (1, 2, 4))]
    assert np.array_equal(usual, others[0])
    assert all(differ(usual, each) for each in (nobody, *others[1:]))


def test_at_most_four_photos_are_seen_and_the_recipe_says_how_many(painter: Diffusion) -> None:
    made = plan(painter, person(1, 2, 3, 4, 5))
    pixels, facts = painter.draw(made, lambda done: None)
    assert facts["reference"] == {"photos": 4}
    assert np.array_equal(pixels, drawn(painter, person(1, 2, 3, 4)))
    assert made.parameters.prompt == "A photo of a man in a garden."


def test_who_is_told_by_default(painter: Diffusion, tmp_path: Path) -> None:
    learned, both = {"lora": tmp_path / "lora"}, ("lora", "reference")
    klein, sd = (plan(painter, person(1), base="klein").base, painter._bases("sd"))
    cases = [
        (klein, person(1), ("reference",)),
        (klein, person(1, **learned), both),
        (klein, person(1, tokens=tmp_path / "token"), both),
        (klein, person(**learned), ("lora",)),
        (klein, person(), ("lora",)),
        (sd, person(1), ("lora",)),
        (sd, person(1, **learned), ("lora",)),
    ]
    options = GenerationOptions()
    for base, who, names in cases:
        asked = hub_store.request(who, SCENE, options)
        assert identity_names(asked, options, (), base) == names
        assert identity_names(asked, options, ("faceid",), base) == ("faceid",)
        assert identity_names(asked, GenerationOptions(identities=("reference", "lora")), ("faceid",), base) == both
        again = replace(asked, drawn={"lora": {}, "base": "klein"})
        assert identity_names(again, options, ("faceid",), base) == ("lora",), "as it was drawn"


def test_who_cannot_be_told_by_references_is_refused(painter: Diffusion) -> None:
    code, sentence = refused(painter, person(1), base="sd", identities=("reference",))
    assert (code, "reference pictures" in sentence) == ("wrong_family", True)
    assert refused(painter, person(), identities=("reference",))[0] == "no_reference"
    assert refused(painter, person(1), strengths={"reference": 0.5})[0] == "bad_technique"


def test_an_instruction_changes_the_picture_by_its_words_and_what_goes_with_it(painter: Diffusion) -> None:
    made = plan(painter, person(1, 2), INSTRUCTION)
    parameters = made.parameters
    assert (parameters.prompt, parameters.negative, parameters.start) == ("Give them a red coat", "", None)
    assert made.to_portrait(np.zeros((64, 64, 3), np.uint8)).shape == PICTURE.shape
    usual = hub_store.pixels(painter, made)
    changes: list[dict[str, Any]] = [
        {"extra_prompt": "Give them a blue coat"},
        {"picture": np.ascontiguousarray(PICTURE[::-1])},
        {"pictures": (COAT,)},
        {"pictures": (COAT, COAT)},
    ]
    images = [usual, *(drawn(painter, person(1, 2), replace(INSTRUCTION, **each)) for each in changes)]
    images.append(drawn(painter, person(2, 1), INSTRUCTION))
    assert all(differ(one, other) for at, one in enumerate(images) for other in images[:at])


def test_a_persons_photos_take_the_room_that_an_edit_leaves(painter: Diffusion) -> None:
    def photos(edit: Edit) -> object:
        return painter.draw(plan(painter, person(1, 2, 3, 4), edit), lambda done: None)[1]["reference"]

    many = replace(INSTRUCTION, pictures=(COAT,) * 3)
    assert [photos(each) for each in (INSTRUCTION, replace(many, pictures=(COAT,)), many)] == [
        {"photos": 3},
        {"photos": 2},
        {"photos": 0},
    ]
    assert photos(replace(REPAINT, pictures=(COAT,))) == {"photos": 3}


def test_a_part_is_repainted_with_another_picture(painter: Diffusion) -> None:
    without, with_coat = (drawn(painter, person(1), replace(REPAINT, pictures=each)) for each in ((), (COAT,)))
    assert differ(without, with_coat)
    squares = plan(painter, person(1), replace(REPAINT, pictures=(COAT,))).parameters.pictures
    assert [each.shape for each in squares] == [(90, 90, 3)]


def test_an_instruction_names_the_trigger_where_a_lora_takes_part(painter: Diffusion) -> None:
    made = plan(painter, person(1), INSTRUCTION)
    assert made.canvas is not None
    for words in ("Give them a red coat", "Give them a red coat."):
        edit = replace(INSTRUCTION, extra_prompt=words)
        for names, prompt in (
            (("reference",), words),
            (("lora", "reference"), "Give them a red coat. The person is sks man."),
        ):
            parameters = replace(made.parameters, options=replace(made.parameters.options, identities=names))
            assert with_edit(parameters, edit, made.canvas, "sks man").prompt == prompt


def test_edits_that_a_base_cannot_do_are_refused(painter: Diffusion) -> None:
    sd, klein = painter._bases("sd"), painter._bases("klein")
    for edit, base, why in (
        (INSTRUCTION, sd, "by words alone"),
        (replace(REPAINT, pictures=(COAT,)), sd, "no pictures with an edit"),
        (replace(INSTRUCTION, pictures=(COAT,) * 4), klein, "at most 3 pictures"),
    ):
        with pytest.raises(UserError, match=why) as caught:
            check_edit(edit, base)
        assert caught.value.code == "bad_edit"
    assert refused(painter, person(1), replace(INSTRUCTION, pictures=(COAT,) * 4))[0] == "bad_edit"
