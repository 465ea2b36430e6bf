import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portrait.errors import UserError
from tasks.files import Files
from tasks.ledger.ledger import Store
from tasks.styles.available import Offered
from tasks.styles.service import Workshop
from templates import lint
from templates.catalog import Catalog
from templates.hashes import looked_at
from tests.tasks.api.desk import STUDIO, at_once, picture

TEMPLATE: dict[str, Any] = {
    "schema": 1,
    "id": "hall",
    "kind": "template",
    "title": "Hall",
    "picture": {"file": "picture.png"},
    "licence": "CC0-1.0",
    "credit": "me",
}


@pytest.fixture
def workshop(sqlite: Store, tmp_path: Path) -> Workshop:
    return Workshop(sqlite, Files(tmp_path / "data"))


def refused(act: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as caught:
        act()
    return caught.value


def codes(workshop: Workshop, id: str) -> list[str]:
    return [each.code for each in workshop.findings(workshop.draft(id))]


def test_a_draft_becomes_version_after_version_and_the_same_again_is_no_change(workshop: Workshop) -> None:
    first = workshop.write("mine", STUDIO, None, "olga")
    assert Path(workshop.files.draft("mine", first.edition) / "style.toml").is_file()
    one = workshop.publish("mine", first.edition)
    assert (one.version, one.content["status"]) == (1, "published")
    assert not workshop.files.draft("mine", first.edition).exists()
    workshop.write("mine", STUDIO, None, "olga")
    assert workshop.publish("mine") == one
    workshop.write("mine", STUDIO | {"retouch": 0.9}, None, "olga")
    two = workshop.publish("mine")
    assert two.version == 2
    offered = Offered(workshop.store, workshop.files)
    assert offered.find("mine").style.retouch == 0.9
    assert offered.find("mine", 1).style.retouch == 0.4
    workshop.retire("mine", 2)
    assert offered.find("mine").style.version == 1
    workshop.retire("mine")
    assert refused(lambda: offered.find("mine")).code == "unknown_style"
    assert offered.find("mine", 2).style.retouch == 0.9, "what was drawn with it can be drawn again"
    assert refused(lambda: workshop.retire("nobody")).code == "unknown_style"


def test_numbers_only_go_up_even_over_those_of_built_in_styles(workshop: Workshop) -> None:
    before = Catalog().find("studio-grey").style.version
    workshop.write("studio-grey", STUDIO | {"id": "studio-grey"}, None, "olga")
    assert workshop.publish("studio-grey").version == before + 1
    workshop.write("mine", STUDIO | {"version": 7}, None, "olga")
    assert workshop.publish("mine").version == 7
    workshop.retire("mine")
    workshop.write("mine", STUDIO, None, "olga")
    assert workshop.publish("mine").version == 8, "offered again it has a number of its own"
    ids = [entry.style.id for entry in Offered(workshop.store, workshop.files).entries()]
    assert "mine" in ids
    assert ids.count("studio-grey") == 1


def test_of_two_operators_at_once_one_wins(store: Store, tmp_path: Path) -> None:
    workshop = Workshop(store, Files(tmp_path / "data"))
    first = workshop.write("mine", STUDIO, None, "olga")
    second = workshop.write("mine", STUDIO | {"title": "Olga's"}, first.edition, "olga")
    for late in (first.edition, None):
        assert refused(lambda late=late: workshop.write("mine", STUDIO, late, "ivan")).code == "draft_changed"
    assert refused(lambda: workshop.publish("mine", first.edition)).code == "draft_changed"
    assert refused(lambda: workshop.remove("mine", first.edition)).code == "draft_changed"
    assert workshop.draft("mine").content["title"] == "Olga's"
    assert [each.name for each in (workshop.files.styles / "drafts" / "mine").iterdir()] == [second.edition]
    workshop.remove("mine", second.edition)
    assert refused(lambda: workshop.draft("mine")).code == "unknown_style"


def test_published_by_several_at_once_it_is_one_version(store: Store, tmp_path: Path) -> None:
    workshop = Workshop(store, Files(tmp_path / "data"))
    edition = workshop.write("mine", STUDIO, None, "olga").edition

    def publish(_: int) -> str:
        try:
            return str(workshop.publish("mine", edition).version)
        except UserError as error:
            return error.code

    assert sorted(at_once(4, publish)) == ["1", "draft_changed", "draft_changed", "draft_changed"]

    def write(number: int) -> str:
        try:
            return workshop.write("other", STUDIO | {"id": "other", "title": f"{number}"}, None, "olga").edition[:8]
        except UserError as error:
            return error.code

    assert sorted(at_once(4, write)) == ["draft_changed", "draft_changed", "draft_changed", "edition_"]
    assert len(list((workshop.files.styles / "drafts" / "other").iterdir())) == 1


def test_what_is_to_be_mended_is_not_published(workshop: Workshop) -> None:
    faulty = {"schema": 1, "id": "mine", "kind": "text", "title": "Mine", "licence": "?", "prompt": "{who} {colour}"}
    draft = workshop.write("mine", faulty, None, "olga")
    error = refused(lambda: workshop.publish("mine"))
    assert error.code == "style_faults"
    assert {each["code"] for each in error.details["fields"]} == {"licence_missing", "unknown_placeholder"}
    workshop.write("mine", faulty | {"licence": "CC0-1.0", "prompt": "{who} in a garden"}, draft.edition, "olga")
    assert workshop.publish("mine").version == 1


def test_a_picture_is_looked_at_before_it_is_published(workshop: Workshop, tmp_path: Path) -> None:
    draft = workshop.write("hall", TEMPLATE, None, "olga")
    assert codes(workshop, "hall") == ["picture_missing"]
    (tmp_path / "new").write_bytes(picture(3))
    assert refused(lambda: workshop.hang("hall", tmp_path / "new", "HEIF", None, "olga")).code == "bad_picture"
    draft = workshop.hang("hall", tmp_path / "new", "PNG", draft.edition, "olga")
    assert len(draft.content["picture"]["sha256"]) == 64
    assert codes(workshop, "hall") == []
    assert refused(lambda: workshop.publish("hall")).code == "style_unchecked"
    seen = {"of": looked_at(workshop.entry(draft)), "findings": []}
    with workshop.store.database.write() as connection:
        from tasks.ledger.drafts import hear
        from tasks.ledger.rows import DraftNews

        hear(connection, DraftNews("hall", draft.edition, seen))
        hear(connection, DraftNews("hall", "older", {"of": "x", "findings": []}))
    draft = workshop.write("hall", TEMPLATE | {"title": "Great hall"}, draft.edition, "olga")
    assert workshop.publish("hall", draft.edition).version == 1, "a new title needs no new look"
    entry = Offered(workshop.store, workshop.files).find("hall")
    assert lint.file(entry.picture(), entry.style) == []
    again = workshop.write("hall", TEMPLATE, None, "olga")
    assert workshop.entry(again).picture() is not None, "the picture comes from the version"
    (tmp_path / "new").write_bytes(picture(4))
    workshop.hang("hall", tmp_path / "new", "PNG", again.edition, "olga")
    assert refused(lambda: workshop.publish("hall")).code == "style_unchecked"
    assert refused(lambda: workshop.hang("mine", tmp_path / "new", "PNG", None, "olga")).code == "unknown_style"


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
def test_what_is_no_style_is_refused_and_nothing_is_written(workshop: Workshop, content: dict[str, Any]) -> None:
    assert refused(lambda: workshop.write("mine", content, None, "olga")).code == "bad_style"
    assert list(workshop.store.drafts.list()) == []
    assert [path for path in workshop.files.root.rglob("*") if path.is_file()] == []


def test_a_pack_goes_out_and_comes_in_as_drafts(workshop: Workshop, tmp_path: Path) -> None:
    workshop.write("mine", STUDIO, None, "olga")
    pack = workshop.export(["mine", "studio-warm"], tmp_path / "styles.zip")
    assert refused(lambda: workshop.bring(pack, "olga")).code == "style_exists"
    assert [row.id for row in workshop.store.drafts.list()] == ["mine"], "all or none"
    workshop.remove("mine")
    brought = workshop.bring(pack, "olga")
    assert [row.id for row in brought.drafts] == ["mine", "studio-warm"]
    assert {row.content["status"] for row in brought.drafts} == {"draft"}
    assert not [path for path in workshop.files.styles.iterdir() if path.name.startswith(".")]


def test_a_style_toml_alone_and_the_styles_of_other_tools_come_in(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('schema = 1\nid = "mine"\nkind = "studio"\ntitle = "M"\nlicence = "CC0-1.0"\n')
    error = refused(lambda: workshop.bring(tmp_path / "mine.toml", "olga"))
    assert error.code == "bad_style"
    assert str(tmp_path) not in error.message
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.json").write_text(json.dumps({"name": "Work", "add_prompt_style": "suit", "extra": 1}))
    brought = workshop.bring(tmp_path / "folder", "olga")
    assert [row.id for row in brought.drafts] == ["work"]
    assert {each.field for each in brought.left} >= {"extra"}
    assert "licence_missing" in codes(workshop, "work")
