"""Downloads models for a command: says how much it is, and shows how far it is."""

from collections.abc import Sequence

import typer

from app.terminal.progress_bar import ProgressBar
from pipelines.model_store.pull import PullResult
from pipelines.model_store.store import ModelStore, format_size


def pull_models(store: ModelStore, names: Sequence[str]) -> tuple[PullResult, ...]:
    """Download models by name, without names those that the default engines need.

    Raises what `ModelStore.pull` raises.
    """
    if size := store.download_size(names):
        typer.echo(f"Fetching {format_size(size)}", err=True)
    with ProgressBar(in_bytes=True) as bar:
        return store.pull(names, bar)
