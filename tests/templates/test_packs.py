import hashlib
import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import PIL.Image
import pytest

from portrait.errors import OperatorError, UserError
from templates import packs
from templates.catalog import Catalog

STYLE = (
    b'schema = 1\nid = "mine"\nkind = "template"\ntitle = "Mine"\npicture = { file = "a.png" }\nlicence = "CC0-1.0"\n'
)


def picture() -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


GOOD_PACK = {"mine/style.toml": STYLE, "mine/a.png": picture()}


def listed(files: Mapping[str, bytes]) -> bytes:
    listed = {name: {"sha256": hashlib.sha256(each).hexdigest(), "bytes": len(each)} for name, each in files.items()}
    return json.dumps({"format": "portrait-styles", "schema": 1, "files": listed}).encode()


def packed(
    path: Path, files: Mapping[str, bytes], manifest: bytes | None = None, compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as pack:
        pack.writestr("pack.json", listed(files) if manifest is None else manifest)
        for name, content in files.items():
            pack.writestr(name, content)
    return path


def refused(path: Path, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        packs.import_pack(path, folder)
    assert caught.value.code == "bad_pack"
    assert not folder.exists() or list(folder.iterdir()) == []
    assert {each.name for each in folder.parent.iterdir()} <= {folder.name, path.name}
    return caught.value.message


def test_a_pack_goes_out_and_comes_in_again(tmp_path: Path) -> None:
    packs.import_pack(packed(tmp_path / "a.zip", GOOD_PACK), tmp_path / "here")
    entries = [*Catalog((tmp_path / "here",)).entries(), Catalog().find("studio-grey"), Catalog().find("astronaut")]
    first = packs.export_pack(entries, tmp_path / "out.zip").read_bytes()
    assert packs.export_pack(entries[::-1], tmp_path / "again.zip").read_bytes() == first
    imported = packs.import_pack(tmp_path / "out.zip", tmp_path / "there")
    assert [entry.style.id for entry in imported] == ["astronaut", "mine", "studio-grey"]
    assert (tmp_path / "there/mine/a.png").read_bytes() == picture()
    assert Catalog((tmp_path / "there",)).find("mine").style == entries[0].style


def test_an_existing_style_is_not_replaced(tmp_path: Path) -> None:
    pack = packed(tmp_path / "a.zip", GOOD_PACK)
    packs.import_pack(pack, tmp_path / "here")
    (tmp_path / "here/mine/note.txt").write_text("mine")
    with pytest.raises(UserError, match="already") as caught:
        packs.import_pack(pack, tmp_path / "here")
    assert caught.value.code == "style_exists"
    assert (tmp_path / "here/mine/note.txt").read_text() == "mine"
    assert [each.name for each in (tmp_path / "here").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.toml", "leads out"),
        ("mine/../../evil.toml", "leads out"),
        ("/etc/evil.toml", "leads out"),
        ("C:\\evil.toml", "leads out"),
        ("mine\\..\\evil.toml", "leads out"),
        ("mine/deep/evil.png", "form"),
        ("evil.toml", "form"),
        ("Mine/style.toml", "form"),
        ("mine/.hidden", "form"),
        ("mine/run.py", "neither"),
        ("mine/folder/", "form"),
        ("mine/ä.png", "form"),
        ("mine/" + "a" * 300 + ".png", "form"),
    ],
)
def test_names_that_lead_astray_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    assert reason in refused(packed(tmp_path / "bad.zip", {**GOOD_PACK, name: b"x"}), tmp_path / "here")


def test_a_name_with_something_behind_a_nul_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "bad.zip", {**GOOD_PACK, "mine/b.txtX.py": b"x"})
    path.write_bytes(path.read_bytes().replace(b"mine/b.txtX.py", b"mine/b.txt\x00.py"))
    assert refused(path, tmp_path / "here")


def test_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    link = zipfile.ZipInfo("mine/a.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr("pack.json", listed(GOOD_PACK))
        pack.writestr("mine/style.toml", STYLE)
        pack.writestr(link, b"/etc/passwd")
    assert "link" in refused(path, tmp_path / "here")


@pytest.mark.parametrize("other", ["mine/a.png", "mine/A.PNG"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path: Path, other: str) -> None:
    path = packed(tmp_path / "bad.zip", GOOD_PACK)
    with zipfile.ZipFile(path, "a") as pack:
        pack.writestr(other, picture())
    assert "two files" in refused(path, tmp_path / "here")


def test_wrong_hashes_are_refused(tmp_path: Path) -> None:
    swapped = listed({**GOOD_PACK, "mine/a.png": picture()[:-1] + b"!"})
    assert "hash" in refused(packed(tmp_path / "bad.zip", GOOD_PACK, swapped), tmp_path / "here")


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b'{"format": "zip"}', listed({}), listed({**GOOD_PACK, "mine/b.png": b""})]
)
def test_a_list_that_does_not_hold_is_refused(tmp_path: Path, manifest: bytes) -> None:
    assert "pack.json" in refused(packed(tmp_path / "bad.zip", GOOD_PACK, manifest), tmp_path / "here")


def test_a_huge_style_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    huge = {**GOOD_PACK, "mine/style.toml": STYLE + b"#" * 50_000_000}
    assert "larger" in refused(packed(tmp_path / "bad.zip", huge), tmp_path / "here")


