"""FaceChain's styles: one JSON file of eight fields each, in a folder that is called as the base they were made for."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from portrait.photos.names import as_text
from templates.imported import Collected, Skipped
from templates.lint import add_lora_command

MODELSCOPE = "https://modelscope.cn"
FIELDS = (
    "name", "img", "model_id", "revision", "bin_file", "multiplier_style", "multiplier_human", "add_prompt_style",
)  # fmt: skip
"""The fields of a FaceChain style."""
USUAL_STYLE, USUAL_PERSON = 0.25, 0.85
"""FaceChain's own defaults of a style's and a person's LoRA."""
SAMPLES = "style_image"
"""FaceChain's folder of sample pictures, beside its folder of styles."""
_MAX_CARRIED = 20_000
"""Characters of fields that are kept without being known."""
_TWO_NAMES = re.compile(r"(?P<own>.*?[^\x00-\x7f].*?)\s*[(（](?P<english>[\x20-\x7e]+)[)）]\s*")
"""A name with the English one in brackets behind it."""


def is_style(content: Any) -> bool:
    """Whether a parsed JSON file is a style of FaceChain's."""
    return isinstance(content, dict) and "add_prompt_style" in content


def take(path: Path, given: Mapping[str, Any], folder: Path, collected: Collected) -> None:
    """Take one style in as a text style; `folder` is the one that is imported."""
    name = str(given.get("name") or as_text(path.stem))
    two = _TWO_NAMES.fullmatch(name)
    own, title = (two["own"], two["english"]) if two else (name, name if name.isascii() else as_text(path.stem))
    base = as_text(path.parent.name) if path.parent != folder else ""
    family = "sdxl" if base.casefold().startswith("sdxl") else "sd15"
    prompt = given["add_prompt_style"]
    parts: Sequence[Any] = prompt if isinstance(prompt, list) else [prompt]
    words, loras = collected.words(
        as_text(path.name), "add_prompt_style", ", ".join(str(part) for part in parts if part)
    )
    loras = [*_lora(path, given, family, collected), *({**each, "base": family} for each in loras)]
    sample = _sample(path, given, folder)
    content: dict[str, Any] = {
        "id": collected.free_id(title),
        "kind": "text",
        "title": title[:80],
        "titles": {} if own.isascii() else {"zh": own[:80]},
        "prompt": "{who}, {traits}, " + words if words else "{who}, {traits}",
        "families": (family,),
        "strengths": {"lora": _strength(path, given, "multiplier_human", USUAL_PERSON, collected)},
        "loras": loras[:4],
        "tags": ("facechain",),
        "carried": _carried(path, given, base, collected),
    }
    _note(path, given, base, sample, collected)
    collected.add(as_text(path.name), content, sample=sample)


def _lora(path: Path, given: Mapping[str, Any], family: str, collected: Collected) -> list[dict[str, Any]]:
    """The LoRA of a style by a name that a model may have, the same for every style that has the same file."""
    names = [str(given[field]) for field in ("model_id", "bin_file") if given.get(field)]
    if not names:
        return []
    source = _lora_source(given)
    name = _model_name(names[-1], "/".join([*names, str(given.get("revision") or "")]))
    told = "/".join(names)
    why = f"the LoRA {told} is called {name} here and comes by `{add_lora_command(name, source)}`"
    collected.skipped.append(Skipped(as_text(path.name), "model_id", why))
    strength = _strength(path, given, "multiplier_style", USUAL_STYLE, collected)
    return [{"model": name, "strength": strength, "base": family, "source": source}]


def _lora_source(given: Mapping[str, Any]) -> str:
    """The address of a style's LoRA, all of which lie on ModelScope; empty where a part of it is missing."""
    repository, file = str(given.get("model_id") or ""), str(given.get("bin_file") or "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository) or not file:
        return ""
    revision = quote(str(given.get("revision") or "master"), safe="")
    address = f"{MODELSCOPE}/models/{repository}/resolve/{revision}/{quote(file)}"
    return address if len(address) <= 500 else ""


def _model_name(file: str, identity: str) -> str:
    """A name for the model store: that of the file, told apart from others of that name by what it is and where."""
    slug = re.sub(r"[^a-z0-9]+", "_", Path(file).stem.casefold()).strip("_")[:40].strip("_") or "lora"
    return f"{slug}_{hashlib.sha256(identity.encode()).hexdigest()[:6]}"


def _strength(path: Path, given: Mapping[str, Any], field: str, usual: float, collected: Collected) -> float:
    value = given.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 2:
        return float(value)
    if value is not None:
        why = f"not a strength between 0 and 2; {usual} was taken"
        collected.skipped.append(Skipped(as_text(path.name), field, why))
    return usual


def _sample(path: Path, given: Mapping[str, Any], folder: Path) -> Path | None:
    """The sample picture of a style, a JPEG by the name that it says, in FaceChain's folder of them or beside the style."""
    name = PurePosixPath(str(given.get("img") or "")).name
    for place in (path.parent, path.parent / SAMPLES, folder / SAMPLES, folder.parent / SAMPLES):
        sample = place / name
        if name.lower().endswith((".jpg", ".jpeg")) and sample.is_file() and not sample.is_symlink():
            return sample
    return None


def _note(path: Path, given: Mapping[str, Any], base: str, sample: Path | None, collected: Collected) -> None:
    """Note for the operator the fields without a counterpart here."""
    skipped = collected.skipped
    skipped.append(Skipped(as_text(path.name), "licence", "FaceChain's styles name none: write it into style.toml"))
    if base:
        why = f"made for the base {base}; kept in [carried]. Name one under bases to have it drawn on that alone"
        skipped.append(Skipped(as_text(path.name), "base", why))
    if given.get("img"):
        why = "shown on the card" if sample else "its sample picture is not here as a JPEG; kept in [carried]"
        skipped.append(Skipped(as_text(path.name), "img", why))
    if given.get("revision"):
        skipped.append(Skipped(as_text(path.name), "revision", "part of the LoRA's address; kept in [carried] too"))


def _carried(path: Path, given: Mapping[str, Any], base: str, collected: Collected) -> dict[str, Any]:
    """Unknown fields and those without a counterpart; without nulls, which TOML does not have."""
    known = set(FIELDS) - {"img", "revision"}
    rest: dict[str, Any] = {"base": base} if base else {}
    for field, value in given.items():
        if field in known:
            continue
        if len(str(rest)) + len(str(value)) > _MAX_CARRIED:
            collected.skipped.append(Skipped(as_text(path.name), field, "too long to be kept"))
            continue
        rest[field] = value
        if field not in FIELDS:
            collected.skipped.append(Skipped(as_text(path.name), field, "unknown; kept in [carried]"))
    return {"facechain": _drop_nulls(rest)} if rest else {}


def _drop_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _drop_nulls(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_drop_nulls(each) for each in value if each is not None]
    return value
