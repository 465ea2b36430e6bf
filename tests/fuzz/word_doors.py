"""Doors for words: prompts, what recipes say, the options of commands."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from app.commands import make, models
from app.terminal import controls
from pipelines.idphotos import presets
from pipelines.marks import xmp
from portrait.generation import edits, prompts, refused_words
from portrait.idphoto_spec import IdPhotoSpec
from portrait.photos.names import distinct_names, find_named
from portrait.traits import parse_traits
from templates.lint import lint_fields
from templates.schema import parse_style
from tests.fuzz.entering import Door
from tests.fuzz.mutations import TEXTS, spoilt

PROMPTS = (
    "(a portrait:1.2) of [sks man|x], <lora:film_look:0.7>, ((soft)) light, \\(plain\\)",
    "<lora:a:0.5:1>, <lora:b:te=1:unet=0.3:lbw=1,0,0.5>, [a:b:0.5] (((",
    "一个女人，(红色围巾:1.3)，十六岁, a 16 year old, s e x y",
)
NUMBERS = ("9" * 5000, "1e400", "nan", "-1", ".", "0x1", "٣", "²", "1_0", "")


def _prompt(content: bytes, folder: Path) -> None:
    text = content.decode("utf-8", "replace")
    refused_words.is_refused([text], ["Ann Example", "张三"], child=True)
    prompts.strip_weights(text)
    prompts.parse_weights(prompts.escape_plain(text))
    words, _ = prompts.take_loras(text)
    prompts.put_embeddings(words, {"film": "<film>", "a+b": "x"})
    parse_traits(text.split(","))
    studio = {"schema": 1, "id": "mine", "kind": "text", "title": "Mine", "prompt": text, "licence": "CC0-1.0"}
    lint_fields(parse_style(studio))


def _own_rule(name: str, given: Any) -> None:
    known, sized = presets.load_presets(), name == "size"
    spec = IdPhotoSpec(*given) if sized else IdPhotoSpec(kilobytes=given)
    for preset in known.preset[:3]:
        presets.apply_spec(preset, spec)


COMMANDS = {
    "face": lambda text: make.parse_faces([text]),
    "size": make.parse_size,
    "skin": make.parse_skin,
    "refine": lambda text: make.parse_refiners([text], 2),
    "strength": lambda text: make.parse_options("", "", None, (), ("", [text])),
    "option": lambda text: controls.parse_drawing_options([text], [], 0, None),
    "blocks": lambda text: controls.parse_drawing_options([], [text], 0, None),
    "hint": lambda text: controls.parse_controls([text]),
    "shape": edits.parse_shape,
    "photo size": lambda text: _own_rule("size", presets.parse_size(text)),
    "kilobytes": lambda text: _own_rule("kilobytes", presets.parse_kilobytes(text)),
    "fact": lambda text: models.parse_facts([text]),
    "gap": presets.parse_gap,
    "traits": lambda text: parse_traits([text]),
    "colour": lambda text: presets.load_presets().background_color(presets.load_presets().find("de-passport"), text),
}
WHOLE = (
    "2=anna/",
    "640,320=anna/",
    "1024x1280",
    "skin=0.5",
    "steps=8",
    "lora=1,0,0.5",
    "pose:0.8=a.jpg",
    "16:9",
    "35x45mm",
    "20-100",
    "#ff00ff",
)


def _command(given: tuple[str, bytes], folder: Path) -> None:
    COMMANDS[given[0]](given[1].decode("utf-8", "replace"))


def _names(given: tuple[list[str], str], folder: Path) -> None:
    files = [Path(f"{name}") for name in given[0]]
    assert len(distinct_names(files)) == len(files)
    find_named(given[1], files, folder)


OPTIONS: dict[str, Any] = {
    "base": "sd15",
    "identities": ["lora"],
    "strengths": {"lora": 0.8},
    "lora_weights": {"lora": [1, 0, 0.5]},
    "landmarks": [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]],
    "hints": [{"kind": "pose", "picture": "0" * 64, "strength": 1.0}],
    "steps": 8,
}


def _packet(content: bytes, folder: Path) -> None:
    for read in (xmp.recipe_of, xmp.label_of, xmp.source_of, xmp.without_recipe):
        read(content)


def doors() -> list[Door]:
    """All of them."""
    text = spoilt([each.encode() for each in PROMPTS], TEXTS)
    command = st.tuples(st.sampled_from(list(COMMANDS)), spoilt([each.encode() for each in WHOLE], (*TEXTS, *NUMBERS)))
    name = st.text(max_size=9) | st.sampled_from(
        ("a.jpg", "A.JPG", "x/a.jpg", "é.jpg", "é.jpg", "a\udcff.jpg", "/", "", "..", "a\0")
    )
    packet = xmp.packet("compositeSynthetic", {"seed": 1}, {"Label": "1"})
    return [
        Door("prompt", text, _prompt),
        Door("option of a command", command, _command, kept=(("face", b"9" * 5000),)),
        Door("names of photos", st.tuples(st.lists(name, min_size=1, max_size=4), name), _names),
        Door("XMP packet", spoilt([packet], TEXTS), _packet),
    ]
