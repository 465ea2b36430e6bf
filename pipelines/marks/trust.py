"""What an installation knows its own marks by. It holds no secret: the process that reads strangers' pictures may have it."""

from dataclasses import dataclass

from pipelines.marks.keys import INSTALLATION, open_keys
from pipelines.settings import MarkSettings


@dataclass(frozen=True, slots=True)
class Trust:
    """The certificates and the tag of an installation; by default of one that has made nothing yet."""

    anchors: str = ""
    """Certificates in PEM: what they signed was signed here. Empty: nothing was."""
    tag: int | None = None
    """The installation's number in invisible marks, 16 bits. None: no mark is ours."""


def of_installation(settings: MarkSettings) -> Trust:
    """Return what the installation of these settings knows its marks by; makes no keys where there are none yet.

    Raises `OperatorError` as `keys.open_keys`.
    """
    if not (settings.folder / INSTALLATION).exists():
        return Trust()
    keys = open_keys(settings)
    return Trust(keys.anchors.decode(), keys.tag)
