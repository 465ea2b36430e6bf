"""Sample renders of a text style: real painters and adapters as tiny networks, from photos alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.generation.options import PromptSpec
from portrait.types import Style
from tasks.styles.samples import StyleTester
from tests import hub_store
from tests.tasks.styles.test_samples import quiet, sample_photos
from tests.tasks.test_drawing import TinyEngines

pytestmark = pytest.mark.networks


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    filled = hub_store.fill(tmp_path / "hub")
    yield replace(filled, draw=replace(filled.draw, redraws=0))
    torch.set_num_threads(before)


def test_three_people_are_drawn_of_words(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample_photos(monkeypatch, tmp_path)
    style = Style(
        "garden", 1, "text", "Garden", prompt_spec=PromptSpec("{who}, {traits}, in a garden", families=("sdxl",))
    )
    with TinyEngines(settings, ModelStore(settings.models)) as engines:
        samples = StyleTester(settings, engines).render_samples(style, tmp_path / "out", quiet)
    assert [each.fault for each in samples] == ["", "", ""]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.jpg", "2.jpg", "3.jpg"]
    recipe: Any = samples[0].portrait.recipe if samples[0].portrait else {}
    assert recipe["technique"]["identities"] == ["instantid"]
