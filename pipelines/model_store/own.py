"""The manifest of what an installation added by itself: `models.toml` in the folder of the store, read and written."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from pipelines.folders import atomic
from pipelines.model_store.download import Source
from pipelines.model_store.lock import LockFile
from pipelines.model_store.manifest import Manifest, Model, ModelFile, read_manifest

HEADER = "# Models that were added here by `portrait models add`. Change them by that command and `portrait models remove`.\n"


class OwnManifest:
    """Joins the shipped manifest with the installation's own, which is read again whenever it was changed."""

    def __init__(self, folder: Path, shipped: Manifest) -> None:
        self.path = folder / "models.toml"
        self._lock = LockFile(folder)
        self._shipped = shipped
        self._stamp: tuple[int, int, int] | None = None
        self._merged = shipped

    def merged(self) -> Manifest:
        """Return all models, a shipped one before an own one of its name; raises `OperatorError` (`bad_manifest`)."""
        stamp = self._read_stamp()
        if stamp != self._stamp:
            self._merged = self._join()
            self._stamp = stamp
        return self._merged

    def is_shipped(self, name: str) -> bool:
        """Whether a model comes with this program."""
        return name in self._shipped.models

    def put(self, model: Model) -> None:
        """Write one model, or write it again; raises `OperatorError` (`bad_manifest`), `OSError`."""
        self._change({model.name: model})

    def drop(self, name: str) -> None:
        """Take one model out; raises `OperatorError` (`bad_manifest`), `OSError`."""
        self._change({}, without=name)

    def _read_stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> dict[str, Model]:
        return dict(read_manifest(self.path, own=True).models) if self.path.exists() else {}

    def _join(self) -> Manifest:
        return replace(self._shipped, models={**self._shipped.models, **self._without_shipped(self._read())})

    def _without_shipped(self, models: Mapping[str, Model]) -> dict[str, Model]:
        return {name: model for name, model in models.items() if not self.is_shipped(name)}

    def _change(self, models: Mapping[str, Model], without: str = "") -> None:
        with self._lock.exclusive("models.toml"):
            kept = {**self._read(), **models}
            kept.pop(without, None)
            content = {"models": {name: _to_dict(kept[name]) for name in sorted(kept)}}
            with atomic.replace_file(self.path) as staged:
                staged.write_text(HEADER + tomli_w.dumps(content), "utf-8")


def _to_dict(model: Model) -> dict[str, Any]:
    """Return a model as the manifest has it; what is at its default is left out."""
    keys = ("purpose", "licence", "commercial", "page", "note", "kind", "family")
    parts = {key: getattr(model, key) for key in keys} | {"facts": dict(model.facts)}
    files = [
        {"name": file.name, "size": file.size, "sha256": file.sha256}
        | {"sources": [_source_to_dict(source, file) for source in file.sources]}
        for file in model.files
    ]
    return {key: part for key, part in parts.items() if part} | {"files": files}


def _source_to_dict(source: Source, file: ModelFile) -> dict[str, str]:
    parts = {"path": source.path if source.kind == "hub" and source.path != file.name else ""}
    parts |= {"revision": source.revision, "pickled": source.pickled}
    return {source.kind: source.place} | {key: part for key, part in parts.items() if part}
