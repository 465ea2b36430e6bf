"""PhotoMaker: into which tokens photos are merged, and from which step on."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.diffusion.base.family import TextEmbeddings
from pipelines.engines.identities import photomaker
from pipelines.engines.identities.photomaker import _merge_callback
from pipelines.engines.painters.diffusion import Diffusion
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.generation.options import GenerationOptions, PromptSpec, from_dict
from portrait.generation.parameters import GenerationParameters
from tests import hub_store


def test_photos_are_merged_into_the_first_tokens_of_a_prompt_that_is_longer() -> None:
    tensors = {"prompt_embeds": torch.zeros(2, 2 * 77, 8), "add_text_embeds": torch.zeros(2, 4)}
    after = _merge_callback(TextEmbeddings(torch.ones(1, 77, 8), torch.ones(1, 4)), 1, guided=True)
    after(0, tensors)
    assert not tensors["prompt_embeds"].any(), "not before its step"
    after(1, tensors)
    assert tensors["prompt_embeds"][1, :77].all()
    assert not tensors["prompt_embeds"][1, 77:].any(), "the rest of the prompt stays"
    assert not tensors["prompt_embeds"][0].any(), "what speaks against the person stays"
    assert tensors["add_text_embeds"].sum(dim=1).tolist() == [0, 4]


def test_photos_are_merged_into_all_that_speaks_for_the_person() -> None:
    for rows, guided in ((3, True), (2, False), (1, False)):
        tensors = {"prompt_embeds": torch.zeros(rows, 77, 8), "add_text_embeds": torch.zeros(rows, 4)}
        _merge_callback(TextEmbeddings(torch.ones(1, 77, 8), torch.ones(1, 4)), 0, guided)(0, tensors)
        assert tensors["prompt_embeds"].any(dim=2).all(dim=1).tolist() == [row >= int(guided) for row in range(rows)]


def draw_of(steps: int, **more: Any) -> GenerationParameters:
    return GenerationParameters("", "", Size(64, 64), 0, steps, 5.0, GenerationOptions(**more))


def test_a_strength_of_one_merges_where_the_published_demo_does() -> None:
    for steps in range(1, 151):
        assert photomaker.first_merged_step(draw_of(steps), 1.0) == min(int(0.2 * steps), 30)
        assert photomaker.first_merged_step(draw_of(steps, start_merge_step=0.35), 1.0) == min(int(0.35 * steps), 30)


def test_the_stronger_the_earlier() -> None:
    found = [photomaker.first_merged_step(draw_of(40), strength / 10) for strength in range(1, 21)]
    assert found == sorted(found, reverse=True)
    assert (found[0], found[9], found[-1]) == (36, 8, 0)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    return hub_store.fill(tmp_path_factory.mktemp("hub"))


def drawn(painter: Diffusion, seed: int, name: str, prompt: str = "a photo of a {who}", **more: Any) -> np.ndarray:
    options = GenerationOptions(identities=(name,), scheduler="own", steps=5, guidance=5.0, cutoff=1.0, **more)
    plan = painter.plan(hub_store.request(hub_store.stranger(seed), PromptSpec(prompt, "low"), options))
    return hub_store.pixels(painter, replace(plan, parameters=replace(plan.parameters, size=Size(64, 64))))


def test_the_stronger_the_more_two_people_differ_and_not_at_all_at_zero(painter: Diffusion) -> None:
    def apart(strength: float) -> float:
        one, other = (drawn(painter, seed, "photomaker", strengths={"photomaker": strength}) for seed in (1, 2))
        return float(np.abs(one - other).mean())

    differences = [apart(strength) for strength in (0.0, 0.5, 1.0, 2.0)]
    assert differences == sorted(set(differences)), "each more than the one before"
    assert differences[0] == 0


@pytest.mark.parametrize("name", ["photomaker", "photomaker_v2"])
def test_without_strength_it_draws_the_words_alone(painter: Diffusion, name: str) -> None:
    words = drawn(painter, 1, "faceid", strengths={"faceid": 0.0})
    assert np.array_equal(drawn(painter, 1, name, strengths={name: 0.0}), words)
    assert np.abs(drawn(painter, 1, name) - words).max() > 1e-3


def test_a_prompt_that_names_nobody_begins_with_the_person(painter: Diffusion) -> None:
    prompt = "a red photo"
    assert not np.array_equal(drawn(painter, 1, "photomaker", prompt), drawn(painter, 2, "photomaker", prompt))
    named = drawn(painter, 1, "photomaker", "{who}, a red photo")
    assert np.array_equal(drawn(painter, 1, "photomaker", prompt), named)


def test_recipes_of_version_0_1_0_mean_what_they_meant() -> None:
    recorded = {"identities": ["photomaker"], "strengths": {"photomaker": 0.4, "lora": 0.7}}
    before, now = from_dict(recorded, method=1), from_dict(recorded)
    assert (before.start_merge_step, before.strengths) == (0.4, {"lora": 0.7})
    assert (now.start_merge_step, now.strengths) == (None, {"photomaker": 0.4, "lora": 0.7})
    assert photomaker.first_merged_step(draw_of(5, start_merge_step=before.start_merge_step), 1.0) == int(0.4 * 5)
    assert from_dict({"strengths": {"photomaker_v2": 2.0}}, method=1).start_merge_step == 1.0
