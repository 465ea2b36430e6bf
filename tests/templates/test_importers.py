import hashlib
import json
import os
import re
from pathlib import Path

import cv2
import pytest

from portrait.errors import UserError
from templates import facechain as facechain_tool
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
    assert (style.title, style.titles) == ("Work", {"zh": "工作照"})
    assert style.carried["facechain"]["base"] == "Moonfilm"
    assert style.carried["facechain"]["cover"] == {"w": 3, "list": [1]}
    assert style.loras[0].strength == facechain_tool.USUAL_STYLE
    assert {("work.json", "cover"), ("work.json", "multiplier_style"), ("work.json", "base")} <= notes(imported)


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


COWBOY = {
    "name": "西部牛仔风(Cowboy style)",
    "img": "./style_image/Cowboy.jpg",
    "model_id": "maker/cowboy",
    "bin_file": "cowboy768.safetensors",
    "add_prompt_style": "western cowboy style",
}
JPEG = b"\xff\xd8\xff\xe0 sample"


def test_facechains_folders_say_the_base_and_keep_names_and_samples(tmp_path: Path) -> None:
    facechain(tmp_path / "given/styles/MajicmixRealistic_v6", Cowboy=COWBOY)
    facechain(tmp_path / "given/styles/sdxl_1.0", Fields={**COWBOY, "name": "田野(Fields)", "img": "../../x/Other.jpg"})
    (tmp_path / "given/style_image").mkdir()
    (tmp_path / "given/style_image/Cowboy.jpg").write_bytes(JPEG)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/Other.jpg").write_bytes(JPEG)
    imported = importers.import_styles(tmp_path / "given/styles", tmp_path / "styles")
    cowboy, fields = (entry.style for entry in imported.entries)
    assert (cowboy.id, cowboy.title, cowboy.titles) == ("cowboy-style", "Cowboy style", {"zh": "西部牛仔风"})
    assert (cowboy.families, cowboy.carried["facechain"]["base"]) == (("sd15",), "MajicmixRealistic_v6")
    assert (fields.families, fields.loras[0].base, fields.title) == (("sdxl",), "sdxl", "Fields")
    assert (tmp_path / "styles/cowboy-style/preview.jpg").read_bytes() == JPEG
    assert not (tmp_path / "styles/fields/preview.jpg").exists()
    told = {(each.source, each.field): each.why for each in imported.skipped}
    assert told["Cowboy.json", "img"] == "shown on the card"
    assert "MajicmixRealistic_v6" in told["Cowboy.json", "base"]
    assert "not here" in told["Fields.json", "img"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk", "gb18030"])
def test_text_files_are_read_in_the_encodings_that_people_have(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_bytes(json.dumps(COWBOY, ensure_ascii=False).encode(encoding))
    (tmp_path / "in/styles.csv").write_bytes(
        'name,prompt,negative_prompt\n国风,"灯笼, {prompt}",模糊\n'.encode(encoding)
    )
    imported = importers.import_styles(tmp_path / "in", tmp_path / "styles")
    assert imported.entries[0].style.titles == {"zh": "西部牛仔风"}
    lanterns = imported.entries[1].style
    assert (lanterns.titles, lanterns.prompt, lanterns.negative) == ({"zh": "国风"}, "灯笼 {who}, {traits}", "模糊")


def test_what_is_no_json_is_not_blamed_on_a_field(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'{"add_prompt_style": "a')
    with pytest.raises(UserError, match=r"x\.json: not JSON that can be read"):
        importers.import_styles(tmp_path / "x.json", tmp_path / "styles")


def test_a_styles_csv_becomes_a_style_a_row(tmp_path: Path) -> None:
    (tmp_path / "styles.csv").write_text(
        "name,prompt,negative_prompt\n"
        '"Oil","oil painting of {prompt}, <lora:Brush Work:0.7> thick strokes","photo"\n'
        '"Plain","warm light",""\n'
        '"Lines","two\nlines {odd}",""\n'
        '"--- mine ---","",""\n'
        '"Less","","blurred"\n'
    )
    imported = importers.import_styles(tmp_path / "styles.csv", tmp_path / "styles")
    oil, plain, lines, less = (entry.style for entry in imported.entries)
    assert oil.prompt == "oil painting of {who}, {traits}, thick strokes"
    assert (oil.negative, oil.families, oil.tags) == ("photo", (), ("a1111",))
    assert [(lora.model, lora.strength) for lora in oil.loras] == [("brush_work", 0.7)]
    assert plain.prompt == "{who}, {traits}, warm light"
    assert lines.prompt == "{who}, {traits}, two lines odd"
    assert (less.prompt, less.negative) == ("{who}, {traits}", "blurred")
    told = {(each.source, each.field): each.why for each in imported.skipped}
    assert "portrait models add brush_work FILE --kind lora" in told["styles.csv: Oil", "prompt"]
    assert "braces" in told["styles.csv: Lines", "prompt"]
    assert told["styles.csv: --- mine ---", ""] == "it has no words"
    assert len([each for each in imported.skipped if each.field == "licence"]) == 1
    assert {each.code for each in lint.lint_fields(plain)} == {"licence_missing"}


def test_fooocus_lists_become_styles_for_sdxl(tmp_path: Path) -> None:
    content = [
        {"name": "sai-cinematic", "prompt": "cinematic still {prompt} . emotional", "negative_prompt": "anime"},
        {"name": "Fooocus Enhance", "negative_prompt": "(worst quality:1.2)"},
    ]
    (tmp_path / "sdxl_styles_sai.json").write_text(json.dumps(content))
    imported = importers.import_styles(tmp_path, tmp_path / "styles")
    cinematic, enhance = (entry.style for entry in imported.entries)
    assert cinematic.prompt == "cinematic still {who}, {traits}. emotional"
    assert (cinematic.id, cinematic.negative, cinematic.families) == ("sai-cinematic", "anime", ("sdxl",))
    assert (enhance.prompt, enhance.negative) == ("{who}, {traits}", "(worst quality:1.2)")


def test_tags_of_networks_become_loras_or_are_told(tmp_path: Path) -> None:
    words = "a <lora:胶片:0.5>, <lora:neg:-1>, <hypernet:x:1> b <lora:a:1><lora:b:1><lora:c:1><lora:d:1>"
    style = {"name": "Film", "add_prompt_style": words}
    broken = {"name": "Odd", "add_prompt_style": "c, <lora:x:strong>, d"}
    imported = importers.import_styles(facechain(tmp_path / "in", film=style, odd=broken), tmp_path / "styles")
    film, odd = (entry.style for entry in imported.entries)
    assert film.prompt == "{who}, {traits}, a, b"
    assert re.fullmatch(r"lora_[0-9a-f]{6}", film.loras[0].model)
    assert [lora.model for lora in film.loras[1:]] == ["a", "b", "c"]
    assert (odd.prompt, odd.loras) == ("{who}, {traits}, c, d", ())
    whys = [each.why for each in imported.skipped if each.field == "add_prompt_style"]
    assert len([why for why in whys if "taken out: a style has four at most" in why]) == 2
    assert any("hypernetworks" in why for why in whys)
    assert any("'strong' is no number" in why for why in whys)


def test_what_is_cut_is_told(tmp_path: Path) -> None:
    long = {"name": "Long", "add_prompt_style": "word " * 1800, "story": "x" * 50_000}
    imported = importers.import_styles(facechain(tmp_path / "in", long=long), tmp_path / "styles")
    told = {each.field: each.why for each in imported.skipped}
    assert told["add_prompt_style"] == "too long: its last 5099 characters were cut off"
    assert told["story"] == "too long to be kept"
    assert Catalog((tmp_path / "styles",)).find("long").style.carried == {}


def test_a_second_folder_is_numbered_on_and_the_same_again_is_skipped(tmp_path: Path) -> None:
    for folder, side in (("one", 64), ("two", 80)):
        (tmp_path / folder).mkdir()
        for number in (1, 2):
            cv2.imwrite(str(tmp_path / folder / f"{number}.jpg"), selfies.astronaut()[:side, : side + number])
    first = importers.import_styles(tmp_path / "one", tmp_path / "a")
    known = {entry.style.id: entry.style for entry in first.entries}
    second = importers.import_styles(tmp_path / "two", tmp_path / "b", known)
    assert [entry.style.id for entry in second.entries] == ["1-2", "2-2"]
    named = importers.import_styles(tmp_path / "two", tmp_path / "c", known, "Summer 24")
    assert [entry.style.id for entry in named.entries] == ["summer-24-1", "summer-24-2"]
    with pytest.raises(UserError, match="here already, as 1"):
        importers.import_styles(tmp_path / "one", tmp_path / "d", known)
