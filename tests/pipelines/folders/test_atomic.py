"""Files and folders are written completely, or not at all."""

import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
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


@pytest.fixture
def private() -> Iterator[None]:
    """What is made is its user's alone, as in every process of the program."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private")
def test_what_is_new_has_the_mode_of_the_process_and_what_is_replaced_keeps_its_own(tmp_path: Path) -> None:
    page, folder = atomic.write_file(tmp_path / "new/page.html", "one"), tmp_path / "set"
    with atomic.replace_folder(folder) as staged:
        (staged / "one").touch()
    assert [mode_of(each) for each in (page, page.parent, folder, folder / "one")] == [0o600, 0o700, 0o700, 0o600]
    page.chmod(0o644)
    folder.chmod(0o750)
    atomic.write_file(page, "two")
    with atomic.replace_folder(folder) as staged:
        (staged / "two").touch()
    assert (mode_of(page), mode_of(folder)) == (0o644, 0o750)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_reader_finds_a_folder_at_every_moment_of_its_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with atomic.replace_folder(tmp_path / "set") as staged:
        (staged / "one").touch()
    absent = []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, place: absent.append(place) or rename(self, place))
    with atomic.replace_folder(tmp_path / "set") as staged:
        (staged / "two").touch()
    assert absent == [], "renaming the earlier one away would leave a moment without"
    assert [each.name for each in (tmp_path / "set").iterdir()] == ["two"]
    monkeypatch.setattr(atomic, "exchange", lambda *_: False)  # as on a network disk
    with atomic.replace_folder(tmp_path / "set") as staged:
        (staged / "three").touch()
    assert [each.name for each in tmp_path.iterdir()] == ["set"]
    assert [each.name for each in (tmp_path / "set").iterdir()] == ["three"]


def test_content_and_names_are_flushed_before_and_after_the_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    numbers: dict[int, str] = {}
    opened, flushed, replaced, renamed = os.open, os.fsync, Path.replace, Path.rename

    def open_named(path: Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        number = opened(path, flags, mode, dir_fd=dir_fd)
        numbers[number] = re.sub(r"[.](set|page)[.][0-9a-f]{8}([.]part)?", r"staged \1", Path(path).name)
        return number

    monkeypatch.setattr(os, "open", open_named)
    monkeypatch.setattr(os, "fsync", lambda number: steps.append(f"sync {numbers[number]}") or flushed(number))
    monkeypatch.setattr(Path, "replace", lambda self, place: steps.append("rename") or replaced(self, place))
    monkeypatch.setattr(Path, "rename", lambda self, place: steps.append("rename") or renamed(self, place))
    atomic.write_file(tmp_path / "page", "one")
    assert steps == ["sync staged page", "rename", f"sync {tmp_path.name}"]
    steps.clear()
    with atomic.replace_folder(tmp_path / "set") as staged:
        (staged / "crop").touch()
    assert steps == ["sync crop", "sync staged set", "rename", f"sync {tmp_path.name}"]


def test_a_folder_that_was_not_filled_leaves_the_earlier_one(tmp_path: Path) -> None:
    with atomic.replace_folder(tmp_path / "set") as staged:
        (staged / "one").touch()
    with pytest.raises(FileNotFoundError), atomic.replace_folder(tmp_path / "set") as staged:
        (staged / "missing/two").touch()
    assert [each.name for each in tmp_path.iterdir()] == ["set"]
    assert [each.name for each in (tmp_path / "set").iterdir()] == ["one"]


WRITER = """
import sys
from itertools import count
from pathlib import Path
from pipelines.folders import atomic
folder = Path(sys.argv[1])
for number in count(1):
    with atomic.replace_folder(folder) as staged:
        for part in range(5):
            (staged / f"{part}.txt").write_text(str(number))
    print(number, flush=True)
"""


@pytest.mark.chaos
def test_a_writer_that_is_killed_leaves_a_complete_folder(tmp_path: Path) -> None:
    for number in range(40):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "set")], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(number * 7 % 40 / 800)  # up to 50 ms
            writer.kill()
        contents = {file.name: file.read_text() for file in (tmp_path / "set").iterdir()}
        assert len(contents) == 5, "at no moment is there none, or half of one"
        assert len(set(contents.values())) == 1
