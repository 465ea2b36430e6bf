"""Checkpoints of a lesson: written whole or not at all, so that a killed worker goes on from the last one."""

import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from portrait.errors import OperatorError

STATE = "state.pt"


@dataclass(frozen=True, slots=True)
class Desk:
    """The folder of a lesson; it must be there, because whoever erases a person takes it away."""

    folder: Path
    lesson: str = ""
    """What a state must belong to, to be gone on from."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the newest state; raises `OperatorError` (`cannot_write`)."""
        staged = self.folder / f".{STATE}.part"
        try:
            with staged.open("wb") as file:
                torch.save({**state, "lesson": self.lesson}, file)
                file.flush()
                os.fsync(file.fileno())
            staged.replace(self.folder / STATE)
        except (OSError, RuntimeError) as error:
            raise OperatorError("cannot_write", "A checkpoint of the training cannot be written.") from error

    def load(self) -> dict[str, Any] | None:
        """The newest state of this very lesson; None when there is none, or it is of another or of an older program."""
        try:
            state = torch.load(self.folder / STATE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError):
            return None
        return state if isinstance(state, dict) and state.get("lesson") == self.lesson else None

    def keep(self, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the weights of a step that was looked at."""
        place = self._step(step)
        place.parent.mkdir(exist_ok=True)
        staged = place.with_suffix(".part")
        save_file(dict(weights), staged)
        staged.replace(place)

    def kept(self, step: int) -> dict[str, torch.Tensor]:
        """The weights of a step that was looked at."""
        return load_file(self._step(step))

    def clear(self) -> None:
        """Begin anew."""
        (self.folder / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "steps", ignore_errors=True)

    def _step(self, step: int) -> Path:
        return self.folder / "steps" / f"{step:06}.safetensors"
