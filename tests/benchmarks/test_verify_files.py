"""What `verify` says of 72 files: ours, what becomes of them outside, other people's. Never a false `yes`; docs/marks.md."""

import itertools
from pathlib import Path

import pytest

from pipelines.marks import trust, verify
from pipelines.marks.marks import Marks, open_marks
from pipelines.settings import MarkSettings
from tests import marked_files, selfies
from tests.benchmarks import studio_portraits
from tests.benchmarks.plugin import Record

pytestmark = pytest.mark.bench
SHOWN = ("00.png", "04.png", "05.png")
"""Portraits of 1024 × 1280, 2048 × 2560 and 512 × 640 pixels."""


def test_every_file_is_told_for_what_it_is(marks: Marks, tmp_path: Path, figure: Record) -> None:
    other, tool = open_marks(MarkSettings(tmp_path / "other")), marked_files.Tool()
    images = [image for name, image in studio_portraits.portraits() if name in SHOWN]
    ours, told, expected, place = trust.of_installation(marks.settings), {}, {}, tmp_path / "file"
    for number, (image, photo) in enumerate(zip(images, selfies.people().values(), strict=False)):
        for each in itertools.chain(
            marked_files.ours(image, marks, f"portrait_{number}"),
            marked_files.altered(image, marks, f"portrait_{number}"),
            marked_files.strange(photo, image, (marks, other), f"portrait_{number}", tool),
        ):
            place.write_bytes(each.content)
            found = verify.verify(place, ours)
            told[number, each.name] = (found.made_here, found.reason, found.altered, found.credentials, found.mark)
            expected[number, each.name] = each.expected
    figure("Files told for what they are", sum(told[at] == expected[at] for at in expected), "of 72", at_least=72)
    assert told == expected
    assert len(told) == 72
