from pathlib import Path

import pytest

from portrait.errors import OperatorError, UserError
from portrait.studio.backdrops import NAMES
from templates.catalog import Catalog
from templates.schema import group_of, parse_style, read_style

STUDIO = 'schema = 1\nid = "mine"\nkind = "studio"\ntitle = "Mine"\nbackdrop = "studio-grey"\nlicence = "CC0-1.0"\n'
BACKDROPS = {f"studio-{name}" for name in ("grey", "warm", "cool", "black", "white", "gradient", "office", "outdoors")}
BACKDROPS |= {f"studio-{name}" for name in ("blue", "rose", "sage", "canvas", "city", "seaside", "library", "bricks")}


def test_builtin_styles_are_complete() -> None:
    entries = {entry.style.id: entry for entry in Catalog().entries()}
    assert set(entries) >= BACKDROPS | {"astronaut"}
    for entry in entries.values():
        assert entry.folder.name == entry.style.id
        picture = entry.picture()
        assert picture is None or picture.is_file()
        assert entry.style.titles["zh"]
    assert entries["astronaut"].style.credit


def test_no_two_styles_have_one_title() -> None:
    styles = [entry.style for entry in Catalog().entries()]
    for language in ("en", "zh"):
        titles = [style.titles.get(language, style.title) for style in styles]
        assert sorted(titles) == sorted(set(titles))


def test_each_style_stands_in_a_group() -> None:
    groups = {entry.style.id: group_of(entry.style) for entry in Catalog().entries()}
    found = {id: groups[id] for id in ("studio-grey", "studio-city", "astronaut", "idphoto-us", "text-noir")}
    assert list(found.values()) == ["backdrop", "place", "picture", "idphoto", "words"]
    own = parse_style({**Catalog().find("studio-grey").style.model_dump(by_alias=True), "group": "place"})
    assert group_of(own) == "place"


def test_a_dozen_styles_need_no_gpu_and_each_backdrop_has_its_style() -> None:
    studios = [entry.style for entry in Catalog().entries() if entry.style.kind == "studio"]
    assert len(studios) >= 12
    assert {style.backdrop for style in studios} == set(NAMES)


def test_the_first_of_an_id_counts(tmp_path: Path) -> None:
    for folder, title in (("a", "First"), ("b", "Second")):
        (tmp_path / folder / "mine").mkdir(parents=True)
        (tmp_path / folder / "mine/style.toml").write_text(STUDIO.replace("Mine", title))
    catalog = Catalog((tmp_path / "a", tmp_path / "b"))
    assert [entry.style.title for entry in catalog.entries()] == ["First"]


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UserError, match="studio-warm") as caught:
        Catalog().find("studio-purple")
    assert caught.value.code == "unknown_style"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("studio-grey", ""), "backdrop"),
        (("schema = 1", "schema = 2"), "schema"),
        (("mine", "Not A Name"), "id"),
        (("licence", "license"), "license"),
        (('kind = "studio"', 'kind = "template"'), "picture"),
        (("CC0-1.0", ""), "licence"),
        (("title", "retouch = 7\ntitle"), "retouch"),
        (("title", "picture = { file = '../../secret.jpg' }\ntitle"), "inside"),
        (("title", "picture = { file = '/etc/passwd' }\ntitle"), "inside"),
        (("schema", "= schema"), "cannot be read"),
    ],
)
def test_what_does_not_hold_is_named(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    path = tmp_path / "style.toml"
    path.write_text(STUDIO.replace(*change, 1))
    with pytest.raises(OperatorError, match=named) as caught:
        read_style(path)
    assert caught.value.code == "bad_style"


def test_a_huge_style_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "style.toml"
    path.write_text(STUDIO + "#" * 200_000)
    with pytest.raises(OperatorError, match="larger"):
        read_style(path)


def test_a_missing_picture_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/style.toml").write_text(
        'schema = 1\nid = "x"\nkind = "template"\ntitle = "X"\npicture = { file = "a.jpg" }\nlicence = "CC0-1.0"\n'
    )
    with pytest.raises(OperatorError, match=r"a\.jpg"):
        Catalog((tmp_path,)).find("x").picture()


def test_a_style_is_read_anew_when_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr("templates.catalog.read_style", lambda path: read.append(path) or read_style(path))
    folder = tmp_path / "mine"
    folder.mkdir()
    text = 'schema = 1\nid = "mine"\nkind = "studio"\ntitle = "Mine"\nbackdrop = "studio-grey"\nlicence = "CC0-1.0"\n'
    (folder / "style.toml").write_text(text)
    catalog = Catalog((tmp_path,))
    titles = [catalog.entries()[0].style.title for _ in range(3)]
    (folder / "style.toml").write_text(text.replace("Mine", "Changed"))
    titles.append(catalog.entries()[0].style.title)
    assert titles == ["Mine"] * 3 + ["Changed"]
    assert len(read) == 2
