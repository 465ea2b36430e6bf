"""Portraits from the command line, on real engines."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import skimage.data

from app.commands.make import parse_faces, parse_size, print_portraits
from app.terminal.portraits import DeliveredPortrait
from pipelines.engines import Engines
from pipelines.template_faces import MAX_PIXELS
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.types import Face, Portrait, Style
from tests import selfies
from tests.app.cli_runner import document, process, run
from tests.fakes import save
from tests.pipelines.test_image_io import bomb, broken, encoded


def person_of(group: Image, face: Face) -> Image:
    """One person of the group photo, cropped as a selfie would be."""
    (x, y), reach = face.box.centre, face.box.width * 1.5
    return np.ascontiguousarray(
        group[max(0, int(y - reach * 0.9)) : int(y + reach * 1.1), max(0, int(x - reach)) : int(x + reach)]
    )


@pytest.fixture(scope="module")
def me(tmp_path_factory: pytest.TempPathFactory, engines: Engines) -> Path:
    """A training set of the astronaut."""
    folder = tmp_path_factory.mktemp("me")
    for number, roll in enumerate((0, 7, -6)):
        save(folder / f"{number}.png", selfies.rolled(selfies.astronaut(), roll))
    answer = run("prepare", folder, "-o", folder / "set", "--json")
    assert answer.returncode == 0, answer.stdout
    return folder / "set"


@pytest.fixture(scope="module")
def friend(tmp_path_factory: pytest.TempPathFactory, group_faces: list[Face]) -> Path:
    """A photo of one of the group."""
    return save(tmp_path_factory.mktemp("friend") / "friend.png", person_of(selfies.group(), group_faces[2]))


def portraits(answer: dict[str, Any]) -> list[dict[str, Any]]:
    assert "error" not in answer, answer
    return answer["portraits"]


def size(drawn: dict[str, Any]) -> tuple[int, int]:
    with PIL.Image.open(drawn["file"]) as picture:
        return picture.size


def pixels(path: str | Path) -> Image:
    with PIL.Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_photos_and_styles_become_marked_portraits(me: Path, tmp_path: Path) -> None:
    answer = document(process("make", me, "--style", "studio-grey", "--style", "studio-warm", "-o", tmp_path, "--json"))
    drawn = portraits(answer)
    assert [each["style"] for each in drawn] == ["studio-grey", "studio-warm"]
    for each in drawn:
        assert pixels(each["file"]).shape == (1280, 1024, 3)
        assert each["likeness"]["distance"] <= 0.35
        assert each["scores"]["faces"] == 1
        assert each["recipe"]["style"]["id"] == each["style"]
    assert (tmp_path / "index.html").is_file()
    assert b"Iptc4xmpExt:DigitalSourceType" in Path(drawn[0]["file"]).read_bytes()


def test_same_photos_same_seed_same_pixels_and_remake(me: Path, tmp_path: Path) -> None:
    style = ["--style", "studio-cool", "--style", "astronaut", "--seed", "5", "--format", "png", "--size", "256x320"]
    one = portraits(document(run("make", me, *style, "-o", tmp_path / "one", "--json")))
    two = portraits(document(run("make", me, *style, "-o", tmp_path / "two", "--json")))
    for first, second in zip(one, two, strict=True):
        assert (pixels(first["file"]) == pixels(second["file"])).all()
        again = portraits(document(run("remake", first["file"], "--json")))[0]
        assert again["file"] != first["file"]
        assert (pixels(again["file"]) == pixels(first["file"])).all()
        assert again["recipe"] == first["recipe"]


def test_photos_and_their_set_give_the_same(friend: Path, tmp_path: Path) -> None:
    from_photos = portraits(
        document(run("make", friend, "--style", "astronaut", "--format", "png", "-o", tmp_path / "a", "--json"))
    )
    from_set = portraits(
        document(
            run("make", tmp_path / "a/set", "--style", "astronaut", "--format", "png", "-o", tmp_path / "b", "--json")
        )
    )
    assert (pixels(from_photos[0]["file"]) == pixels(from_set[0]["file"])).all()


def test_count_size_and_format(me: Path, tmp_path: Path) -> None:
    options = ["--count", "3", "--size", "640x800", "--format", "webp"]
    drawn = portraits(document(run("make", me, "--style", "studio-black", *options, "-o", tmp_path, "--json")))
    assert len(drawn) == 3
    images = [pixels(each["file"]) for each in drawn]
    assert all(image.shape == (800, 640, 3) for image in images)
    assert len({image.tobytes() for image in images}) == 3
    totals = [each["scores"]["total"] for each in drawn]
    assert totals == sorted(totals, reverse=True)


def test_any_picture_is_a_template_and_faces_are_numbered(
    me: Path, friend: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_MARKS__INVISIBLE", "false")  # which lies over all of a picture
    astronaut = selfies.astronaut()[:300, 60:400]
    picture = save(tmp_path / "pair.png", np.hstack([astronaut, astronaut]))
    answer = document(
        run(
            "make", friend, "--style", picture, "--face", f"2={me}", "--format", "png", "-o", tmp_path / "out", "--json"
        )
    )
    (drawn,) = portraits(answer)
    assert set(drawn["faces"]) == {"1", "2"}
    assert drawn["faces"]["1"]["distance"] < 0.6
    assert drawn["faces"]["2"]["distance"] < 0.4
    alone = portraits(
        document(run("make", friend, "--style", picture, "--format", "png", "-o", tmp_path / "alone", "--json"))
    )
    assert (pixels(alone[0]["file"])[:, 340:] == pixels(picture)[:, 340:]).all()


def enlarged(image: Image, width: int, height: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory, group_faces: list[Face]) -> dict[str, Path]:
    """Pictures that nobody can be drawn into, by what is wrong with them."""
    folder = tmp_path_factory.mktemp("templates")
    astronaut = selfies.astronaut()
    profile = next(face for face in group_faces if abs(face.pose.yaw) > 40)
    small = cv2.resize(astronaut, (64, 64), interpolation=cv2.INTER_AREA)
    pictures: dict[str, Image] = {
        "no face": skimage.data.coffee(),
        "profile": person_of(selfies.group(), profile),
        "64 px": np.asarray(small, np.uint8),
        "cut": np.ascontiguousarray(astronaut[:, 205:]),
    }
    return {name: save(folder / f"{name}.png", image) for name, image in pictures.items()}


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("no face", {"template_no_face"}),
        ("profile", {"template_profile"}),
        ("64 px", {"template_no_face", "template_face_small"}),
        ("cut", {"template_face_cut"}),
    ],
)
def test_templates_that_cannot_be_drawn_into_are_one_clear_error(
    me: Path, templates: dict[str, Path], tmp_path: Path, name: str, codes: set[str]
) -> None:
    answer = run("make", me, "--style", templates[name], "-o", tmp_path / "out", "--json")
    assert answer.returncode == 3, answer.stdout + answer.stderr
    assert document(answer)["error"]["code"] in codes


@pytest.mark.parametrize(
    ("width", "height"), [(5000, 3750), pytest.param(12_000, 9_000, marks=pytest.mark.bench)], ids=["19 MP", "108 MP"]
)
def test_a_large_template_is_drawn(me: Path, tmp_path: Path, width: int, height: int) -> None:
    picture = tmp_path / "large.jpg"
    picture.write_bytes(encoded(enlarged(selfies.astronaut(), width, height), "JPEG"))
    (drawn,) = portraits(document(run("make", me, "--style", picture, "-o", tmp_path / "out", "--json")))
    wide, tall = size(drawn)
    assert wide * tall >= min(width * height, 0.99 * MAX_PIXELS), "whole, or as large as is drawn into"
    assert wide / tall == pytest.approx(width / height, rel=0.001)
    if width * height <= MAX_PIXELS:
        assert (wide, tall) == (width, height)
    assert drawn["likeness"]["distance"] < 0.45


@pytest.mark.parametrize("dimensions", ["64x64", pytest.param("6000x8000", marks=pytest.mark.bench)])
@pytest.mark.parametrize("style", ["studio-grey", "astronaut"])
def test_the_smallest_and_the_largest_size(me: Path, tmp_path: Path, dimensions: str, style: str) -> None:
    answer = run("make", me, "--style", style, "--size", dimensions, "-o", tmp_path, "--json")
    told = document(answer)
    (drawn,) = portraits(told)
    assert size(drawn) == tuple(int(side) for side in dimensions.split("x"))


def test_one_style_that_fails_does_not_stop_the_others(me: Path, tmp_path: Path) -> None:
    coffee = save(tmp_path / "coffee.png", skimage.data.coffee())
    answer = document(run("make", me, "--style", coffee, "--style", "astronaut", "-o", tmp_path / "out", "--json"))
    assert len(portraits(answer)) == 1
    assert [each["code"] for each in answer["refused"]] == ["template_no_face"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--style", "studio-purple"], "unknown_style"),
        (["--style", "gone.jpg"], "not_found"),
        (["--size", "9x9"], "bad_size"),
        (["--size", "wide"], "bad_size"),
        (["--count", "0"], "bad_count"),
        (["--format", "gif"], "bad_format"),
        (["--face", "two"], "bad_face"),
        (["--style", "astronaut", "--face", "2=SET"], "template_face_missing"),
    ],
)
def test_wrong_options_are_one_sentence(me: Path, tmp_path: Path, options: list[str], code: str) -> None:
    words = [each.replace("SET", str(me)) for each in options]
    answer = run("make", me, *words, "-o", tmp_path, "--json")
    assert answer.returncode == 3
    assert document(answer)["error"]["code"] == code


@pytest.mark.parametrize("kind", ["text", "empty", "half a jpeg", "svg", "bomb", "coffee"])
def test_bad_photos_are_the_users_to_mend(engines: Engines, tmp_path: Path, kind: str) -> None:
    contents = broken(selfies.astronaut()) | {"bomb": bomb(), "coffee": encoded(skimage.data.coffee(), "JPEG")}
    (tmp_path / "photo.jpg").write_bytes(contents[kind])
    answer = run("make", tmp_path / "photo.jpg", "-o", tmp_path / "out", "--json")
    assert answer.returncode == 3
    told = document(answer)
    assert told["error"]["code"] == "no_usable_photos"
    assert told["photos"][0]["verdict"] == "refuse"


def test_remake_says_what_is_gone(me: Path, tmp_path: Path) -> None:
    (drawn,) = portraits(document(run("make", me, "--style", "astronaut", "-o", tmp_path / "out", "--json")))
    moved = tmp_path / "elsewhere.jpg"
    moved.write_bytes(Path(drawn["file"]).read_bytes())
    answer = run("remake", moved, "--json")
    assert (answer.returncode, document(answer)["error"]["code"]) == (3, "source_missing")
    assert run("remake", moved, "--set", me, "--json").returncode == 0
    answer = run("remake", me / "references/01.jpg", "--json")
    assert document(answer)["error"]["code"] == "no_recipe"


def test_options_are_read_strictly() -> None:
    assert parse_faces(["2=anna/", "1=a=b"]) == ({2: Path("anna/"), 1: Path("a=b")}, {})
    assert parse_faces(["640,320.5=anna/", "3"]) == ({1001: Path("anna/"), 3: None}, {1001: (640.0, 320.5)})
    assert parse_size(" 640X800 ") == Size(640, 800)
    for wrong in (["0=a"], ["x=a"], ["2="], ["2=a", "2=b"], ["9" * 5000 + "=a"]):
        with pytest.raises(UserError):
            parse_faces(wrong)
    assert parse_size(None) is None


def test_the_end_of_a_prompt_that_was_not_read_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def delivered(**facts: int) -> DeliveredPortrait:
        made = Portrait(np.zeros((8, 8, 3), np.uint8), None, {}, {}, {"total": 1.0}, {"drawn": facts})
        return DeliveredPortrait(Path("text-film-1.jpg"), Style("text-film", 1, "text", "Film"), made)

    print_portraits([delivered(), delivered(unread_tokens=612)], [], Path("index.html"))
    assert "the last 612 tokens were left out" in " ".join(capsys.readouterr().out.split())
    print_portraits([delivered()], [], Path("index.html"))
    assert "tokens" not in capsys.readouterr().out
