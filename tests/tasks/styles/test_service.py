import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portrait.errors import UserError
from tasks.files import Files
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import DraftFindings
from tasks.styles.available import AvailableStyles
from tasks.styles.service import StyleService
from templates import lint
from templates.catalog import Catalog
from templates.hashes import check_hash, content_hash
from tests.tasks.api.harness import STUDIO, picture, run_concurrently

TEMPLATE: dict[str, Any] = {
    "schema": 1,
    "id": "hall",
    "kind": "template",
    "title": "Hall",
    "picture": {"file": "picture.png"},
    "licence": "CC0-1.0",
    "credit": "me",
}

TEXT: dict[str, Any] = {
    "schema": 1,
    "id": "mine",
    "kind": "text",
    "title": "Mine",
    "prompt": "{who}",
    "licence": "CC0-1.0",
}


@pytest.fixture
def service(sqlite: Ledger, tmp_path: Path) -> StyleService:
    return StyleService(sqlite, Files(tmp_path / "data"))


def refused(act: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as caught:
        act()
    return caught.value


def codes(service: StyleService, id: str) -> list[str]:
    return [each.code for each in service.findings(service.draft(id))]


def test_a_draft_becomes_version_after_version_and_the_same_again_is_no_change(service: StyleService) -> None:
    first = service.write_draft("mine", STUDIO, None, "olga")
    assert Path(service.files.draft("mine", first.edition) / "style.toml").is_file()
    one = service.publish("mine", first.edition)
    assert (one.version, one.content["status"]) == (1, "published")
    assert not service.files.draft("mine", first.edition).exists()
    service.write_draft("mine", STUDIO, None, "olga")
    assert service.publish("mine") == one
    service.write_draft("mine", STUDIO | {"retouch": 0.9}, None, "olga")
    two = service.publish("mine")
    assert two.version == 2
    styles = AvailableStyles(service.ledger, service.files)
    assert styles.find("mine").style.retouch == 0.9
    assert styles.find("mine", 1).style.retouch == 0.4
    service.retire("mine", 2)
    assert styles.find("mine").style.version == 1
    service.retire("mine")
    assert refused(lambda: styles.find("mine")).code == "unknown_style"
    assert styles.find("mine", 2).style.retouch == 0.9, "what was drawn with it can be drawn again"
    assert refused(lambda: service.retire("nobody")).code == "unknown_style"


def test_numbers_only_go_up_even_over_those_of_built_in_styles(service: StyleService) -> None:
    before = Catalog().find("studio-grey").style.version
    service.write_draft("studio-grey", STUDIO | {"id": "studio-grey"}, None, "olga")
    assert service.publish("studio-grey").version == before + 1
    service.write_draft("mine", STUDIO | {"version": 7}, None, "olga")
    assert service.publish("mine").version == 7
    service.retire("mine")
    service.write_draft("mine", STUDIO, None, "olga")
    assert service.publish("mine").version == 8, "offered again it has a number of its own"
    ids = [entry.style.id for entry in AvailableStyles(service.ledger, service.files).entries()]
    assert "mine" in ids
    assert ids.count("studio-grey") == 1


def test_of_two_operators_at_once_one_wins(ledger: Ledger, tmp_path: Path) -> None:
    service = StyleService(ledger, Files(tmp_path / "data"))
    first = service.write_draft("mine", STUDIO, None, "olga")
    second = service.write_draft("mine", STUDIO | {"title": "Olga's"}, first.edition, "olga")
    for late in (first.edition, None):
        assert refused(lambda late=late: service.write_draft("mine", STUDIO, late, "ivan")).code == "draft_changed"
    assert refused(lambda: service.publish("mine", first.edition)).code == "draft_changed"
    assert refused(lambda: service.delete_draft("mine", first.edition)).code == "draft_changed"
    assert service.draft("mine").content["title"] == "Olga's"
    assert [each.name for each in (service.files.styles / "drafts" / "mine").iterdir()] == [second.edition]
    service.delete_draft("mine", second.edition)
    assert refused(lambda: service.draft("mine")).code == "unknown_style"


def test_published_by_several_at_once_it_is_one_version(ledger: Ledger, tmp_path: Path) -> None:
    service = StyleService(ledger, Files(tmp_path / "data"))
    edition = service.write_draft("mine", STUDIO, None, "olga").edition

    def publish(_: int) -> str:
        try:
            return str(service.publish("mine", edition).version)
        except UserError as error:
            return error.code

    assert sorted(run_concurrently(4, publish)) == ["1", "draft_changed", "draft_changed", "draft_changed"]

    def write(number: int) -> str:
        try:
            return service.write_draft("other", STUDIO | {"id": "other", "title": f"{number}"}, None, "olga").edition[
                :8
            ]
        except UserError as error:
            return error.code

    assert sorted(run_concurrently(4, write)) == ["draft_changed", "draft_changed", "draft_changed", "edition_"]
    assert len(list((service.files.styles / "drafts" / "other").iterdir())) == 1


def test_what_is_to_be_mended_is_not_published(service: StyleService) -> None:
    faulty = {"schema": 1, "id": "mine", "kind": "text", "title": "Mine", "licence": "?", "prompt": "{who} {colour}"}
    draft = service.write_draft("mine", faulty, None, "olga")
    error = refused(lambda: service.publish("mine"))
    assert error.code == "style_faults"
    assert {each["code"] for each in error.details["fields"]} == {"licence_missing", "unknown_placeholder"}
    service.write_draft("mine", faulty | {"licence": "CC0-1.0", "prompt": "{who} in a garden"}, draft.edition, "olga")
    assert service.publish("mine").version == 1


def test_a_picture_is_checked_before_it_is_published(service: StyleService, tmp_path: Path) -> None:
    draft = service.write_draft("hall", TEMPLATE, None, "olga")
    assert codes(service, "hall") == ["picture_missing"]
    (tmp_path / "new").write_bytes(picture(3))
    assert refused(lambda: service.set_picture("hall", tmp_path / "new", "HEIF", None, "olga")).code == "bad_picture"
    draft = service.set_picture("hall", tmp_path / "new", "PNG", draft.edition, "olga")
    assert len(draft.content["picture"]["sha256"]) == 64
    assert codes(service, "hall") == []
    assert refused(lambda: service.publish("hall")).code == "style_unchecked"
    checked = {"of": check_hash(service.entry(draft)), "findings": []}
    with service.ledger.database.write() as connection:
        from tasks.ledger.rows import DraftFindings
        from tasks.ledger.styles import record_findings

        record_findings(connection, DraftFindings("hall", draft.edition, checked))
        record_findings(connection, DraftFindings("hall", "older", {"of": "x", "findings": []}))
    draft = service.write_draft("hall", TEMPLATE | {"title": "Great hall"}, draft.edition, "olga")
    assert service.publish("hall", draft.edition).version == 1, "a new title needs no new look"
    entry = AvailableStyles(service.ledger, service.files).find("hall")
    assert lint.lint_picture_file(entry.picture(), entry.style) == []
    again = service.write_draft("hall", TEMPLATE, None, "olga")
    assert service.entry(again).picture() is not None, "the picture comes from the version"
    (tmp_path / "new").write_bytes(picture(4))
    service.set_picture("hall", tmp_path / "new", "PNG", again.edition, "olga")
    assert refused(lambda: service.publish("hall")).code == "style_unchecked"
    assert refused(lambda: service.set_picture("mine", tmp_path / "new", "PNG", None, "olga")).code == "unknown_style"


@pytest.mark.parametrize(
    "content",
    [
        STUDIO | {"id": "other"},
        STUDIO | {"colour": "red"},
        STUDIO | {"title": "a\0b"},
        STUDIO | {"title": "\ud800"},
        STUDIO | {"carried": {"x": None}},
        STUDIO | {"carried": {"x": float("nan")}},
        STUDIO | {"carried": {"x": "y" * 200_000}},
        STUDIO | {"carried": json.loads("[" * 900 + "]" * 900)},
        {},
    ],
)
def test_what_is_no_style_is_refused_and_nothing_is_written(service: StyleService, content: dict[str, Any]) -> None:
    assert refused(lambda: service.write_draft("mine", content, None, "olga")).code == "bad_style"
    assert list(service.ledger.drafts.list()) == []
    assert [path for path in service.files.root.rglob("*") if path.is_file()] == []


def test_a_pack_goes_out_and_comes_in_as_drafts(service: StyleService, tmp_path: Path) -> None:
    service.write_draft("mine", STUDIO, None, "olga")
    pack = service.export(["mine", "studio-warm"], tmp_path / "styles.zip")
    assert refused(lambda: service.import_drafts(pack, "olga")).code == "style_exists"
    assert [row.id for row in service.ledger.drafts.list()] == ["mine"], "all or none"
    service.delete_draft("mine")
    imported = service.import_drafts(pack, "olga")
    assert [row.id for row in imported.drafts] == ["mine", "studio-warm"]
    assert {row.content["status"] for row in imported.drafts} == {"draft"}
    assert not [path for path in service.files.styles.iterdir() if path.name.startswith(".")]


def test_a_style_toml_alone_and_the_styles_of_other_tools_come_in(service: StyleService, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('schema = 1\nid = "mine"\nkind = "studio"\ntitle = "M"\nlicence = "CC0-1.0"\n')
    error = refused(lambda: service.import_drafts(tmp_path / "mine.toml", "olga"))
    assert error.code == "bad_style"
    assert str(tmp_path) not in error.message
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.json").write_text(json.dumps({"name": "Work", "add_prompt_style": "suit", "extra": 1}))
    imported = service.import_drafts(tmp_path / "folder", "olga")
    assert [row.id for row in imported.drafts] == ["work"]
    assert {each.field for each in imported.skipped} >= {"extra"}
    assert "licence_missing" in codes(service, "work")


def test_the_sample_that_a_style_came_with_stays_on_its_card(service: StyleService, tmp_path: Path) -> None:
    (tmp_path / "styles").mkdir()
    (tmp_path / "style_image").mkdir()
    (tmp_path / "style_image" / "a.jpg").write_bytes(b"\xff\xd8\xff sample")
    style = {"name": "A", "img": "./style_image/a.jpg", "add_prompt_style": "in a garden"}
    (tmp_path / "styles" / "a.json").write_text(json.dumps(style))
    [draft] = service.import_drafts(tmp_path / "styles", "olga").drafts
    changed = service.write_draft("a", {**draft.content, "licence": "CC0-1.0"}, draft.edition, "olga")
    assert (service.entry(changed).folder / "preview.jpg").read_bytes() == b"\xff\xd8\xff sample"


def test_a_studio_style_gets_a_picture_as_its_backdrop_and_gives_it_up(service: StyleService, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(picture(1))
    first = service.write_draft("mine", STUDIO | {"credit": "me"}, None, "olga")
    assert service.is_checked(first)
    own = service.set_picture("mine", file, "PNG", first.edition, "olga")
    assert (own.content["backdrop"], own.content["picture"]["file"]) == ("", "picture.png")
    assert not service.is_checked(own), "nobody looked at it yet"
    assert refused(lambda: service.publish("mine")).code == "style_unchecked"
    soft = service.write_draft("mine", {**own.content, "blur": 0.5}, own.edition, "olga")
    entry = service.entry(soft)
    service.ledger.drafts.record_findings(
        DraftFindings("mine", soft.edition, {"of": check_hash(entry), "findings": []}, None)
    )
    pack = service.export(["mine"], tmp_path / "pack.zip")
    published = service.publish("mine")
    offered = AvailableStyles(service.ledger, service.files).find("mine")
    place = offered.picture()
    assert place is not None
    assert (place.read_bytes(), offered.style.blur) == (picture(1), 0.5)
    [back] = service.import_drafts(pack, "olga").drafts
    assert content_hash(service.entry(back)) == published.sha256
    painted = {**back.content, "backdrop": "studio-warm", "picture": None, "blur": 0.0}
    last = service.write_draft("mine", painted, back.edition, "olga")
    assert [each.name for each in service.files.draft("mine", last.edition).iterdir()] == ["style.toml"]
    assert service.is_checked(last)
    words = service.write_draft("words", {**TEXT, "id": "words"}, None, "olga")
    assert refused(lambda: service.set_picture("words", file, "PNG", words.edition, "olga")).code == "bad_style"
