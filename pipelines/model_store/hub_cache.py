"""The cache that Hugging Face's programs keep: `models--ORG--NAME/snapshots/COMMIT/FILE`, links to files in `blobs`."""

import re
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file in such a cache."""

    path: Path
    commit: str
    sha256: str
    """Hash that the cache states; empty where it states none."""


def find(cache: Path, repository: str, path: str, revision: str) -> CachedFile | None:
    """The file of a repository at a branch or commit, where a cache holds it; None where it does not."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, path, cache_dir=cache, revision=revision or None)
    if not isinstance(found, str):
        return None
    snapshots = cache / f"models--{repository.replace('/', '--')}" / "snapshots"
    # Large files are links to a blob that is named by its SHA-256.
    blob = Path(found).resolve().name
    sha256 = blob if re.fullmatch(r"[0-9a-f]{64}", blob) else ""
    return CachedFile(Path(found), Path(found).relative_to(snapshots).parts[0], sha256)
