"""Files and folders are written completely, or not at all."""

from pathlib import Path

import pytest

from pipelines.folders import atomic
from portrait.errors import OperatorError


def test_a_file_and_its_folders_appear_with_nothing_beside_them(tmp_path: Path) -> None:
    file = atomic.write_file(tmp_path / "new/page.html", "größer")
    assert file.read_bytes() == "größer".encode()
    assert atomic.write_file(file, b"\x00").read_bytes() == b"\x00"
    assert [each.name for each in file.parent.iterdir()] == ["page.html"]


def test_two_writers_of_one_file_do_not_share_a_temporary_name(tmp_path: Path) -> None:
    with atomic.replace_file(tmp_path / "page.html") as one, atomic.replace_file(tmp_path / "page.html") as other:
        one.write_text("one")
        other.write_text("other")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "one", "the outer block ends last"


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    for place in (tmp_path / "taken", tmp_path / "file/below"):
        with pytest.raises(OperatorError, match="cannot be written") as caught:
            atomic.write_file(place, b"")
        assert caught.value.code == "cannot_write"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "taken"]


def test_a_folder_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with atomic.replace_folder(tmp_path / "set") as staged:
            (staged / content).touch()
            assert staged.parent == tmp_path, "on the same disk, so that it is moved in one step"
    assert [each.name for each in tmp_path.iterdir()] == ["set"]
    assert [each.name for each in (tmp_path / "set").iterdir()] == ["two"]
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_was_not_filled_leaves_the_earlier_one(tmp_path: Path) -> None:
    with atomic.replace_folder(tmp_path / "set") as staged:
        (staged / "one").touch()
    with pytest.raises(FileNotFoundError), atomic.replace_folder(tmp_path / "set") as staged:
        (staged / "missing/two").touch()
    assert [each.name for each in tmp_path.iterdir()] == ["set"]
    assert [each.name for each in (tmp_path / "set").iterdir()] == ["one"]
