"""Names that no two photos share, and which photo a person means by one: two of one name, odd letters, other spellings."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath


def distinct_names(paths: Sequence[PurePath]) -> list[str]:
    """The name of each file, with as many of its folders before it as it takes to tell it from the others.

    Letters that no text can hold, of names that are not UTF-8, become `�`. One path that stands twice has one name.
    """
    names = {path: as_text(path.name) for path in paths}
    depth = 1
    while (shared := _shared(names)) and depth < max(len(path.parts) for path in shared):
        depth += 1
        names |= {path: as_text("/".join(path.parts[-depth:])) for path in shared}
    for path in _shared(names):  # they differ in nothing that can be shown
        taken = set(names.values())
        shown = as_text(path.name)
        numbered = (f"{shown} ({number})" for number in range(2, len(names) + 2))
        names[path] = next(each for each in (shown, *numbered) if each not in taken)
    return [names[path] for path in paths]


def find_named(name: str, paths: Sequence[PurePath], folder: PurePath) -> list[int]:
    """Which of the paths a name means: a whole path (relative ones begin in `folder`), the end of one, or as it is shown.

    Only where that finds none do the forms of Unicode and the case of letters count for nothing. Several, where it does not
    say which.
    """
    given = PurePath(name)
    whole = [index for index, path in enumerate(paths) if folder / path == folder / given]
    if whole or given.is_absolute():
        return whole
    shown = distinct_names(paths)
    for spelling in (str, _folded):
        parts = [spelling(part) for part in given.parts]
        found = [
            index
            for index, path in enumerate(paths)
            if spelling(shown[index]) == spelling(name)
            or (parts and [spelling(part) for part in path.parts[-len(parts) :]] == parts)
        ]
        if found:
            return found
    return []


def _shared(names: dict[PurePath, str]) -> list[PurePath]:
    """The paths whose name another one has too."""
    counts = Counter(names.values())
    return [path for path, name in names.items() if counts[name] > 1]


def as_text(name: str) -> str:
    """A name of the file system as text: of its bytes that are not UTF-8, which come as single surrogates, `�` is made."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
