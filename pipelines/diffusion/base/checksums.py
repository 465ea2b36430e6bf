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
COMPANION_PREFIX = "base/"
"""How the names of text encoders and VAE of a base begin among them."""


class WeightChecksums:
    """Hashes of files that are large and do not change while they are used: each is counted once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    def sha256(self, file: Path) -> str:
        """SHA-256."""
        state = file.stat()
        key = (file, state.st_mtime_ns, state.st_size)
        if key not in self._known:
            with file.open("rb") as opened:
                self._known[key] = hashlib.file_digest(opened, "sha256").hexdigest()
        return self._known[key]

    def for_recipe(self, files: Mapping[str, Path]) -> dict[str, object]:
        """As recipes have them; `files` has names as `BASE`, `LORA`, or of models of the store with those of their files."""
        own = {name: self.sha256(files[name]) for name in (BASE, LORA) if name in files}
        rest = {name: self.sha256(file) for name, file in sorted(files.items()) if name not in own}
        return {**own, MODELS: rest} if rest else dict(own)

    def require_unchanged(self, files: Mapping[str, Path], recipe: Mapping[str, Any]) -> None:
        """Raise `OperatorError` (`model_differs`) unless the files are those that a recipe names."""
        now = self.for_recipe(files)
        if recipe.get(BASE, now.get(BASE)) != now.get(BASE):
            raise _model_differs(
                f"The base {recipe.get('base')} is another file than the one this portrait was drawn on: "
                "name that one with --base."
            )
        if recipe.get(LORA, now.get(LORA)) != now.get(LORA):
            raise _model_differs("This person was learned anew since: put back what was learned then.")
        before, after = recipe.get(MODELS, {}), now.get(MODELS, {})
        other = [name for name in before if not isinstance(after, dict) or after.get(name) != before[name]]
        if other and other[0].startswith(COMPANION_PREFIX):
            raise _model_differs(
                f"{other[0].removeprefix(COMPANION_PREFIX)} of the base {recipe.get('base')} is another file than the one this "
                "portrait was drawn with: name the base that has it with --base."
            )
        if other:
            raise _model_differs(
                f"The model file {other[0]} is another one than this portrait was drawn with: put that one back."
            )


def weight_files(model: str, folder: Path) -> dict[str, Path]:
    """The files with weights of a model of the store, as `MODEL/FILE`."""
    found = sorted(file for file in folder.rglob("*") if file.suffix in WEIGHTS and file.is_file())
    return {f"{model}/{file.relative_to(folder).as_posix()}": file for file in found}


def _model_differs(sentence: str) -> OperatorError:
    return OperatorError("model_differs", f"{sentence} Drawing again with another model gives another portrait.")
