import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from portrait.errors import OperatorError, UserError
from tasks.files import Files, disk_error


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


def test_what_is_discarded_is_gone_from_its_place_before_it_is_erased(files: Files) -> None:
    for owner, person in (("ann", "p1"), ("bob", "p1")):
        files.save([b"x"], files.selfie(owner, person, "s"), 9)
        files.save([b"x"], files.training_set(owner, person, "set") / "set.json", 9)
    for _ in range(2):  # a second time there is nothing to do
        files.discard(files.person("ann", "p1"), "erasure_1")
    assert not files.person("ann", "p1").exists()
    assert len([name for name in inside(files.root) if name.startswith("trash/erasure_1/")]) == 2
    for _ in range(2):
        files.empty_trash("erasure_1")
    assert inside(files.root) == ["owners/bob/people/p1/selfies/s", "owners/bob/people/p1/sets/set/set.json"]


def test_publishing_replaces_what_was_never_settled_and_twice_is_once(files: Files) -> None:
    place = files.portraits("ann", "j1")
    files.save([b"old"], place / "02.jpg", 9)
    staged = files.staging("j1", "t")
    files.save([b"new"], staged / "01.jpg", 9)
    files.publish(staged, place)
    files.publish(staged, place)
    assert inside(files.root) == ["owners/ann/jobs/j1/01.jpg"]


def test_the_disk_speaks_without_saying_where() -> None:
    full = disk_error(OSError(errno.ENOSPC, "No space left on device", "/somewhere/secret"))
    other = disk_error(OSError(errno.EROFS, "Read-only file system", "/somewhere/secret"))
    foreign = disk_error(OSError(errno.EACCES, "Permission denied", "/somewhere/secret"))
    assert (full.code, other.code, foreign.code) == ("disk_full", "cannot_write", "no_permission")
    assert "somewhere" not in full.message + other.message
