import subprocess
import sys
from typing import Any

import pytest

from app.terminal import model_downloads
from app.terminal.model_downloads import compiling


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Processes that were started to compile; each sleeps instead, a moment or an hour."""
    processes: list[Any] = []
    start = subprocess.Popen

    def sleeping(command: list[str], **options: Any) -> Any:
        seconds = 3600 if processes or "--warm-up" not in command else 0.2
        processes.append(start([sys.executable, "-c", f"import time; time.sleep({seconds})"], **options))
        return processes[-1]

    monkeypatch.setattr(model_downloads.subprocess, "Popen", sleeping)
    return processes


def test_downloads_end_when_matting_is_compiled(started: list[Any]) -> None:
    with compiling():
        assert started[0].poll() is None
    assert started[0].returncode == 0


def test_a_failed_download_does_not_wait_for_compiling(started: list[Any]) -> None:
    with compiling():
        pass
    with pytest.raises(OSError, match="no network"), compiling():
        raise OSError("no network")
    assert started[1].returncode != 0
