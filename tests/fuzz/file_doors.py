"""Doors for files that are no pictures: styles, packs, styles of other tools, manifests, weights, settings, sets."""

import hashlib
import io
import json
import shutil
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from hypothesis import strategies as st

from pipelines.diffusion.base.loras import reader
from pipelines.folders import identities, training_sets
from pipelines.model_store import detection, manifest, safetensors_file
from tasks.settings import load_installation
from templates import importers, lint, packs, schema
from templates.catalog import BUILTIN
from tests import selfies
from tests.fuzz.entering import Door
from tests.fuzz.mutations import TEXTS, TREES, altered, spoilt, to_json
from tests.pipelines.model_store.test_add import SINGLE, WHAT

JPEG = selfies.jpeg(np.asarray(selfies.astronaut()[::8, ::8]))
STYLES = [file.read_bytes() for file in sorted(BUILTIN.glob("*/style.toml"))[::6]]
MANIFEST: dict[str, Any] = {
    "models": {
        "mine": {
            "purpose": "a look",
            "licence": "MIT",
            "commercial": "yes",
            "kind": "lora",
            "family": "sd15",
            "facts": {"steps": 8, "trigger": "x"},
            "files": [
                {
                    "name": "a/mine.safetensors",
                    "size": 10,
                    "sha256": "0" * 64,
                    "sources": [{"hub": "org/name", "path": "mine.safetensors", "revision": "0" * 40}],
                }
            ],
        }
    }
}
SETTINGS: dict[str, Any] = {
    "profile": "research",
    "engines": {"faces": "scrfd"},
    "prepare": {"most": 12, "white": True},
    "draw": {"base": "sd15", "identities": ["lora"]},
    "bases": {"own": {"place": "/x", "family": "sd15"}},
    "models": {"use": "any", "hub": "https://hub.example"},
    "marks": {"label": "AI"},
    "tasks": {"broker": "redis://x", "quotas": {"jobs": 3}, "webhooks": {"networks": ["10.0.0.0/8"]}},
}
FACECHAIN = {
    "name": "Gown",
    "img": "gown.jpg",
    "model_id": "a/b",
    "base_model_index": 0,
    "bin_file": "gown.safetensors",
    "multiplier_style": 0.35,
    "multiplier_human": 0.95,
    "add_prompt_style": "(gown:1.2), <lora:x:0.5>",
}
FOOOCUS = [{"name": "a", "prompt": "{prompt} in oil", "negative_prompt": "<lora:b:1>"}, {"name": "b", "prompt": "x"}]
CSV = 'name,prompt,negative_prompt\r\nfirst,"a, {prompt}",bad\r\n第二,<lora:x:0.8> 好,\r\n'.encode()
SET: dict[str, Any] = {
    "schema": 1,
    "crops": [{"file": "crops/0001.png", "caption": "a", "source": "a.jpg"}],
    "references": [],
    "likeness": {"dlib": [0.1, 0.2]},
    "photos": [{"file": "a.jpg", "verdict": "use", "reasons": [], "quality": None}],
    "trigger": "sks",
    "class_word": "man",
    "traits": {"glasses": "with glasses"},
    "questions": [{"person": ["a.jpg"], "unsure": ["b.jpg"], "signs": ["age"]}],
}
IDENTITY: dict[str, Any] = {
    "schema": 1,
    "id": "0" * 16,
    "created": "2026-01-01",
    "base": {"name": "sd15"},
    "trigger": "sks",
    "class_word": "man",
    "rank": 4,
    "steps": 10,
    "settings": {"lora": True},
    "likeness": {"dlib": [0.1]},
    "notes": [],
}


def toml(tree: Any) -> bytes:
    """A tree as TOML; as JSON where TOML cannot say it."""
    try:
        return tomli_w.dumps(tree).encode()
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return to_json(tree)


