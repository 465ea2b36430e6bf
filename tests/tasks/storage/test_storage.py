"""What files of a data folder do, in a folder of their own and with a bucket behind it."""

import os
import time
from pathlib import Path

import pytest

from portrait.errors import OperatorError
from tasks.files import Files
from tests.tasks.storage.conftest import Machine


@pytest.fixture(params=["folder", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "folder":
        return Files(tmp_path / "data")
    return request.getfixturevalue("machine")("one")


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_what_is_stored_is_found_listed_read_and_removed(files: Files) -> None:
    place = files.selfie("ann", "p1", "s1")
    files.keep(files.save([b"abc"], place, 9).path)
    assert (files.exists(place), files.read(place), files.fetch(place).read_bytes()) == (True, b"abc", b"abc")
    assert files.contents(files.person("ann", "p1")) == [place]
    assert files.names(files.person("ann", "p1")) == ["selfies"]
    found = list(files.owned())
    assert [(each.kind, each.id, each.owner) for each in found] == [
        ("people", "p1", "ann"),
        ("selfies", "s1", "ann"),
    ]
    assert all(abs(each.changed - time.time()) < 60 for each in found)
    files.remove(place)
    files.remove(place)
    assert (files.exists(place), files.read(place), files.fetch(place).exists()) == (False, None, False)
    assert files.contents(files.person("ann", "p1")) == []


def test_a_folder_is_published_whole_and_what_lay_there_is_gone(files: Files) -> None:
    place, staged = files.training_set("ann", "p1", "set"), files.staging("j1", "t")
    write(staged / "old.json")
    files.publish(staged, place)
    write(staged / "set.json", b"{}")
    write(staged / "crops" / "0001.png")
    files.upload(staged, place)
    files.publish(staged, place)
    files.publish(staged, place)
    assert not staged.exists()
    assert [path.relative_to(place).as_posix() for path in files.contents(place)] == ["crops/0001.png", "set.json"]
    assert (files.fetch_folder(place) / "set.json").read_bytes() == b"{}"


def test_a_folder_that_never_changes_is_published_twice_as_once(files: Files) -> None:
    place, staged = files.style("autumn", 1), files.styles / ".desk.1" / "autumn"
    write(staged / "style.toml", b"1")
    files.publish(staged, place)
    files.publish(staged, place)
    assert (files.fetch_folder(place) / "style.toml").read_bytes() == b"1"


def test_what_is_changed_in_a_folder_is_stored_and_hidden_names_are_not(files: Files) -> None:
    folder = files.work_dir("ann", "p1", "j1")
    write(folder / "state.pt", b"1")
    write(folder / "steps" / "1")
    files.keep(folder)
    write(folder / "state.pt", b"22")
    (folder / "steps" / "1").unlink()
    write(folder / "steps" / "2")
    write(folder / ".state.part")
    files.keep(folder)
    kept = {path.relative_to(folder).as_posix() for path in files.contents(folder)}
    assert kept == {"state.pt", "steps/2"}
    assert files.read(folder / "state.pt") == b"22"
    assert [(each.owner, each.id, each.path) for each in files.work_dirs()] == [("ann", "j1", folder)]


def test_erased_jobs_and_drafts_say_what_they_were(files: Files) -> None:
    write(files.staging("j1", "t") / "01.jpg")
    files.publish_file(files.staging("j1", "t") / "01.jpg", files.portrait("ann", "j1", "01.jpg"))
    files.keep(write(files.preview("j1")))
    assert [path for path, _ in files.previews()] == [files.preview("j1")]
    assert files.erase_job("ann", "j1") == ["owners/ann/jobs/j1/01.jpg", "previews/j1.jpg"]
    assert files.erase_job("ann", "j1") == []
    files.keep(write(files.draft("autumn", "e1") / "style.toml"))
    assert files.erase_draft("autumn", "e1") == ["styles/drafts/autumn/e1/style.toml"]
    assert files.contents(files.styles) == []


def test_samples_are_none_until_somebody_tried(files: Files) -> None:
    assert files.samples("autumn", 1) is None
    staged = files.styles / ".samples.1"
    write(staged / "tried.txt")
    write(staged / "1.jpg")
    files.publish(staged, files.style_samples("autumn", 1))
    assert files.samples("autumn", 1) == 1


def test_discarded_people_are_gone_and_others_are_not(files: Files) -> None:
    for person in ("p1", "p2"):
        files.keep(write(files.training_set("ann", person, "set") / "set.json"))
    files.discard(files.person("ann", "p1"), "erasure_1")
    files.empty_trash("erasure_1")
    assert {each.id for each in files.owned() if each.kind == "people"} == {"p2"}
    assert not (files.root / "trash" / "erasure_1").exists()


def test_uploads_on_their_way_are_this_machine_s_alone(files: Files) -> None:
    files.keep(write(files.incoming / "upload"))
    assert files.storage.find("incoming/upload") is None or files.bucket is None
    assert list(files.unfinished()) == [files.incoming / "upload"]


def test_a_file_that_cannot_be_written_leaves_nothing_kept(files: Files) -> None:
    place = files.selfie("ann", "p1", "s1")
    write(place.parent, b"a file where the folder would be")
    with pytest.raises(OperatorError) as caught:
        files.keep(files.save([b"abc"], place, 9).path)
    assert caught.value.code == "cannot_write"
    os.unlink(place.parent)  # noqa: PTH108 -- it is no folder
    assert not files.exists(place)


def test_check_says_whether_files_can_be_read_and_written(files: Files) -> None:
    with pytest.raises(OperatorError):
        files.check()
    files.incoming.mkdir(parents=True)
    files.check()


def test_a_bucket_has_signed_addresses_and_a_folder_has_none(machine: Machine, tmp_path: Path) -> None:
    folder = Files(tmp_path / "data")
    assert folder.link(write(folder.portrait("ann", "j1", "01.jpg")), 300) == ""
    assert machine("one").link(machine("one").portrait("ann", "j1", "01.jpg"), 0) == ""
