"""LoRAs and embeddings that prompts name: put on and taken off, heard in the picture, in the recipe, or told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.model_store.download import Source
from pipelines.model_store.manifest import Model, ModelFile, builtin_manifest
from pipelines.model_store.own import OwnManifest
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.edits import Edit
from portrait.generation.options import GenerationOptions, LoraChoice, PromptSpec, from_dict, to_dict
from portrait.types import Identity
from tests import hub_store

BLOCKS = (1.0, 0.0, 0.5, 1.0, 0.0)
"""BASE and the blocks with attention of the tiny SDXL."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("hub")
    settings = hub_store.fill(folder)
    other = hub_store.trained_person(settings, 8)
    add(settings, "film_look", "lora", other.lora or Path())
    random = torch.Generator().manual_seed(4)
    vectors = {"clip_l": torch.randn(2, 48, generator=random), "clip_g": torch.randn(2, 80, generator=random)}
    for name, content in {"easy": vectors, "narrow": {"emb_params": torch.ones(2, 32)}}.items():
        save_file(content, folder / f"{name}.safetensors")
        add(settings, name, "embedding", folder / f"{name}.safetensors")
    return settings


def add(settings: Settings, name: str, kind: Any, file: Path) -> None:
    """Note a model of one's own, with its file in the store; `models add` itself asks for the published widths."""
    folder = settings.models.folder / name
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(file.read_bytes())
    files = (ModelFile("weights.safetensors", (Source("file", str(file)),)),)
    own = OwnManifest(settings.models.folder, builtin_manifest())
    own.put(Model(name, "Test", "CC0-1.0", "yes", files, kind=kind, family="sdxl"))


def plan(painter: Diffusion, who: Identity, scene: PromptSpec, **more: Any) -> GenerationPlan:
    given = GenerationOptions(identities=("lora",), scheduler="own", steps=2, guidance=4.0, **more)
    made = painter.plan(hub_store.request(who, scene, given))
    return replace(made, parameters=replace(made.parameters, size=Size(64, 64)))


def drawn(painter: Diffusion, who: Identity, prompt: str, negative: str = "", **more: Any) -> np.ndarray:
    return hub_store.pixels(painter, plan(painter, who, PromptSpec(prompt, negative), **more))


def test_a_lora_in_a_prompt_is_that_of_a_style_and_goes_with_the_lease(painter: Diffusion, anna: Identity) -> None:
    before = drawn(painter, anna, "a photo of a {who}")
    named = drawn(painter, anna, "a photo of a {who}<lora:film_look:0.6>")
    style = PromptSpec("a photo of a {who}", loras=(LoraChoice("film_look", 0.6),))
    assert np.array_equal(named, hub_store.pixels(painter, plan(painter, anna, style)))
    assert np.abs(named - before).max() > 1e-3
    weighed = drawn(painter, anna, "a photo of a {who}<lora:film_look:0.6>", lora_weights={"film_look": BLOCKS})
    tagged = drawn(painter, anna, f"a photo of a {{who}}<lora:film_look:0.6:lbw={','.join(map(str, BLOCKS))}>")
    assert np.array_equal(weighed, tagged)
    assert np.abs(weighed - named).max() > 1e-3
    person = drawn(painter, anna, "a photo of a {who}", lora_weights={"lora": BLOCKS})
    assert np.abs(person - before).max() > 1e-3
    assert np.array_equal(drawn(painter, anna, "a photo of a {who}"), before)


def test_the_recipe_has_what_was_named(painter: Diffusion, anna: Identity) -> None:
    made = plan(painter, anna, PromptSpec("easy, a {who}<lora:film_look:0.2:0.6>"), lora_weights={"film_look": BLOCKS})
    assert made.parameters.prompt == "easy, a sks man"
    _, facts = painter.draw(made, lambda done: None)
    assert facts["looks"] == {"film_look": 0.6}
    assert facts["lora_details"] == {"film_look": {"text_strength": 0.2, "blocks": list(BLOCKS)}}
    assert facts["embeddings"] == ["easy"]
    named: Any = facts["models"]
    assert {"film_look", "easy"} <= {name.split("/")[0] for name in named}
    options = made.parameters.options
    assert from_dict(to_dict(options)).lora_weights == {"film_look": BLOCKS}


def test_an_edit_and_traits_name_loras_too(painter: Diffusion, anna: Identity) -> None:
    given = GenerationOptions(identities=("lora",), traits="smiling <lora:film_look:0.2>", steps=8, preset="balanced")
    changed = Edit("change", np.zeros((64, 64, 3), np.uint8), "", 0.5, "<lora:lcm_sdxl:0.3> a red suit")
    request = replace(hub_store.request(anna, PromptSpec("a {who}, {traits}"), given), edit=changed)
    made = painter.plan(request)
    assert made.parameters.prompt == "a sks man, smiling, a red suit"
    assert {each.name: each.choice.strength for each in made.loras} == {"film_look": 0.2, "lcm_sdxl": 0.3}


def test_recipes_of_version_0_1_0_keep_plain_signs_as_words(painter: Diffusion, anna: Identity) -> None:
    scene = PromptSpec("a (smiling) [red] (suit:1.2) {who}")
    assert plan(painter, anna, scene).parameters.prompt == "a (smiling) [red] (suit:1.2) sks man"
    assert plan(painter, anna, scene, method=1).parameters.prompt == r"a \(smiling\) \[red\] (suit:1.2) sks man"


def test_an_embedding_stands_for_its_name(painter: Diffusion, anna: Identity) -> None:
    plain = drawn(painter, anna, "a {who}", "blue suit")
    named = drawn(painter, anna, "a {who}", "blue suit, easy")
    assert np.array_equal(named, drawn(painter, anna, "a {who}", "blue suit, <Easy>"))
    assert np.abs(named - plain).max() > 1e-3
    assert np.abs(drawn(painter, anna, "a {who}, (easy:1.3)", "blue suit") - plain).max() > 1e-3
    assert np.abs(drawn(painter, anna, "a {who}", "blue suit, uneasy") - named).max() > 1e-3
    assert np.array_equal(drawn(painter, anna, "a {who}", "blue suit"), plain)


@pytest.mark.parametrize(
    ("prompt", "negative", "weights", "code", "says"),
    [
        ("a {who} <lora:gone:0.7>", "", {}, "unknown_lora", "portrait models add gone --kind lora"),
        ("a {who} <lora:easy:0.7>", "", {}, "unknown_lora", "no LoRA 'easy'"),
        ("a {who} <lora:film_look:x>", "", {}, "bad_lora_tag", "no number"),
        ("a {who}", "<lora:film_look:1>", {}, "bad_lora_tag", "negative prompt"),
        ("a {who} <lora:film_look:1:lbw=1,1>", "", {}, "bad_blocks", "2 block weights"),
        ("a {who}", "", {"film_look": BLOCKS}, "bad_blocks", "neither style nor prompt"),
        ("a {who}", "", {"lora": (1.0,)}, "bad_blocks", "1 block weights"),
        ("a {who}, narrow", "", {}, "wrong_base", "another base: 32"),
    ],
)
def test_what_cannot_be_put_on_is_told_before_anything_is_drawn(
    painter: Diffusion, anna: Identity, prompt: str, negative: str, weights: Any, code: str, says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        plan(painter, anna, PromptSpec(prompt, negative), lora_weights=weights)
    assert caught.value.code == code
