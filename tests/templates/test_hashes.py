from dataclasses import replace
from pathlib import Path

from templates import schema
from templates.catalog import Entry
from templates.hashes import files_of, hash_of, looked_at, pinned, seal

STYLE = schema.parse(
    {
        "schema": 1,
        "id": "hall",
        "kind": "template",
        "title": "Hall",
        "picture": {"file": "a.jpg"},
        "licence": "CC0-1.0",
    }
)


def entry(folder: Path, **change: object) -> Entry:
    return Entry(STYLE.model_copy(update=change), folder)


def test_a_seal_is_of_lines_and_files_and_not_of_number_status_or_preview(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")
    before = seal(entry(tmp_path))
    (tmp_path / "preview.jpg").write_bytes(b"seen")
    (tmp_path / ".hidden").write_bytes(b"x")
    assert seal(entry(tmp_path, version=7, status="retired")) == before
    assert seal(entry(tmp_path, retouch=0.9)) != before
    assert [path.name for path in files_of(tmp_path)] == ["a.jpg"]
    (tmp_path / "a.jpg").write_bytes(b"2")
    assert seal(entry(tmp_path)) != before
    assert list(files_of(tmp_path / "nowhere")) == []


def test_a_look_holds_until_picture_or_faces_change(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")
    before = looked_at(entry(tmp_path))
    assert looked_at(entry(tmp_path, title="Great hall")) == before
    assert looked_at(entry(tmp_path, faces=2)) != before
    (tmp_path / "a.jpg").unlink()
    assert looked_at(entry(tmp_path)) != before


def test_a_picture_is_pinned_by_its_hash_once(tmp_path: Path) -> None:
    assert pinned(entry(tmp_path)) == STYLE, "there is none yet"
    (tmp_path / "a.jpg").write_bytes(b"1")
    style = pinned(entry(tmp_path))
    assert style.picture is not None
    assert style.picture.sha256 == hash_of(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(b"2")
    assert pinned(replace(entry(tmp_path), style=style)) == style, "another file is a finding, no news"
