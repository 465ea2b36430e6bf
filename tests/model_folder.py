"""A model store that is a plain folder, for engines that are tested on made networks."""

from pathlib import Path
from typing import cast

from pipelines.model_store.store import ModelStore
from portrait.errors import OperatorError


class Folder:
    """What `pipelines.model_store.store.ModelStore` answers, from a folder of MODEL/FILE."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, model: str, name: str) -> Path:
        path = self._folder / model / name
        if not path.is_file():
            raise OperatorError("missing_model", f"{name} is missing: run `portrait models pull {model}`.")
        return path

    def folder(self, model: str) -> Path:
        if self.missing(model):
            raise OperatorError("missing_model", self.missing(model)[0])
        return self._folder / model

    def missing(self, model: str) -> list[str]:
        here = (self._folder / model).is_dir()
        return [] if here else [f"{model} is missing: run `portrait models pull {model}`."]


def store(folder: Path) -> ModelStore:
    """The folder as engines take it."""
    return cast(ModelStore, Folder(folder))
