"""The cache that Hugging Face's programs keep: `models--ORG--NAME/snapshots/COMMIT/FILE`, links to files in `blobs`."""

import re
from pathlib import Path

_REPOSITORY = re.compile(r"(?:^|/)models--([^/]+)/(blobs|refs|snapshots)/(?:[^/]+/)?(.*)$")


def is_bookkeeping(path: Path) -> bool:
    """Whether a file in such a cache is one that the links lead to, or the name of a commit: no file of a model by itself."""
    found = _REPOSITORY.search(path.absolute().as_posix())
    return found is not None and found[2] != "snapshots"


def published(path: Path) -> tuple[str, str] | None:
    """The repository and the place in it of a file in such a cache; None for any other file.

    Links are not followed: where they lead, files are named after their hashes.
    """
    found = _REPOSITORY.search(path.absolute().as_posix())
    if found is None or found[2] != "snapshots":
        return None
    return found[1].replace("--", "/", 1), found[3]
