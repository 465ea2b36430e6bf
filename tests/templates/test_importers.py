import hashlib
import json
import os
import re
from pathlib import Path

import cv2
import pytest

from portrait.errors import UserError
from templates import importers, lint
from templates.catalog import Catalog
from tests import selfies

STYLE = {
    "name": "Film grain",
    "img": "./style_image/film.jpg",
    "model_id": "someone/film-grain",
    "revision": "v1.0",
    "bin_file": "film.safetensors",
    "multiplier_style": 0.3,
    "multiplier_human": 0.9,
    "add_prompt_style": "film grain, warm light, garden",
}


def facechain(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return folder


def notes(imported: importers.ImportResult) -> set[tuple[str, str]]:
    return {(each.source, each.field) for each in imported.skipped}


def test_facechains_eight_fields_become_a_text_style(tmp_path: Path) -> None:
    imported = importers.import_styles(facechain(tmp_path / "in", film=STYLE), tmp_path / "styles")
    (entry,) = Catalog((tmp_path / "styles",)).entries()
    style = entry.style
    assert entry == imported.entries[0]
    assert (style.id, style.kind, style.title, style.status) == ("film-grain", "text", "Film grain", "draft")
    assert style.prompt == "{who}, {traits}, film grain, warm light, garden"
    assert style.strengths == {"lora": 0.9}
    (lora,) = style.loras
    assert (lora.strength, lora.base) == (0.3, "sd15")
    assert lora.source == "https://modelscope.cn/models/someone/film-grain/resolve/v1.0/film.safetensors"
    assert re.fullmatch(r"film_[0-9a-f]{6}", lora.model)
    (told,) = [each.why for each in imported.skipped if each.field == "model_id"]
    assert f"portrait models add {lora.model} {lora.source} --kind lora" in told
    assert style.carried == {"facechain": {"img": "./style_image/film.jpg", "revision": "v1.0"}}
    assert notes(imported) == {(f"{'film'}.json", field) for field in ("licence", "img", "revision", "model_id")}
    assert {each.code for each in lint.lint_fields(style)} == {"licence_missing"}


def test_unknown_fields_are_carried_and_listed(tmp_path: Path) -> None:
    odd = {
        **STYLE,
        "name": "工作照(Work)",
        "cover": {"w": 3, "none": None, "list": [1, None]},
        "multiplier_style": "strong",
    }
    imported = importers.import_styles(facechain(tmp_path / "in" / "Moonfilm", work=odd).parent, tmp_path / "styles")
    style = Catalog((tmp_path / "styles",)).find("work").style
    assert style.titles == {"zh": "工作照(Work)"}
    assert style.carried["facechain"]["cover"] == {"w": 3, "list": [1]}
    assert style.loras[0].strength == importers.USUAL_STYLE
    assert {("work.json", "cover"), ("work.json", "multiplier_style")} <= notes(imported)


def test_a_style_without_a_lora_and_with_a_prompt_in_parts_is_read(tmp_path: Path) -> None:
    plain = {"name": "Default", "model_id": None, "add_prompt_style": ["raw photo", "", "{simple} background"]}
    imported = importers.import_styles(facechain(tmp_path / "in", default=plain) / "default.json", tmp_path / "styles")
    style = imported.entries[0].style
    assert style.loras == ()
    assert style.prompt == "{who}, {traits}, raw photo, simple background"
    assert ("default.json", "add_prompt_style") in notes(imported)


def test_loras_of_one_file_have_one_name_and_others_another(tmp_path: Path) -> None:
    given = {"a": STYLE, "b": STYLE, "c": {**STYLE, "revision": "v2.0"}, "d": {**STYLE, "model_id": "other/film"}}
    given["e"] = {**STYLE, "model_id": "x/../../y", "bin_file": "a b/胶片.safetensors"}
    imported = importers.import_styles(facechain(tmp_path / "in", **given), tmp_path / "styles")
    names = [entry.style.loras[0].model for entry in imported.entries]
    assert (names[0] == names[1], len(set(names))) == (True, 4)
    assert all(re.fullmatch(r"[a-z0-9_]{1,60}", name) for name in names)
    assert imported.entries[4].style.loras[0].source == ""


def test_two_styles_of_one_name_get_two_ids(tmp_path: Path) -> None:
    imported = importers.import_styles(facechain(tmp_path / "in", a=STYLE, b=STYLE), tmp_path / "styles")
    assert [entry.style.id for entry in imported.entries] == ["film-grain", "film-grain-2"]


def test_easyphotos_pictures_become_template_styles(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "Space Suit.jpg"), cv2.cvtColor(selfies.astronaut(), cv2.COLOR_RGB2BGR))
    (tmp_path / "in" / "fake.jpeg").write_bytes(b"GIF89a")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    (tmp_path / "in" / "link.jpg").symlink_to("/etc/passwd")
    imported = importers.import_styles(tmp_path / "in", tmp_path / "styles")
    entry = Catalog((tmp_path / "styles",)).find("space-suit")
    place = entry.picture()
    assert place
    content = (tmp_path / "in" / "Space Suit.jpg").read_bytes()
    assert place.read_bytes() == content
    assert entry.style.picture
    assert entry.style.picture.sha256 == hashlib.sha256(content).hexdigest()
    assert (entry.style.kind, entry.style.title, entry.style.status) == ("template", "Space Suit", "draft")
    assert notes(imported) == {("Space Suit.jpg", "licence"), ("fake.jpeg", ""), ("notes.txt", "")}
    assert {each.code for each in lint.lint_fields(entry.style)} == {"licence_missing", "credit_missing"}


def test_what_is_there_stays_and_nothing_is_half_imported(tmp_path: Path) -> None:
    importers.import_styles(facechain(tmp_path / "in", b=STYLE), tmp_path / "styles")
    second = facechain(tmp_path / "more", a={**STYLE, "name": "Another"}, b=STYLE)
    with pytest.raises(UserError, match="already"):
        importers.import_styles(second, tmp_path / "styles")
    assert os.listdir(tmp_path / "styles") == ["film-grain"]  # noqa: PTH208 -- hidden ones count


@pytest.mark.parametrize(
    "content",
    [b"", b"[1]", b"\xff\xfe", b'{"name": "x"}', b"[" * 200_000, b'{"add_prompt_style": "' + b"x" * 1_100_000],
)
def test_files_that_are_no_styles_are_listed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.json") as caught:
        importers.import_styles(tmp_path / "x.json", tmp_path / "styles")
    assert caught.value.code == "nothing_to_import"
    assert not (tmp_path / "styles").exists()


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing at"):
        importers.import_styles(tmp_path / "gone", tmp_path / "styles")
