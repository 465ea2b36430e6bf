"""Collects the photos that a command was given: files, or folders of files."""

from collections.abc import Sequence
from pathlib import Path

from portrait.errors import UserError

MAX_PHOTOS = 200
"""Photos in one run: each is kept at 1,000 px while it is judged, 2 MB."""


def collect_photos(given: Sequence[Path]) -> list[Path]:
    """The files meant, in the order of their names; a folder stands for the files in it, hidden ones apart.

    Raises `UserError`: `no_photos` (nothing there), `too_many_photos`, `not_found`.
    """
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            found += sorted(each for each in _list_folder(path) if each.is_file() and not each.name.startswith("."))
        elif path.is_file():
            found.append(path)
        else:
            raise UserError("not_found", f"There is no photo or folder at {path}.")
    found = list(dict.fromkeys(found))
    if not found:
        where = ", ".join(str(path) for path in given)
        raise UserError("no_photos", f"There are no photos in {where}. Name a folder that holds photos of one person.")
    if len(found) > MAX_PHOTOS:
        raise UserError(
            "too_many_photos", f"{len(found)} files were given; {MAX_PHOTOS} are the most. Choose the best 20 to 40."
        )
    return found


def find_photos(names: Sequence[str], photos: Sequence[Path]) -> list[int]:
    """Where the named photos stand in the list; by file name or path. Raises `UserError` (`not_found`)."""
    places = []
    for name in names:
        here = [index for index, path in enumerate(photos) if name in (path.name, str(path))]
        if not here:
            raise UserError(
                "not_found", f"{name} is not among the photos. Give its file name as it stands in the folder."
            )
        places += here
    return places


def _list_folder(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError("not_found", f"{folder} cannot be opened: {error.strerror}.") from error
