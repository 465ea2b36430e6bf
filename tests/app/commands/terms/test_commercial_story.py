"""An installation for commercial use on the embedded engines: photos are prepared, and drawn in styles of every kind that needs
no further model; whatever asks for one that may not be sold is refused and named another."""

import json
from pathlib import Path
from typing import cast

import pytest

from pipelines import build
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import DrawSettings
from portrait.errors import OperatorError
from tasks.settings import load
from tests import selfies
from tests.app.cli_runner import document, run
from tests.fakes import save

STYLES = {
    "studio-warm": "compositeSynthetic",
    "astronaut": "compositeWithTrainedAlgorithmicMedia",
    "idphoto-us": "compositeSynthetic",
}
"""One of each kind, with what its file says of how it came about."""


@pytest.fixture(autouse=True)
def commercial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_PROFILE", "commercial")


@pytest.fixture(scope="module")
def me(tmp_path_factory: pytest.TempPathFactory, engines: Engines) -> Path:
    """A training set of the astronaut, made for commercial use."""
    folder = tmp_path_factory.mktemp("me")
    save(folder / "me.png", selfies.astronaut())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAIT_PROFILE", "commercial")
        prepared = document(run("prepare", folder, "-o", folder / "set", "--json"))
    assert [each["verdict"] for each in prepared["photos"]] == ["use"]
    return folder / "set"


@pytest.mark.parametrize("styles", [("studio-warm", "astronaut"), ("idphoto-us",)], ids=" ".join)
def test_portraits_of_all_kinds_are_drawn_marked_and_may_be_sold(
    me: Path, tmp_path: Path, styles: tuple[str, ...]
) -> None:
    size = () if styles == ("idphoto-us",) else ("--size", "256x320")
    words = [word for style in styles for word in ("--style", style)]
    drawn = document(run("make", me, *words, *size, "-o", tmp_path, "--json"))["portraits"]
    assert [each["style"] for each in drawn] == list(styles)
    for style, each in zip(styles, drawn, strict=True):
        assert f"digitalsourcetype/{STYLES[style]}".encode() in Path(each["file"]).read_bytes()
        bill = json.loads(run("licences", each["file"], "--json").stdout)
        told = [part for made in bill["components"] for part in made["properties"]]
        assert style in {made["name"] for made in bill["components"]}
        assert {part["value"] for part in told if part["name"] == "portrait:commercial"} == {"yes"}
        assert not [part for part in told if part["name"] == "portrait:use-limits"]


def test_what_may_not_be_sold_is_refused_by_name(me: Path, tmp_path: Path) -> None:
    words = ("--style", "studio-warm", "--refine", "swap")
    refused = json.loads(run("make", me, *words, "-o", tmp_path / "out", "--json").stdout)["error"]
    assert refused["code"] == "licence_refused"
    assert "take fusion instead" in refused["message"]
    pulled = json.loads(run("models", "pull", "buffalo_l", "--json").stdout)["error"]
    assert pulled["code"] == "licence_refused"
    assert "take auraface instead" in pulled["message"]


def test_the_checker_of_drawings_that_may_not_be_sold_is_done_without_unless_it_is_required() -> None:
    class Refusing:
        def guard(self, name: str) -> object:
            store = ModelStore(load().models)
            return store.folder({"nsfw": "safety_checker"}[name])

    engines = cast(Engines, Refusing())
    assert build.guard(engines, ["text"], DrawSettings()) is None
    with pytest.raises(OperatorError, match="take open_nsfw instead"):
        build.guard(engines, ["text"], DrawSettings(guard="always"))
