"""Which model files a drawing takes, and their hashes: for recipes, and to know later whether they are still the same."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portrait.errors import OperatorError

WEIGHTS = (".safetensors", ".bin", ".pth", ".onnx")
BASE, LORA = "base_hash", "lora_hash"
"""What recipes call the hash of the base and of what was learned of the person; all others stand under `models`."""
MODELS = "models"
BESIDE = "base/"
"""How the names of text encoders and VAE of a base begin among them."""


class Prints:
    """Hashes of files that are large and do not change while they are used: each is counted once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    def of(self, file: Path) -> str:
        """SHA-256."""
        state = file.stat()
        key = (file, state.st_mtime_ns, state.st_size)
        if key not in self._known:
            with file.open("rb") as opened:
                self._known[key] = hashlib.file_digest(opened, "sha256").hexdigest()
        return self._known[key]

    def all(self, files: Mapping[str, Path]) -> dict[str, object]:
        """As recipes have them; `files` has names as `BASE`, `LORA`, or of models of the store with those of their files."""
        own = {name: self.of(files[name]) for name in (BASE, LORA) if name in files}
        rest = {name: self.of(file) for name, file in sorted(files.items()) if name not in own}
        return {**own, MODELS: rest} if rest else dict(own)

    def compare(self, files: Mapping[str, Path], drawn: Mapping[str, Any]) -> None:
        """Raise `OperatorError` (`model_differs`) unless the files are those that a recipe names."""
        now = self.all(files)
        if drawn.get(BASE, now.get(BASE)) != now.get(BASE):
            raise _differs(
                f"The base {drawn.get('base')} is another file than the one this portrait was drawn on: "
                "name that one with --base."
            )
        if drawn.get(LORA, now.get(LORA)) != now.get(LORA):
            raise _differs("This person was learned anew since: put back what was learned then.")
        before, after = drawn.get(MODELS, {}), now.get(MODELS, {})
        other = [name for name in before if not isinstance(after, dict) or after.get(name) != before[name]]
        if other and other[0].startswith(BESIDE):
            raise _differs(
                f"{other[0].removeprefix(BESIDE)} of the base {drawn.get('base')} is another file than the one this "
                "portrait was drawn with: name the base that has it with --base."
            )
        if other:
            raise _differs(
                f"The model file {other[0]} is another one than this portrait was drawn with: put that one back."
            )


def named(model: str, folder: Path) -> dict[str, Path]:
    """The files with weights of a model of the store, as `MODEL/FILE`."""
    found = sorted(file for file in folder.rglob("*") if file.suffix in WEIGHTS and file.is_file())
    return {f"{model}/{file.relative_to(folder).as_posix()}": file for file in found}


def _differs(sentence: str) -> OperatorError:
    return OperatorError("model_differs", f"{sentence} Drawing again with another model gives another portrait.")