def announced(path: Path, name: str, size: int) -> Path:
    """Change what the pack's headers say of a file's size."""
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = 0
        while (start := content.find(mark, start)) >= 0:
            length = struct.unpack_from("<H", content, start + (28 if at == 24 else 26))[0]
            header = 46 if at == 24 else 30
            if content[start + header : start + header + length] == name.encode():
                struct.pack_into("<I", content, start + at, size)
            start += 4
    path.write_bytes(content)
    return path


def test_a_bomb_is_refused_by_what_it_says(tmp_path: Path) -> None:
    bomb = announced(packed(tmp_path / "bad.zip", GOOD_PACK), "mine/a.png", 4_200_000_000)
    assert "larger" in refused(bomb, tmp_path / "here")


def test_many_files_that_together_are_a_bomb_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "bad.zip", {**GOOD_PACK, **{f"mine/{each}.png": picture() for each in range(130)}})
    for each in range(130):
        announced(path, f"mine/{each}.png", 79_000_000)
    assert "unpack to" in refused(path, tmp_path / "here")


def test_a_bomb_that_lies_is_stopped_while_it_is_unpacked(tmp_path: Path) -> None:
    bomb = picture() + b"\0" * 30_000_000
    path = packed(tmp_path / "bad.zip", {**GOOD_PACK, "mine/a.png": bomb}, listed(GOOD_PACK))
    assert path.stat().st_size < 100_000
    assert refused(announced(path, "mine/a.png", len(picture())), tmp_path / "here")


def test_a_zip_in_the_zip_is_refused(tmp_path: Path) -> None:
    inner = packed(tmp_path / "inner.zip", GOOD_PACK).read_bytes()
    (tmp_path / "inner.zip").unlink()
    assert "zip in the zip" in refused(
        packed(tmp_path / "bad.zip", {**GOOD_PACK, "mine/a.png": inner}), tmp_path / "here"
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(tmp_path: Path, compression: int) -> None:
    assert "unknown way" in refused(packed(tmp_path / "bad.zip", GOOD_PACK, compression=compression), tmp_path / "here")


def test_compression_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "bad.zip", GOOD_PACK)
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, content.find(b"PK\x01\x02") + 10, 99)
    path.write_bytes(content)
    assert refused(path, tmp_path / "here")


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    assert "2000" in refused(
        packed(tmp_path / "bad.zip", {f"mine/{each}.txt": b"" for each in range(2001)}), tmp_path / "here"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mine/style.toml": STYLE.replace(b'"mine"', b'"other"')}, "calls itself"),
        ({"mine/style.toml": STYLE.replace(b"CC0-1.0", b"")}, "licence"),
        ({"mine/style.toml": STYLE.replace(b"a.png", b"b.png")}, "b.png"),
        ({"mine/style.toml": b"\xff\xfe"}, "cannot be read"),
        ({"mine/a.png": b"<svg/>"}, "kind of picture"),
        ({"second/b.png": picture()}, "no style.toml"),
    ],
)
def test_styles_that_do_not_hold_are_refused_with_all_of_the_pack(
    tmp_path: Path, change: dict[str, bytes], reason: str
) -> None:
    assert reason in refused(packed(tmp_path / "bad.zip", {**GOOD_PACK, **change}), tmp_path / "here")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.zip").write_bytes(content)
    assert refused(tmp_path / "bad.zip", tmp_path / "here")


def test_half_a_zip_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "bad.zip", GOOD_PACK)
    path.write_bytes(path.read_bytes()[:-30])
    assert refused(path, tmp_path / "here")


def test_a_missing_pack_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pack"):
        packs.import_pack(tmp_path / "gone.zip", tmp_path / "here")


def test_a_style_with_files_no_pack_may_hold_does_not_travel(tmp_path: Path) -> None:
    (entry,) = packs.import_pack(packed(tmp_path / "a.zip", GOOD_PACK), tmp_path / "here")
    (entry.folder / "run.sh").write_text("echo")
    with pytest.raises(UserError, match=r"run\.sh"):
        packs.export_pack([entry], tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OperatorError, match="cannot be written"):
        packs.import_pack(packed(tmp_path / "a.zip", GOOD_PACK), tmp_path / "file" / "here")


@pytest.mark.parametrize(("package", "file"), [("six", "six.py"), ("this.x", "a.png"), ("skimage", "__init__.py")])
def test_a_style_that_names_a_package_of_the_machine_is_refused(tmp_path: Path, package: str, file: str) -> None:
    picture = f'{{ package = "{package}", path = "{file}" }}'
    style = STYLE.replace(b'{ file = "a.png" }', picture.encode())
    assert "only built-in styles" in refused(packed(tmp_path / "a.zip", {"mine/style.toml": style}), tmp_path / "here")


def test_a_pack_is_written_without_its_pictures_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "style.toml").write_bytes(STYLE)
    with (folder / "a.png").open("wb") as file:
        file.write(picture())
        file.truncate(40_000_000)
    tracemalloc.start()
    packs.export_pack(Catalog((tmp_path,)).entries(), tmp_path / "out.zip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
    (there,) = packs.import_pack(tmp_path / "out.zip", tmp_path / "there")
    assert (there.folder / "a.png").stat().st_size == 40_000_000


def test_a_pack_that_nobody_could_import_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = packs.import_pack(packed(tmp_path / "a.zip", GOOD_PACK), tmp_path / "here")
    monkeypatch.setattr(packs, "MAX_UNPACKED_BYTES", 10)
    with pytest.raises(UserError, match="fewer styles"):
        packs.export_pack([entry], tmp_path / "out.zip")
    assert {each.name for each in tmp_path.iterdir()} == {"a.zip", "here"}
