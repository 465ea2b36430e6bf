from dataclasses import replace
from pathlib import Path

from templates import schema
from templates.catalog import Entry
from templates.hashes import asset_files, check_hash, content_hash, file_hash, with_picture_hash

STYLE = schema.parse_style(
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


def test_a_content_hash_covers_fields_and_files_but_not_version_status_or_preview(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")
    before = content_hash(entry(tmp_path))
    (tmp_path / "preview.jpg").write_bytes(b"seen")
    (tmp_path / ".hidden").write_bytes(b"x")
    assert content_hash(entry(tmp_path, version=7, status="retired")) == before
    assert content_hash(entry(tmp_path, retouch=0.9)) != before
    assert [path.name for path in asset_files(tmp_path)] == ["a.jpg"]
    (tmp_path / "a.jpg").write_bytes(b"2")
    assert content_hash(entry(tmp_path)) != before
    assert list(asset_files(tmp_path / "nowhere")) == []


def test_a_check_hash_changes_with_picture_or_faces(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")
    before = check_hash(entry(tmp_path))
    assert check_hash(entry(tmp_path, title="Great hall")) == before
    assert check_hash(entry(tmp_path, faces=2)) != before
    (tmp_path / "a.jpg").unlink()
    assert check_hash(entry(tmp_path)) != before


def test_the_hash_of_a_picture_is_filled_in_once(tmp_path: Path) -> None:
    assert with_picture_hash(entry(tmp_path)) == STYLE, "there is none yet"
    (tmp_path / "a.jpg").write_bytes(b"1")
    style = with_picture_hash(entry(tmp_path))
    assert style.picture is not None
    assert style.picture.sha256 == file_hash(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(b"2")
    assert with_picture_hash(replace(entry(tmp_path), style=style)) == style, "another file is a finding, no news"


def test_fields_that_came_later_do_not_change_the_hashes_of_before(tmp_path: Path) -> None:
    # Of version 0.1.0, for the same fields.
    assert content_hash(entry(tmp_path)) == "ff61332f784169bf383a9d87843ca650e69c768f7f24f47a06a07b4b1f0b741c"
    assert content_hash(entry(tmp_path, sentence="A portrait of {who}.")) != content_hash(entry(tmp_path))
    assert check_hash(entry(tmp_path, sentence="A portrait of {who}.")) != check_hash(entry(tmp_path))
    studio = STYLE.model_copy(update={"kind": "studio", "picture": None, "backdrop": "studio-grey"})
    close = studio.model_copy(update={"compositions": ("close",)})
    assert content_hash(Entry(studio, tmp_path)) != content_hash(Entry(close, tmp_path))
    own = STYLE.model_copy(update={"kind": "studio"})
    soft = own.model_copy(update={"blur": 0.5})
    hashes = {content_hash(Entry(each, tmp_path)) for each in (own, soft)}
    (tmp_path / "a.jpg").write_bytes(b"another")
    assert len({*hashes, content_hash(Entry(own, tmp_path))}) == 3
