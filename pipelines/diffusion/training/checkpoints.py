"""CheckpointStore: the checkpoints of a training run, written atomically, so that a killed worker resumes from the last."""

import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pipelines.folders import atomic
from portrait.errors import OperatorError

STATE = "state.pt"


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The work folder of a training run; it must exist, because erasing a person deletes it."""

    folder: Path
    run_id: str = ""
    """Hash of base, pictures and settings: a state of another run is not resumed."""

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the newest state; raises `OperatorError` (`cannot_write`)."""
        try:
            with atomic.replace_file(self.folder / STATE, make_folder=False) as staged, staged.open("wb") as file:
                torch.save({**state, "run_id": self.run_id}, file)
        except (OSError, RuntimeError) as error:
            raise OperatorError("cannot_write", "A checkpoint of the training cannot be written.") from error

    def load_state(self) -> dict[str, Any] | None:
        """The newest state of this run; None when there is none, or it is of another run or an older program."""
        try:
            state = torch.load(self.folder / STATE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError):
            return None
        return state if isinstance(state, dict) and state.get("run_id") == self.run_id else None

    def save_step(self, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Store the weights of a step that was validated."""
        file = self._step_file(step)
        file.parent.mkdir(exist_ok=True)
        with atomic.replace_file(file, make_folder=False) as staged:
            save_file(dict(weights), staged)

    def load_step(self, step: int) -> dict[str, torch.Tensor]:
        """The weights of a step that was validated."""
        return load_file(self._step_file(step))

    def clear(self) -> None:
        """Delete everything stored, to start over."""
        (self.folder / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "steps", ignore_errors=True)

    def _step_file(self, step: int) -> Path:
        return self.folder / "steps" / f"{step:06}.safetensors"
