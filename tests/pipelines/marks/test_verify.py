"""What is said of a file: ours, altered, other people's; and never `yes` on the word of anything that can be copied."""

import io
import itertools
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from reportlab.pdfgen.canvas import Canvas

from pipelines.marks import invisible, trust, verify
from pipelines.marks.manifest import Manifest
from pipelines.marks.marks import Marks, open_marks
from pipelines.marks.trust import Trust
from pipelines.marks.verify import Findings, Mark, Provenance, judge
from pipelines.settings import MarkSettings
from portrait.arrays import Image
from portrait.errors import UserError
from tests import marked_files
from tests.marked_files import Case

ID = "portrait_1"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Marks:
    """Another installation."""
    return open_marks(MarkSettings(tmp_path_factory.mktemp("elsewhere") / "marks"))


@pytest.fixture(scope="module")
def image() -> Image:
    return cv2.resize(skimage.data.astronaut()[:, 60:470], (614, 768), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def photo() -> Image:
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def cases(image: Image, photo: Image, marks: Marks, other: Marks) -> list[Case]:
    tool = marked_files.Tool()
    found: Iterator[Case] = itertools.chain(
        marked_files.ours(image, marks, ID),
        marked_files.altered(image, marks, ID),
        marked_files.strange(photo, image, (marks, other), ID, tool),
    )
    return list(found)


@pytest.fixture(scope="module")
def told(cases: list[Case], marks: Marks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Provenance]:
    """What is said of each file."""
    ours, folder = trust.of_installation(marks.settings), tmp_path_factory.mktemp("files")
    return {each.name: look(each.content, folder, ours) for each in cases}


def look(content: bytes, folder: Path, ours: Trust) -> Provenance:
    place = folder / "file"
    place.write_bytes(content)
    return verify.verify(place, ours)


def answers(found: Provenance) -> tuple[str, ...]:
    return found.made_here, found.reason, found.altered, found.credentials, found.mark


def test_each_file_is_told_for_what_it_is(cases: list[Case], told: dict[str, Provenance]) -> None:
    assert {name: answers(each) for name, each in told.items()} == {each.name: each.expected for each in cases}
    assert {name: each.source for name, each in told.items()} == {each.name: each.source for each in cases}
    assert len(told) == 24


def test_what_is_ours_names_its_portrait_and_other_files_none(told: dict[str, Provenance]) -> None:
    wanted = f"{invisible.short_id(ID):08x}"
    for name, each in told.items():
        assert each.short_id == (wanted if each.made_here == "yes" else ""), name


def test_who_signed_is_told_by_name(told: dict[str, Provenance], other: Marks) -> None:
    assert told["another program's"].signer == "Somebody Else"
    assert told["another program's"].generator == "Elsewhere 7"
    assert told["another program's, changed"].signer == "Somebody Else"
    assert told["another installation's"].signer == f"Portrait installation {other.keys.tag:04x}"
    assert told["another installation's"].generator.startswith("Portrait ")


def test_an_installation_without_keys_takes_nothing_for_its_own(cases: list[Case], tmp_path: Path) -> None:
    settings = MarkSettings(tmp_path / "none")
    nobody = trust.of_installation(settings)
    assert nobody == Trust()
    assert not settings.folder.exists(), "a question makes no keys"
    names = ("ours as jpg", "saved as JPEG 60", "one byte changed", "our edit")
    asked = [look(each.content, tmp_path, nobody) for each in cases if each.name in names]
    assert [each.made_here for each in asked] == ["no"] * len(names)


@pytest.mark.parametrize(
    "found", list(itertools.product(("none", "other", "unreadable"), (True, False), ("none", "other", "small")))
)
@pytest.mark.parametrize("claims_us", [True, False])
def test_neither_xmp_nor_somebody_elses_signature_makes_it_ours(found: tuple[Any, bool, Any], claims_us: bool) -> None:
    signature, fits, mark = found
    told = judge(Findings(signature, fits, not fits, mark, claims_us, generator="Portrait 0.1.0", short_id="00000001"))
    assert told.made_here != "yes"
    assert told.short_id == ""


@pytest.mark.parametrize("mark", ["none", "other", "small"])
def test_our_signature_that_does_not_fit_proves_nothing(mark: Mark) -> None:
    told = judge(Findings("ours", False, True, mark, True))
    assert (told.made_here, told.reason, told.altered, told.credentials) == ("unknown", "unfitting", "yes", "broken")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "unreadable"),
        (b"GIF89a", "unreadable"),
        (b"\xff\xd8\xff\xe1", "unreadable"),
        (bytes(9000), "unreadable"),
    ],
    ids=["empty", "GIF", "a beginning", "zeros"],
)
def test_what_is_no_picture_is_refused(content: bytes, code: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        look(content, tmp_path, Trust())
    assert refused.value.code == code


def test_print_sheets_are_told_by_their_signature(marks: Marks, tmp_path: Path) -> None:
    ours, sheet, origin = trust.of_installation(marks.settings), io.BytesIO(), Manifest("compositeSynthetic")
    canvas = Canvas(sheet)
    canvas.drawString(100, 100, "prints")
    canvas.save()
    signed = marks.sign(sheet.getvalue(), "application/pdf", origin)
    told = look(signed, tmp_path, ours)
    assert (*answers(told), told.source) == ("yes", "signed", "no", "whole", "none", "compositeSynthetic")
    told = look(signed[:200] + bytes([signed[200] ^ 1]) + signed[201:], tmp_path, ours)
    assert answers(told) == ("unknown", "unfitting", "yes", "broken", "none")
    assert answers(look(sheet.getvalue(), tmp_path, ours)) == ("no", "nothing", "unknown", "none", "none")
    with pytest.raises(UserError) as refused:
        look(signed[:-1000], tmp_path, ours)
    assert refused.value.code == "unreadable"


def test_large_files_and_pictures_are_refused_and_folders_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as refused:
        verify.verify(tmp_path, Trust())
    assert refused.value.code == "unreadable"
    place = tmp_path / "photo.jpg"
    place.write_bytes(marked_files.encoded(np.zeros((64, 64, 3), np.uint8)))
    assert verify.verify(place, Trust()).mark == "small"
    with pytest.raises(UserError) as refused:
        verify.verify(place, Trust(), max_bytes=100)
    assert refused.value.code == "too_large"
    monkeypatch.setattr(verify, "MAX_BYTES", 10)
    with pytest.raises(UserError) as refused:
        verify.verify(place, Trust())
    assert refused.value.code == "too_large"


def test_names_that_others_wrote_are_one_short_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Image
) -> None:
    signed = marked_files.Tool().sign(marked_files.encoded(photo))
    said = verify.credentials.read(signed, "image/jpeg")
    assert said is not None
    monkeypatch.setattr(
        verify.credentials,
        "read",
        lambda *_: type(said)(**{**asdict(said), "signer": "a\nb\x1b[31m" + "x" * 900, "generator": "\u202eevil"}),
    )
    told = look(signed, tmp_path, Trust())
    assert told.signer.startswith("a b [31mxxx")
    assert len(told.signer) == verify.MAX_NAME
    assert told.generator == "evil"
