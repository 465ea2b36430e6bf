"""Prompts that are longer than a text encoder reads: it is known how much of them is cut off, and told in the recipe."""

import bisect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.diffusion.base import loading, prompts
from pipelines.diffusion.base.source import BaseSource
from pipelines.settings import BaseLocation, Settings
from portrait.arrays import Size
from portrait.generation.options import GenerationOptions, PromptSpec
from tests import hub_store
from tests.fakes import RecordingProgress
from tests.pipelines.diffusion.base.families import tiny_bases

CUTTING = ("sd3", "flux", "flux2", "zimage", "qwenimage")
LONG = "a photo of a man " * 400


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    for family in ("sd15", *CUTTING):
        tiny_bases.write(family, folder / family)
    return folder


def components_of(base: BaseSource) -> dict[str, Any]:
    names = [name for pair in base.family.text_encoders for name in pair]
    return loading.load_components(base, torch.float32, [*names, base.family.denoiser])


@pytest.mark.parametrize("name", CUTTING)
def test_what_is_cut_off_changes_nothing_and_all_else_does(hub: Path, name: str) -> None:
    base = loading.open_base(name, hub / name)
    components = components_of(base)

    def unread(text: str) -> int:
        return base.family.count_unread(components, text)

    def encoded(text: str) -> torch.Tensor:
        return prompts.encode_prompts(base.family, components, text, "", 0)[0].hidden

    assert 0 < unread(LONG) < unread(LONG + LONG)
    assert torch.equal(encoded(LONG), encoded(LONG + "on the moon"))
    length = bisect.bisect_left(range(len(LONG)), 1, key=lambda length: unread(LONG[:length])) - 1
    assert unread(LONG[:length]) == 0
    shorter = LONG[: length - len("a man ")].rstrip()
    whole = encoded(LONG[:length])
    assert whole.shape != encoded(shorter).shape or not torch.equal(whole, encoded(shorter))


def test_of_a_base_that_reads_prompts_of_any_length_nothing_is_cut_off(hub: Path) -> None:
    base = loading.open_base("sd15", hub / "sd15")
    components = components_of(base)
    assert base.family.count_unread(components, LONG) == 0
    one, other = (
        prompts.encode_prompts(base.family, components, text, "", 0)[0].hidden for text in (LONG, LONG + "on the moon")
    )
    assert not torch.equal(one, other)


def test_the_recipe_says_how_much_was_not_read(hub: Path) -> None:
    painter = hub_store.painter(Settings(bases={"flux2": BaseLocation(hub / "flux2")}))
    options = GenerationOptions(base="flux2", identities=("reference",), steps=1)
    facts: list[Mapping[str, Any]] = []
    for words in ("a photo of a {who}", LONG + "a photo of a {who}"):
        asked = hub_store.request(hub_store.stranger(1), PromptSpec(words, "low"), options, size=Size(64, 64))
        [candidate] = painter.paint(asked, RecordingProgress())
        facts.append(candidate.facts)
    painter.close()
    assert "unread_tokens" not in facts[0]
    assert facts[1]["unread_tokens"] > 1000
