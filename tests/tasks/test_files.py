import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from portrait.errors import OperatorError, UserError
from tasks.files import Files, disk_error, publish


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "data")


def inside(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_stream_is_saved(files: Files) -> None:
    saved = files.save([b"ab", b"c"], files.selfie("ann", "p1", "s1"), 3)
    assert saved.path.read_bytes() == b"abc"
    assert saved.bytes == 3
    assert saved.sha256.startswith("ba7816bf")
    assert inside(files.root) == ["owners/ann/people/p1/selfies/s1"]


def test_a_stream_that_breaks_or_is_too_long_leaves_nothing(files: Files) -> None:
    def broken() -> Iterator[bytes]:
        yield b"ab"
        raise ConnectionError

    place = files.selfie("ann", "p1", "s1")
    with pytest.raises(OperatorError):
        files.save(broken(), place, 9)
    with pytest.raises(UserError) as caught:
        files.save([b"ab", b"cd"], place, 3)
    assert caught.value.code == "too_large"
    assert inside(files.root) == []


@pytest.mark.parametrize("id", ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "a\0b", "a..b", "é", "a b", "x" * 200])
def test_only_ids_become_names(files: Files, id: str) -> None:
    for place in (
        lambda: files.selfie(id, "p", "s"),
        lambda: files.selfie("a", id, "s"),
        lambda: files.selfie("a", "p", id),
        lambda: files.portrait("a", "j", id),
        lambda: files.preview(id),
        lambda: files.staging(id, "t"),
    ):
        with pytest.raises(UserError) as caught:
            place()
        assert caught.value.code == "not_found"


def test_erasing_returns_the_files_and_touches_nobody_else(files: Files) -> None:
    for owner, person in (("ann", "p1"), ("ann", "p2"), ("bob", "p1")):
        files.save([b"x"], files.selfie(owner, person, "s"), 9)
        files.save([b"x"], files.training_set(owner, person, "set") / "set.json", 9)
    files.save([b"x"], files.portrait("ann", "j1", "01.jpg"), 9)
    files.save([b"x"], files.portrait("ann", "j2", "01.jpg"), 9)
    files.save([b"x"], files.preview("j1"), 9)
    assert files.erase_person("ann", "p1", ["j1"]) == [
        "owners/ann/people/p1/selfies/s",
        "owners/ann/people/p1/sets/set/set.json",
        "owners/ann/jobs/j1/01.jpg",
        "previews/j1.jpg",
    ]
    assert files.erase_person("ann", "p1", ["j1"]) == []
    assert len(files.erase_owner("ann")) == 3
    assert inside(files.root) == ["owners/bob/people/p1/selfies/s", "owners/bob/people/p1/sets/set/set.json"]


def test_publishing_replaces_what_was_never_settled_and_twice_is_once(files: Files) -> None:
    place = files.portraits("ann", "j1")
    files.save([b"old"], place / "02.jpg", 9)
    staged = files.staging("j1", "t")
    files.save([b"new"], staged / "01.jpg", 9)
    publish(staged, place)
    publish(staged, place)
    assert inside(files.root) == ["owners/ann/jobs/j1/01.jpg"]


def test_the_disk_speaks_without_saying_where() -> None:
    full = disk_error(OSError(errno.ENOSPC, "No space left on device", "/somewhere/secret"))
    other = disk_error(OSError(errno.EACCES, "Permission denied", "/somewhere/secret"))
    assert (full.code, other.code) == ("disk_full", "cannot_write")
    assert "somewhere" not in full.message + other.message