def _write(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def _style(content: bytes, folder: Path) -> None:
    style = schema.read_style(_write(folder, "style.toml", content))
    lint.lint_fields(style)
    schema.write_checked(style, folder / "again.toml")


def _written_style(tree: Any, folder: Path) -> None:
    style = schema.parse_style(tree)
    schema.write_checked(style, folder / "style.toml")


def _zip(files: dict[str, bytes], listed: Any) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("pack.json", to_json(listed))
        for name, each in files.items():
            pack.writestr(name, each)
    return content.getvalue()


def _pack(style: bytes, more: dict[str, bytes]) -> bytes:
    files = {"mine/style.toml": style, **more}
    listed = {name: {"sha256": hashlib.sha256(each).hexdigest(), "bytes": len(each)} for name, each in files.items()}
    return _zip(files, {"format": "portrait-styles", "schema": 1, "files": listed})


def _import_pack(content: bytes, folder: Path) -> None:
    target = folder / "styles"
    try:
        packs.import_pack(_write(folder, "styles.zip", content), target)
    finally:
        left = [path.name for path in target.glob(".*")]
        shutil.rmtree(target, ignore_errors=True)
    assert not left, f"{left} stay behind"


def _import_styles(given: tuple[str, bytes], folder: Path) -> None:
    name, content = given
    source, target = folder / "other", folder / "imported"
    shutil.rmtree(source, ignore_errors=True)
    _write(source, "gown.jpg", JPEG)
    _write(source, name, content)
    try:
        importers.import_styles(source, target)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _manifest(content: bytes, folder: Path) -> None:
    manifest.read_manifest(_write(folder, "models.toml", content), own=True)


def weights(header: Any, data: bytes = bytes(64)) -> bytes:
    """A safetensors file."""
    content = to_json(header)
    return len(content).to_bytes(8, "little") + content + data


LORA = {
    "__metadata__": {"ss_network_dim": "2", "lora_adapter_metadata": '{"unet.lora_alpha": 4}'},
    "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": {
        "dtype": "F32",
        "shape": [2, 4],
        "data_offsets": [0, 32],
    },
    "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": {
        "dtype": "F32",
        "shape": [4, 2],
        "data_offsets": [32, 64],
    },
}
HEADERS = [
    {name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 64]} for name, (dtype, shape) in headers.items()}
    for headers, *_ in WHAT.values()
]
"""Headers of every kind that is told from its names and shapes."""

LONG = (b"a = " + b"[" * 3000, b"a = " + b"{a = " * 3000, b"a = " + b"9" * 5000)
"""TOML that is nested deeper, and numbers that are longer, than Python reads."""
NO_NUMBER = ("gown.json", json.dumps({**FACECHAIN, "img": float("inf")}).encode())
HALF_A_LETTER = ("gown.json", json.dumps({**FACECHAIN, "\ud800": 1}).encode())
ENDLESS = weights({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, float("inf")]}})
EMPTY = weights(
    {
        SINGLE.format(side): {"dtype": "F32", "shape": shape, "data_offsets": [0, 64]}
        for side, shape in (("down", [4, 0]), ("up", [4, 2]))
    }
)
TOO_LARGE = tuple({**IDENTITY, "likeness": {"dlib": each}} for each in ([10**400], [3.5e38], 3.5e38))


def _weights(content: bytes, folder: Path) -> None:
    file = _write(folder, "mine.safetensors", content)
    tensors = safetensors_file.read_header(file)
    detection.detect(tensors)
    safetensors_file.check_numbers(file, tensors)


def _lora(content: bytes, folder: Path) -> None:
    file = _write(folder, "mine.safetensors", content)
    try:
        reader.read_lora(file)
    except reader.LoraError as error:
        raise error.of_file(file) from error


def _settings(given: tuple[bytes, dict[str, str]], folder: Path) -> None:
    content, variables = given
    _write(folder, "portrait.toml", content)
    load_installation({**variables, "PORTRAIT_HOME": str(folder)})


