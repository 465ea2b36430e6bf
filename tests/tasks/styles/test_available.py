from pathlib import Path

import pytest

from portrait.errors import UserError
from tasks.files import Files
from tasks.ledger.rows import StyleRow
from tasks.styles import available
from tasks.styles.available import AvailableStyles, shows_samples
from templates.catalog import Catalog, Entry
from templates.hashes import PREVIEW


def test_without_a_ledger_the_built_in_styles_are_available(tmp_path: Path) -> None:
    styles = AvailableStyles(None, Files(tmp_path))
    assert [each.style.id for each in styles.entries()] == [each.style.id for each in Catalog().entries()]
    assert styles.find("studio-grey", 99).style.id == "studio-grey", "built-in styles have no numbers of old"
    with pytest.raises(UserError, match="studio-grey") as caught:
        styles.find("studio-purple")
    assert caught.value.code == "unknown_style"


def test_a_card_shows_samples_unless_somebody_chose_its_picture(tmp_path: Path) -> None:
    built_in = Catalog().find("studio-grey")
    assert shows_samples(built_in)
    own = Entry(built_in.style, tmp_path)
    assert shows_samples(own)
    (tmp_path / PREVIEW).write_bytes(b"chosen")
    assert not shows_samples(own)


def test_a_published_version_is_validated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    styles, content = (
        AvailableStyles(None, Files(tmp_path)),
        Catalog().find("studio-grey").style.model_dump(mode="json", by_alias=True),
    )
    parse, read = available.parse_stored, []
    monkeypatch.setattr(available, "parse_stored", lambda content, id: (read.append(id), parse(content, id))[1])
    rows = [StyleRow("grey", 1, {**content, "title": title}, "", 0.0) for title in ("Grey", "Grey", "Greyer")]
    assert [styles.entry(row).style.title for row in rows] == ["Grey", "Grey", "Greyer"]
    assert read == ["grey", "grey"], "once each content"
