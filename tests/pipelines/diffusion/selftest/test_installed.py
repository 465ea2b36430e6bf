"""Small pictures with the bases of an installation: which are drawn, and that each is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.build import open_engines
from pipelines.diffusion.base.loading import find_base
from pipelines.diffusion.selftest import installed, tiny_adapters, tiny_store
from pipelines.diffusion.selftest.installed import InstalledChecks
from pipelines.diffusion.selftest.run import SelfTest
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, Settings
from tests import fakes

CPU = torch.device("cpu")

pytestmark = pytest.mark.networks


@pytest.fixture(scope="module")
def settings(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation with two bases, one of which is gone, and everything for them but the refiner."""
    filled = tiny_store.fill(tmp_path_factory.mktemp("installed"))
    return replace(filled, bases={"own": filled.bases["sd"], "gone": BaseLocation(Path("/nowhere"))})


@pytest.fixture
def checks(settings: Settings) -> InstalledChecks:
    adapter = open_engines(settings).identity_adapter
    return InstalledChecks(settings, adapter, tiny_store.made_up_person(1), CPU)


def test_every_kind_that_is_here_is_drawn_and_timed(checks: InstalledChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "LARGEST_SIDE", 64)
    assert checks.bases() == ["own"]
    results = list(checks("own"))
    assert [each.name for each in results] == [
        "Loading own",
        *(f"own {each}, 64 px, 4 steps" for each in ("text", "picture", "inpainting", "faceid", "ControlNet")),
    ]
    assert [each.faults for each in results] == [()] * 6
    assert all(each.seconds > 0 for each in results)


def test_a_base_that_cannot_be_read_is_a_fault(checks: InstalledChecks) -> None:
    (result,) = checks("gone")
    assert result.outcome == "fault"
    assert "/nowhere" in result.faults[0].sentence


def test_sdxl_has_its_refiner_where_that_is_here(tmp_path: Path) -> None:
    filled = tiny_store.fill(tmp_path)
    adapter = open_engines(filled).identity_adapter
    checks = InstalledChecks(filled, adapter, tiny_store.made_up_person(1), CPU)
    base = find_base("xl", filled, ModelStore(filled.models))
    without = [case.name for case in checks.cases(base)]
    tiny_adapters.refiner(filled.models.folder / "sdxl_refiner")
    assert [case.name for case in checks.cases(base)] == [*without, "xl refiner"]
    assert {case.identities for case in checks.cases(base)} == {
        *((), ("instantid",), ("photomaker",), ("photomaker_v2",), ("faceid",), ("faceid_plus",)),
    }


def test_what_no_time_is_left_for_is_named(settings: Settings) -> None:
    test = SelfTest(settings, lambda chosen: open_engines(chosen).identity_adapter, [], ["a threshold"], CPU, 0.0)
    results = test(fakes.RecordingProgress())
    assert {each.outcome for each in results[:-1]} == {"skipped"}
    assert "Base own" in [each.name for each in results]
    assert (results[-1].outcome, results[-1].found) == ("note", "a threshold")
