import os
import zipfile
from pathlib import Path

import pytest

from app.terminal import photos
from app.terminal.photos import collect_photos, find_photos
from portrait.errors import UserError
from portrait.photos.names import distinct_names
from tests.fakes import picture, save


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(folder: Path, *given: Path) -> tuple[list[str], dict[str, int]]:
    with collect_photos(given or [folder]) as collected:
        return [path.relative_to(folder).as_posix() for path in collected.files], dict(collected.passed_over)


def refusal(*given: Path) -> UserError:
    with pytest.raises(UserError) as caught, collect_photos(given):
        pass
    return caught.value


def test_pictures_of_all_folders_are_taken_and_the_rest_is_counted(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "b.HEIC",
        "b.MOV",
        "a.jpg",
        "a.AAE",
        "Thumbs.db",
        ".hidden.jpg",
        "notes",
        "2024/05/c.JPG",
        "2024/c.json",
    )
    tree(tmp_path, "2024/__MACOSX/._c.JPG", "@eaDir/a.jpg/t.jpg", ".trash/x.jpg", "broken.png", "raw.cr2")
    save(tmp_path / "without", picture(1, 1))
    found, passed_over = names(tmp_path)
    assert found == ["a.jpg", "b.HEIC", "broken.png", "without", "2024/05/c.JPG"]
    assert passed_over == {".mov": 1, ".aae": 1, ".db": 1, "without an ending": 1, ".json": 1, ".cr2": 1}


def test_live_photos_are_pairs_and_only_photos_count(tmp_path: Path) -> None:
    for number in range(photos.MAX_PHOTOS):
        tree(tmp_path, f"IMG_{number}.HEIC", f"IMG_{number}.MOV")
    assert len(names(tmp_path)[0]) == photos.MAX_PHOTOS
    tree(tmp_path, "one_more.jpg")
    assert refusal(tmp_path).message.startswith("201 photos were given")


def test_what_commands_wrote_is_not_taken_for_photos(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "a.jpg",
        "set/set.json",
        "set/crops/0001.png",
        "ann/identity.json",
        "ann/b.png",
        "out/portraits.json",
        "out/c.png",
    )
    assert names(tmp_path) == (["a.jpg"], {})


def test_a_file_that_is_named_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    tree(tmp_path, "a.dat", "b.jpg")
    assert names(tmp_path, tmp_path / "a.dat", tmp_path)[0] == ["a.dat", "b.jpg"]


def test_a_folder_without_photos_says_what_is_read(tmp_path: Path) -> None:
    error = refusal(tree(tmp_path, "a.mov", "b.cr2"))
    assert error.code == "no_photos"
    assert "2 other files are there" in error.message
    assert "heic" in error.message
    assert "tiff" in error.message


def test_a_zip_is_a_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "holiday.zip", "w") as packed:
        for name in ("a.jpg", "beach/a.jpg", "beach/b.txt", "../../out.png", "__MACOSX/._a.jpg", "/abs.webp"):
            packed.writestr(name, name)
    with collect_photos([tmp_path]) as collected:
        inside = [path for path in collected.files if path.is_file()]
        root = inside[0].parent
        found = {path.relative_to(root).as_posix(): path.read_bytes() for path in inside}
        assert dict(collected.passed_over) == {".txt": 1}
    assert found.keys() >= {"a.jpg", "beach/a.jpg", "out.png", "abs.webp"}
    assert found["out.png"] == b"../../out.png"
    assert not root.exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["holiday.zip"]


def test_names_of_old_zips_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as packed:
        packed.writestr("xx.jpg", "x")
    content = (tmp_path / "old.zip").read_bytes().replace(b"xx.jpg", "旅".encode("gbk") + b".jpg")
    (tmp_path / "old.zip").write_bytes(content)
    with collect_photos([tmp_path / "old.zip"]) as collected:
        assert [path.name for path in collected.files] == ["旅.jpg"]


def test_what_has_no_name_in_a_zip_is_passed_over(tmp_path: Path) -> None:
    whole = tmp_path / "photos.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.jpg", b"x")
        archive.writestr("b.jpg", b"x")
    whole.write_bytes(whole.read_bytes().replace(b"b.jpg", b"\0.jpg"))
    with collect_photos([whole]) as collected:
        assert [file.name for file in collected.files] == ["a.jpg"]


def test_a_zip_that_cannot_be_unpacked_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 no zip")
    error = refusal(tmp_path / "a.zip")
    assert (error.code, "Unpack it, and name the folder" in error.message) == ("no_photos", True)


def test_one_of_two_photos_of_a_name_is_meant_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = [Path("a/IMG_1.jpg"), Path("b/IMG_1.jpg"), Path("b/cafe\u0301.jpg")]
    assert find_photos(["b/IMG_1.jpg", "caf\u00e9.JPG", str(tmp_path / "a" / "IMG_1.jpg")], files) == [1, 2, 0]
    with pytest.raises(UserError, match=r"could be a/IMG_1.jpg or b/IMG_1.jpg") as caught:
        find_photos(["IMG_1.jpg"], files)
    assert caught.value.code == "which_photo"
    with pytest.raises(UserError, match="not among the photos"):
        find_photos(["c.jpg"], files)


def test_a_name_that_is_not_utf_8_is_a_photo_like_any_other(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xd5\xd5\xc6\xac.png")
    save(tmp_path / name, picture(1, 1))
    with collect_photos([tmp_path]) as collected:
        assert find_photos([name], collected.files) == [0]
        assert find_photos(distinct_names(collected.files), collected.files) == [0]
