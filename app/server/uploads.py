"""Bounds of uploads: photos pass through this process, and files of Streamlit's own uploader are held in its memory."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

MOST_FILE_BYTES = 80_000_000
"""Of one photo or picture, as many as the task API takes."""
SMALLEST_FILE = 64 * 1024
"""Bytes that a file counts at least, so that many empty ones are bounded too."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bytes of uploads that are held or on their way at once."""

    visitor: int = 500_000_000
    all: int = 2_000_000_000


class Uploads:
    """Counts the bytes of uploads that are held and that are on their way, for each visitor.

    `held` gives the bytes that Streamlit holds for each of its sessions.
    """

    def __init__(self, limits: UploadLimits, held: Callable[[], Mapping[str, int]]) -> None:
        self._limits, self._held = limits, held
        self._visitors: dict[str, str] = {}
        """Who uploads into which of Streamlit's sessions."""
        self._arriving: dict[str, int] = {}

    @contextmanager
    def reserve(self, session: str, visitor: str, size: int) -> Iterator[bool]:
        """Whether there is room for `size` bytes of a visitor's, which is kept until the upload has ended.

        `session`: which of Streamlit's will hold them then; empty where none will.
        """
        fits = self._fits(visitor, size)
        if fits:
            self._arriving[visitor] = self._arriving.get(visitor, 0) + size
        try:
            yield fits
        finally:
            if session:
                self._visitors[session] = visitor
            if fits:
                self._arriving[visitor] -= size
                if not self._arriving[visitor]:
                    del self._arriving[visitor]

    def _fits(self, visitor: str, size: int) -> bool:
        held = self._held()
        self._visitors = {session: id for session, id in self._visitors.items() if session in held}
        own = sum(held[session] for session, id in self._visitors.items() if id == visitor)
        own += self._arriving.get(visitor, 0) + size
        total = sum(held.values()) + sum(self._arriving.values()) + size
        return own <= self._limits.visitor and total <= self._limits.all


def held_bytes() -> dict[str, int]:
    """The bytes of uploads that Streamlit holds for each of its sessions."""
    if not runtime.exists():
        return {}
    uploaded = runtime.get_instance().uploaded_file_mgr
    if not isinstance(uploaded, MemoryUploadedFileManager):
        return {}
    sessions = list(uploaded.file_storage.items())
    return {
        session: sum(max(len(file.data), SMALLEST_FILE) for file in list(files.values())) for session, files in sessions
    }


def session_cookies(session: str) -> Mapping[str, str] | None:
    """The cookies of the browser that one of Streamlit's sessions is connected to; None for one that is not."""
    client = runtime.get_instance().get_client(session) if runtime.exists() else None
    context = None if client is None else client.client_context
    return None if context is None else context.cookies
