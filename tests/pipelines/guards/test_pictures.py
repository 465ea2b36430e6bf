"""The guard of pictures where its engine judges, is off, missing or fails: open or closed as the settings say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines import Engines
from pipelines.guards.pictures import BLOCKED, PictureGuard, Watch, in_words, lacking, open_guard, watch_of
from pipelines.model_store.store import ModelStore
from pipelines.settings import GuardSettings, ModelStoreSettings, Profile, Settings
from portrait.arrays import Image
from portrait.errors import EngineError, OperatorError, UserError
from portrait.ports import Guard
from tests import guard_network
from tests.guard_network import Says

GREY: Image = np.full((64, 64, 3), 128, np.uint8)


def settings(
    profile: Profile = "research", pictures: str = "open_nsfw", missing: str = "profile", home: Path = Path("nowhere")
) -> Settings:
    guards = GuardSettings(pictures, 0.8, missing)  # pyrefly: ignore[bad-argument-type] -- as a file says it
    return Settings(profile=profile, guards=guards, models=ModelStoreSettings(home / "models"))


def loads(guard: Guard) -> Callable[[str], Guard]:
    return lambda name: guard


def absent(name: str) -> Guard:
    raise OperatorError("missing_model", f"The model {name} is not here. Run `portrait models pull {name}`.")


def broken(name: str) -> Guard:
    raise EngineError("broken_model", "The model file cannot be used.")


WITHOUT = {
    "off": lambda given: open_guard(replace(given, guards=replace(given.guards, pictures="")), absent),
    "missing": lambda given: open_guard(given, absent),
    "broken": lambda given: open_guard(given, broken),
    "failing": lambda given: open_guard(given, loads(Says(error=EngineError("broken_model", "It gives NaN.")))),
    "crashing": lambda given: open_guard(given, loads(Says(error=RuntimeError("CUDA")))),
    "full": lambda given: open_guard(given, loads(Says(error=MemoryError()))),
}
"""Guards that cannot judge, by what is wrong with them."""


@pytest.mark.parametrize("profile", ["research", "commercial"])
@pytest.mark.parametrize("missing", ["profile", "open", "closed"])
@pytest.mark.parametrize("wrong", WITHOUT)
def test_a_guard_that_cannot_judge_is_open_or_closed(wrong: str, missing: str, profile: Profile) -> None:
    guard = WITHOUT[wrong](settings(profile, missing=missing))
    if missing == "open" or (missing == "profile" and profile == "research"):
        guard.require()
        guard.check(GREY)
        assert guard.allows(GREY)
        return
    with pytest.raises(OperatorError, match=r"guards\.missing") as caught:
        guard.check(GREY)
    assert caught.value.code == "guard_missing"
    assert caught.value.message.count("  ") == 0


@pytest.mark.parametrize("profile", ["research", "commercial"])
def test_a_verdict_counts_in_every_profile_and_is_told_without_detail(profile: Profile) -> None:
    guard = open_guard(settings(profile), loads(Says(allowed=False)))
    assert not guard.allows(GREY)
    with pytest.raises(UserError) as caught:
        guard.check(GREY)
    assert (caught.value.code, caught.value.message, caught.value.details) == ("blocked", BLOCKED, {})
    open_guard(settings(profile), loads(Says())).check(GREY)


def test_long_work_does_not_begin_where_nothing_could_pass() -> None:
    closed = settings("commercial")
    with pytest.raises(OperatorError, match="portrait models pull open_nsfw"):
        open_guard(closed, absent).require()
    open_guard(closed, loads(Says())).require()
    open_guard(settings(), absent).require()


def test_a_guard_that_nobody_wrote_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    given = settings(pictures="nobody", home=tmp_path)
    with Engines(given, ModelStore(given.models)) as engines, pytest.raises(OperatorError, match="no engine 'nobody'"):
        engines.picture_guard()


@pytest.mark.parametrize("threshold", [0.0, 1.01, -1.0])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        GuardSettings(threshold=threshold)


def test_doctor_is_told_what_a_plain_picture_shows() -> None:
    assert PictureGuard(Says(), closed=True).fault() == ""
    assert PictureGuard(None, closed=False, lacks="It is not here.").fault() == "It is not here."
    assert PictureGuard(Says(error=ValueError("odd")), closed=False).fault() == "It failed (ValueError: odd)."


def test_what_is_lacking_is_said_without_loading_anything(tmp_path: Path) -> None:
    given = settings(home=tmp_path)
    assert "portrait models pull open_nsfw" in lacking(given)[0]
    assert in_words(given).endswith("Until then pictures pass unjudged.")
    assert in_words(replace(given, profile="commercial")).endswith("Until then no picture is taken or delivered.")
    assert "guards.pictures" in in_words(settings(pictures=""))
    guard_network.write(tmp_path, 0.1)
    assert (lacking(given), in_words(given)) == ([], "")


def test_another_process_opens_the_same_guard_from_plain_values(tmp_path: Path) -> None:
    given = settings("commercial", home=tmp_path)
    assert watch_of(settings(home=tmp_path)) is None
    with pytest.raises(OperatorError, match="guard"):
        watch_of(given)
    guard_network.write(tmp_path, 0.9)
    watch = watch_of(given)
    assert watch is not None
    assert watch == Watch("open_nsfw", 0.8, True, str(tmp_path / "models"))
    with Engines(watch.settings, ModelStore(watch.settings.models)) as engines:
        guard = engines.picture_guard()
        assert guard.closed
        assert not guard.allows(GREY)
    lenient = replace(watch, threshold=0.95).settings
    with Engines(lenient, ModelStore(lenient.models)) as engines:
        assert engines.picture_guard().allows(GREY)
