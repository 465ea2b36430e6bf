"""kombu's filesystem transport, messages as files in a folder, with files that appear and disappear atomically.

kombu's own writes into a file that others can already see, and moves what it takes through the machine's temporary folder.
"""

import uuid
from pathlib import Path
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

NAME = "portrait-folder"
"""The transport's name in kombu."""


class Channel(filesystem.Channel):
    """A channel that puts and takes messages by renaming files."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        folder = Path(self.data_folder_out)
        name = uuid.uuid4().hex
        staged = folder / f".{name}.part"
        try:
            staged.write_text(dumps(payload), "utf-8")
            staged.rename(folder / f"{round(monotonic() * 1000):015}_{name}.{queue}.msg")
        finally:
            staged.unlink(missing_ok=True)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for name in sorted(path.name for path in Path(self.data_folder_in).iterdir()):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = Path(self.processed_folder) / name
            try:
                Path(self.data_folder_in, name).rename(taken)
            except FileNotFoundError:
                continue  # another worker was faster
            content = taken.read_text("utf-8")
            taken.unlink(missing_ok=True)
            return loads(content)
        raise Empty


class Transport(filesystem.Transport):
    """The filesystem transport with the renaming channel."""

    Channel = Channel
