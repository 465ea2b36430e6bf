"""A progress bar on stderr; nothing where stderr is no terminal."""

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

if TYPE_CHECKING:
    from portrait.arrays import Image  # brings numpy, which commands load only when they work


class ProgressBar:
    """Fits `portrait.ports.Progress`; used as a context."""

    def __init__(self, in_bytes: bool = False) -> None:
        count = DownloadColumn() if in_bytes else MofNCompleteColumn()
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), count)
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("Starting", total=None)

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int, doing: str, preview: "Image | None" = None) -> None:
        """Show how far it is; names are cut so that the line stays one line."""
        words = " ".join(doing.split())
        words = words if len(words) <= 60 else f"{words[:59]}…"
        self._bar.update(self._task, completed=done, total=total or None, description=words)
