"""WeightChecksums: SHA-256 of the model files an image was made with, for recipes, and to check them later."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from portrait.errors import OperatorError

WEIGHTS = (".safetensors", ".gguf", ".bin", ".pth", ".onnx")
BASE, LORA = "base_hash", "lora_hash"
"""Recipe keys for the hashes of the base and of the person's LoRA; all others stand under `models`."""
MODELS = "models"
COMPANION_PREFIX = "base/"
"""Prefix of the names of a base's text encoders and VAE among them."""


CHUNK = 1 << 20

Files: TypeAlias = Mapping[str, Path | Sequence[Path]]
"""Weight files by name; several where weights are in parts."""


def sha256(files: Sequence[Path]) -> str:
    """SHA-256 of the contents of files, one after the other, as hex; of one file it is that file's."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


class WeightChecksums:
    """Hashes of large files, each computed once as long as its size and time of change stay the same."""

    def __init__(self) -> None:
        self._cache: dict[tuple[tuple[Path, int, int], ...], str] = {}

    def sha256(self, files: Path | Sequence[Path]) -> str:
        """SHA-256 of a file or of weights in parts, as hex."""
        files = [files] if isinstance(files, Path) else files
        key = tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
        if key not in self._cache:
            self._cache[key] = sha256(files)
        return self._cache[key]

    def for_recipe(self, files: Files) -> dict[str, object]:
        """Hashes as recipes store them; `files` by `BASE`, `LORA`, or `MODEL/FILE` as `weight_files` names them."""
        top: dict[str, object] = {name: self.sha256(files[name]) for name in (BASE, LORA) if name in files}
        rest = {name: self.sha256(file) for name, file in sorted(files.items()) if name not in top}
        return {**top, MODELS: rest} if rest else top

    def require_unchanged(self, files: Files, recipe: Mapping[str, Any]) -> None:
        """Raise `OperatorError` (`model_differs`) unless the files are those that a recipe names."""
        current = self.for_recipe(files)
        if recipe.get(BASE, current.get(BASE)) != current.get(BASE):
            raise _model_differs(
                f"The base {recipe.get('base')} is another file than the one this portrait was drawn on: "
                "name that one with --base."
            )
        if recipe.get(LORA, current.get(LORA)) != current.get(LORA):
            raise _model_differs("This person was learned anew since: put back what was learned then.")
        before, after = recipe.get(MODELS, {}), current.get(MODELS, {})
        other = [name for name in before if not isinstance(after, dict) or after.get(name) != before[name]]
        if other and recipe.get("vae") and other[0].startswith(f"{COMPANION_PREFIX}vae/"):
            raise _model_differs(
                f"The VAE {recipe['vae']} is another file than the one this portrait was drawn with: put that one back."
            )
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
    """The weight files of a model in the store, by `MODEL/FILE`."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in WEIGHTS and file.is_file())
    return {f"{model}/{file.relative_to(folder).as_posix()}": file for file in files}


def _model_differs(sentence: str) -> OperatorError:
    return OperatorError("model_differs", f"{sentence} Drawing again with another model gives another portrait.")
