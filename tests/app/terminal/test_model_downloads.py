import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.terminal import model_downloads
from app.terminal.model_downloads import compiling, pull_models
from pipelines.model_store.store import ModelStore


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where nothing has been compiled yet."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    return tmp_path / "numba"


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


def test_what_is_compiled_is_not_compiled_again(started: list[Any], cache: Path) -> None:
    model_downloads.mark_compiled()
    with compiling():
        pass
    assert not started
    marker = cache / "compiled.txt"
    marker.write_text(marker.read_text().replace("numba ", "numba 0.0."))
    with compiling():
        assert started


def test_libraries_that_were_moved_or_put_anew_are_compiled_again(
    started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pymatting" / "__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(model_downloads, "find_spec", lambda name: SimpleNamespace(origin=str(package)))
    model_downloads.mark_compiled()
    assert model_downloads.is_compiled()
    os.utime(package, (1, 1))
    assert not model_downloads.is_compiled(), "put anew"
    model_downloads.mark_compiled()
    moved = package.parent.rename(tmp_path / "elsewhere") / package.name
    monkeypatch.setattr(model_downloads, "find_spec", lambda name: SimpleNamespace(origin=str(moved)))
    assert not model_downloads.is_compiled(), "moved"
    with compiling():
        assert started


def test_a_failed_download_does_not_wait_for_compiling(started: list[Any]) -> None:
    with compiling():
        pass
    with pytest.raises(OSError, match="no network"), compiling():
        raise OSError("no network")
    assert started[1].returncode != 0


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("size", [0, 238_400_000])
def test_a_pull_says_beforehand_how_much_it_fetches(size: int, capsys: pytest.CaptureFixture[str]) -> None:
    class Store:
        def download_size(self, names: Sequence[str]) -> int:
            return size

        def pull(self, names: Sequence[str], progress: object) -> tuple[()]:
            assert ("Fetching 238.4 MB" in capsys.readouterr().err) == bool(size)
            return ()

    assert pull_models(cast(ModelStore, Store()), []) == ()
