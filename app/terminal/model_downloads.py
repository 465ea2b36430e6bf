"""Downloads models for a command, while another process compiles what the engines compile once per installation."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from app.terminal.progress_bar import ProgressBar
from pipelines.model_store.pull import PullResult
from pipelines.model_store.store import ModelStore, format_size


def pull_models(store: ModelStore, names: Sequence[str]) -> tuple[PullResult, ...]:
    """Download models by name, without names those that the default engines need; raises what `ModelStore.pull` raises."""
    if size := store.download_size(names):
        typer.echo(f"Fetching {format_size(size)}", err=True)
    with compiling(), ProgressBar(in_bytes=True) as bar:
        return store.pull(names, bar)


@contextmanager
def compiling() -> Iterator[None]:
    """Compile matting in another process beside the block: 40 s once per installation, then 1 s.

    A block that fails does not wait for it. Where compiling fails, the first matte does it, and says what is wrong.
    """
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