def _set(tree: Any, folder: Path) -> None:
    _write(folder / "set", "set.json", to_json(tree))
    training_sets.read_enlarged(folder / "set")
    training_sets.read_reference_names(folder / "set")
    training_sets.read_traits(folder / "set")
    training_sets.find_crop(folder / "set", "a.jpg")
    training_sets.read_mean(folder / "set")
    training_sets.read(folder / "set")


def _identity(tree: Any, folder: Path) -> None:
    _write(folder / "identity", "identity.json", to_json(tree))
    _write(folder / "identity", "lora.safetensors", b"x")
    identities.list_identities(folder)
    stored = identities.read(folder / "identity")
    json.dumps(stored.description)


def doors() -> list[Door]:
    """All of them."""
    style = spoilt(STYLES, TEXTS)
    pack = st.builds(
        _pack, st.sampled_from(STYLES) | style, st.dictionaries(_names(), st.sampled_from((JPEG, b"x")), max_size=2)
    )
    others: st.SearchStrategy[tuple[str, bytes]] = st.one_of(
        st.tuples(st.just("gown.json"), altered([FACECHAIN, FOOOCUS]).map(to_json)),
        st.tuples(st.just("gown.json"), spoilt([json.dumps(FOOOCUS).encode(), json.dumps(FACECHAIN).encode()], TEXTS)),
        st.tuples(
            st.just("styles.csv"), spoilt([CSV, CSV.decode().encode("utf-16"), CSV.decode().encode("gbk")], TEXTS)
        ),
        st.tuples(_names(), spoilt([JPEG])),
    )
    names = st.sampled_from(
        ("PORTRAIT_PREPARE__MOST", "PORTRAIT_X", "PORTRAIT_MODELS", "PORTRAIT_TASKS__QUOTAS__JOBS", "HF_HOME")
    )
    variables = st.dictionaries(names | st.text(max_size=5).map("PORTRAIT_".__add__), st.text(max_size=9), max_size=2)
    return [
        Door("style", style, _style, kept=LONG),
        Door("style of a request", altered([_tree(each) for each in STYLES]), _written_style, share=0.5),
        Door("pack of styles", pack | spoilt([_pack(STYLES[0], {"mine/picture.jpg": JPEG})]), _import_pack, share=0.5),
        Door("styles of other tools", others, _import_styles, kept=(HALF_A_LETTER, NO_NUMBER)),
        Door("manifest", altered([MANIFEST]).map(toml) | spoilt([toml(MANIFEST)], TEXTS), _manifest, kept=LONG),
        Door(
            "weights", altered([LORA, *HEADERS]).map(weights) | spoilt([weights(LORA)]), _weights, kept=(ENDLESS, EMPTY)
        ),
        Door("LoRA", altered([LORA, *HEADERS]).map(weights) | spoilt([weights(LORA)]), _lora),
        Door(
            "settings",
            st.tuples(altered([SETTINGS]).map(toml) | spoilt([toml(SETTINGS)], TEXTS), variables),
            _settings,
            share=0.3,
            kept=(*((each, {}) for each in LONG), (b"", {"HF_HOME": "~0"})),
        ),
        Door("training set", altered([SET]) | TREES, _set, share=0.5),
        Door("identity", altered([IDENTITY]) | TREES, _identity, share=0.5, kept=TOO_LARGE),
    ]


def _tree(content: bytes) -> Any:
    return tomllib.loads(content.decode())


def _names() -> st.SearchStrategy[str]:
    """Names of files as zips of others have them."""
    some = st.sampled_from(("mine/a.jpg", "a.jpg", "b/c/d.jpg", "mine/x.sh", "é.jpg", "mine/style.toml", "a.csv"))
    any_name = st.text("ab/.\\", min_size=1, max_size=8)
    return some | any_name.filter(lambda name: bool(Path(name).name) and name[0] != "/" and ".." not in name)
