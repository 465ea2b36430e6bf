"""Files of another user, for tests that run as a user whom nothing is forbidden."""

import builtins
import io
import os
from pathlib import Path
from typing import Any

import pytest


def forbid_reading(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """From now on files below `folder` cannot be opened by this process, as those of another user."""
    plain = io.open

    def guarded(file: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(file, int) and Path(os.fsdecode(file)).is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(file))
        return plain(file, *arguments, **options)

    monkeypatch.setattr(io, "open", guarded)
    monkeypatch.setattr(builtins, "open", guarded)
