"""Downloads models for a command, while another process compiles what the engines compile once per installation."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import typer

from app.terminal.progress_bar import ProgressBar
from pipelines.model_store.pull import PullResult
from pipelines.model_store.store import ModelStore, format_size
from tasks.settings import home


def pull_models(store: ModelStore, names: Sequence[str]) -> tuple[PullResult, ...]:
    """Download models by name, without names those that the default engines need; raises what `ModelStore.pull` raises."""
    if size := store.download_size(names):
        typer.echo(f"Fetching {format_size(size)}", err=True)
    with compiling(), ProgressBar(in_bytes=True) as bar:
        return store.pull(names, bar)


@contextmanager
def compiling() -> Iterator[None]:
    """Compile matting in another process beside the block: 40 s, once for each version of what is compiled.

    A block that fails does not wait for it. Where compiling fails, the first matte does it, and says what is wrong.
    """
    if is_compiled():
        yield
        return
    command = [sys.executable, "-m", "app.terminal.engine_status", "--warm-up"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 -- our own module
    try:
        yield
        with ProgressBar() as bar:
            bar(0, 1, "Compiling matting, once per installation")
            process.wait()
    finally:
        process.terminate()
        process.wait()


def is_compiled() -> bool:
    """Whether `mark_compiled` was called since one of the libraries changed."""
    try:
        return _marker().read_text("utf-8") == _compiled_versions()
    except OSError:
        return False


def mark_compiled() -> None:
    """Note that matting is compiled, beside what the compiler keeps."""
    _marker().parent.mkdir(parents=True, exist_ok=True)
    _marker().write_text(_compiled_versions(), "utf-8")


def _marker() -> Path:
    return Path(os.environ.get("NUMBA_CACHE_DIR") or home() / "cache" / "numba") / "compiled.txt"


def _compiled_versions() -> str:
    """The libraries by version, and where pymatting lies since when: moved or installed anew it is another one to numba."""
    versions = (f"{name} {version(name)}" for name in ("numba", "numpy", "pymatting"))
    spec = find_spec("pymatting")
    origin = Path(spec.origin or "") if spec is not None else Path()
    since = origin.stat().st_mtime_ns if origin.is_file() else 0
    return " ".join([sys.version.split()[0], *versions, str(origin), str(since)])
