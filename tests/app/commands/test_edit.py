"""`portrait edit`, and `remake` of what it made, on tiny networks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from app.commands.edit import edit
from app.commands.make import make
from app.commands.remake import remake
from pipelines.deliver import read_recipe
from pipelines.image_io import read
from pipelines.marks import credentials
from pipelines.marks.marks import Marks, open_marks
from pipelines.settings import BaseLocation, MarkSettings, Settings
from portrait.arrays import Image
from tests import fakes, hub_store, tiny
from tests.app.commands.test_make_diffusion import installed, person, place, settings  # noqa: F401 -- fixtures

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture(scope="module")
def portrait(person: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """Where one will lie; drawn by `drawn`."""
    return tmp_path_factory.mktemp("made") / "text-film-1.png"


@pytest.fixture
def drawn(portrait: Path, person: Path, capsys: pytest.CaptureFixture[str]) -> Path:  # noqa: F811
    if not portrait.exists():
        more: dict[str, Any] = {"count": 1, "seed": 3, "size": "100x132", "base": "xl", "preset": "fast"}
        learned = person.parent / "ann"
        make([person], portrait.parent, style=["text-film"], identity=learned, format="png", as_json=True, **more)
        capsys.readouterr()
    return portrait


def edited(file: Path, out: Path, capsys: pytest.CaptureFixture[str], **wishes: Any) -> list[Path]:
    edit(file, out=out, as_json=True, **wishes)
    return [Path(each["file"]) for each in json.loads(capsys.readouterr().out)["portraits"]]


def refused(file: Path, out: Path, capsys: pytest.CaptureFixture[str], **wishes: Any) -> str:
    with pytest.raises(SystemExit):
        edit(file, out=out, as_json=True, **wishes)
    assert not list(out.glob("*.png"))
    return json.loads(capsys.readouterr().out)["error"]["code"]


def pixels(file: Path) -> Image:
    return read(file).image


def test_variations_differ_from_the_portrait_and_from_each_other(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = edited(drawn, tmp_path, capsys, count=2)
    assert [file.name for file in made] == ["text-film-1-variations-1.png", "text-film-1-variations-2.png"]
    images = [pixels(drawn), *(pixels(file) for file in made)]
    assert {image.shape for image in images} == {(132, 100, 3)}
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[1], images[2])
    recipe = read_recipe(made[0])
    assert recipe["seed"] == 4
    assert set(recipe["edit"]) == {"kind", "picture", "strength"}
    assert b"trainedAlgorithmicMedia" in made[0].read_bytes()
    more = edited(drawn, tmp_path, capsys)
    assert [file.name for file in more] == ["text-film-1-variations-3.png"], "what was made before stays"
    near = edited(drawn, tmp_path / "near", capsys, strength=0.2)
    distances = [np.abs(pixels(file).astype(int) - images[0]).mean() for file in (near[0], made[0])]
    assert distances[0] != distances[1]


def test_an_edit_is_made_again_from_its_recipe(
    drawn: Path,
    tmp_path: Path,
    settings: Settings,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    mask = np.zeros((66, 50, 4), np.uint8)  # half the size, painted on transparency
    mask[20:30, 10:30] = 255
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    ways: list[dict[str, Any]] = [
        {"words": "with a red scarf"},
        {"mask": tmp_path / "mask.png", "words": "a tie"},
        {"shape": "1:1"},
    ]
    for number, wishes in enumerate(ways):
        out = tmp_path / str(number)
        (made,) = edited(drawn, out, capsys, **wishes)
        recipe = read_recipe(made, open_marks(settings.marks))
        assert str(tmp_path) not in json.dumps(recipe)
        assert ("a red scarf" in recipe["drawn"]["prompt"]) == (number == 0)
        for private in (b"red scarf", b"a tie", b"text-film-1", b"mask.png", str(tmp_path).encode(), b"set.json"):
            assert private not in made.read_bytes()
        signed = credentials.read(made.read_bytes(), "image/png", open_marks(settings.marks).keys.anchors)
        assert signed is not None
        assert (signed.trusted, signed.faults) == (True, ())
        assert signed.actions == ("c2pa.edited", "c2pa.opened", "c2pa.created")
        remake(made, out=out / "again.png", as_json=True)
        capsys.readouterr()
        assert np.array_equal(pixels(made), pixels(out / "again.png"))
    repainted, wide = (pixels(next((tmp_path / each).glob("text-*.png"))) for each in "12")
    before = pixels(drawn)
    changed = (repainted != before).any(axis=2)
    assert changed.any()
    assert not changed[:40].any()
    assert not changed[:, 62:].any()
    assert wide.shape == (132, 132, 3)
    assert np.array_equal(wide[:, 19:113], before[:, 3:97])


def test_an_edit_of_an_edit_begins_from_that(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (wide,) = edited(drawn, tmp_path, capsys, shape="1:1")
    (again,) = edited(wide, tmp_path, capsys, strength=0.4)
    assert pixels(again).shape == (132, 132, 3)
    assert read_recipe(again)["edit"]["kind"] == "variations"


def test_words_are_an_instruction_where_the_base_can(
    person: Path,  # noqa: F811
    settings: Settings,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bases = {**settings.bases, "klein": BaseLocation(tiny.flux2(tmp_path / "klein", distilled=True))}
    hub_store.install(replace(settings, bases=bases), monkeypatch)
    make([person], tmp_path, style=["text-film"], count=1, size="64x80", base="klein", format="png", as_json=True)
    first = Path(json.loads(capsys.readouterr().out)["portraits"][0]["file"])
    assert read_recipe(first)["drawn"]["reference"] == {"photos": 1}, "by reference pictures, where nothing is said"
    coat = fakes.save(tmp_path / "coat.png", fakes.picture(2, 3, 80))
    told = {"words": "Give them this coat."}
    (alone,) = edited(first, tmp_path / "alone", capsys, **told)
    (made,) = edited(first, tmp_path / "with", capsys, **told, with_=[coat])
    assert made.name == "text-film-1-instruct-1.png"
    assert pixels(made).shape == pixels(first).shape
    assert not np.array_equal(pixels(made), pixels(alone))
    recipe = read_recipe(made, open_marks(settings.marks))
    assert (recipe["edit"]["words"], recipe["drawn"]["prompt"]) == (told["words"], told["words"])
    assert b"this coat" not in made.read_bytes()
    elsewhere = replace(settings, bases=bases, marks=MarkSettings(tmp_path / "elsewhere"))
    hub_store.install(elsewhere, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        remake(made, out=tmp_path / "never.png", as_json=True)
    assert (ended.value.code, json.loads(capsys.readouterr().out)["error"]["code"]) == (3, "recipe_sealed")
    hub_store.install(replace(settings, bases=bases), monkeypatch)
    assert len(recipe["edit"]["with"]) == 1
    assert str(tmp_path) not in json.dumps(recipe)
    remake(made, out=tmp_path / "again.png", as_json=True)
    assert np.array_equal(pixels(made), pixels(tmp_path / "again.png"))
    coat.rename(tmp_path / "moved.png")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        remake(made, as_json=True)
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "hint_missing"
    remake(made, out=tmp_path / "moved-again.png", source=[tmp_path / "moved.png"], as_json=True)
    assert np.array_equal(pixels(made), pixels(tmp_path / "moved-again.png"))
    capsys.readouterr()
    (near,) = edited(first, tmp_path / "near", capsys, **told, strength=0.6)
    assert read_recipe(near)["edit"]["kind"] == "change", "with a strength it is none"


def test_pictures_go_with_no_edit_on_other_bases(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coat = fakes.save(tmp_path / "coat.jpg", fakes.picture(2, 3, 80))
    assert refused(drawn, tmp_path / "none", capsys, words="Give them this coat.", with_=[coat]) == "bad_edit"


def test_a_picture_that_is_gone_or_changed_is_told(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(drawn.read_bytes())
    (tmp_path / "portraits.json").write_bytes((drawn.parent / "portraits.json").read_bytes())
    (made,) = edited(copy, tmp_path, capsys)
    copy.unlink()
    with pytest.raises(SystemExit):
        remake(made, as_json=True)
    answer = json.loads(capsys.readouterr().out)["error"]
    assert answer["code"] == "source_missing"
    assert "--from" in answer["message"]
    remake(made, out=tmp_path / "again.png", source=[drawn], as_json=True)
    assert np.array_equal(pixels(made), pixels(tmp_path / "again.png"))
    copy.write_bytes(made.read_bytes())  # another picture in its place
    with pytest.raises(SystemExit):
        remake(made, as_json=True)


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"shape": "21:9"}, "bad_edit"),
        ({"shape": "wide"}, "bad_edit"),
        ({"shape": "25:33"}, "bad_edit"),
        ({"strength": 2.0}, "bad_edit"),
        ({"count": 99}, "bad_count"),
        ({"format": "gif"}, "bad_format"),
        ({"mask": "empty"}, "bad_mask"),
        ({"mask": "square"}, "bad_mask"),
        ({"mask": "absent"}, "unreadable"),
        ({"mask": "empty", "shape": "1:1"}, "bad_edit"),
    ],
    ids=str,
)
def test_edits_that_cannot_be_drawn_are_told_before_anything_is(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wishes: dict[str, Any], code: str
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    PIL.Image.new("L", (100, 132)).save(masks / "empty.png")
    PIL.Image.new("L", (64, 64), 255).save(masks / "square.png")
    if "mask" in wishes:
        wishes = {**wishes, "mask": masks / f"{wishes['mask']}.png"}
    assert refused(drawn, tmp_path, capsys, **wishes) == code


def test_a_picture_without_a_recipe_and_one_of_another_kind_are_told(
    drawn: Path, tmp_path: Path, marks: Marks, capsys: pytest.CaptureFixture[str]
) -> None:
    PIL.Image.new("RGB", (80, 80)).save(tmp_path / "plain.jpg")
    assert refused(tmp_path / "plain.jpg", tmp_path, capsys) == "no_recipe"
    from pipelines.deliver import encode
    from portrait.types import Portrait

    recipe = {"style": {"kind": "studio"}, "seed": 0, "count": 1}
    studio = Portrait(np.zeros((80, 80, 3), np.uint8), None, {}, {}, {}, recipe)
    (tmp_path / "studio.jpg").write_bytes(encode(studio, "jpg", marks))
    assert refused(tmp_path / "studio.jpg", tmp_path, capsys) == "bad_edit"
