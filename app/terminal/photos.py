"""Collects the photos that a command was given: files, zips, or folders with all that lies below them."""

import os
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.terminal.tables import print_line
from pipelines.image_io import MAX_BYTES, PICTURE_SUFFIXES
from portrait.errors import UserError
from portrait.photos.names import distinct_names, find_named

MAX_PHOTOS = 200
"""Photos in one run: each is kept at 1,000 px while it is judged, 2 MB."""
MAX_UNPACKED = 2_000_000_000
"""Bytes of the pictures of one zip at most."""
OURS = ("set.json", "identity.json", "portraits.json")
"""What marks a folder that was written by a command: what lies in it is no photo that was taken."""
_ASIDE = ("__MACOSX", "@eaDir")
"""Folders of thumbnails and notes that file systems leave behind."""
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")


@dataclass(frozen=True, slots=True)
class CollectedPhotos:
    """The photos that were meant, in the order of their names folder by folder, and what was passed over."""

    files: list[Path]
    passed_over: Mapping[str, int]
    """How many files of folders and zips are no pictures, by the ending of their names."""


def print_passed_over(passed_over: Mapping[str, int]) -> None:
    """Say what was passed over, by the ending of names, in one line; nothing where nothing was."""
    if passed_over:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed_over.items()))
        print_line(f"Passed over, as no pictures: {kinds}.", soft_wrap=True)


@contextmanager
def collect_photos(given: Sequence[Path]) -> Iterator[CollectedPhotos]:
    """The files meant; those of zips lie in a temporary folder until the end. Hidden files and folders are left alone.

    Raises `UserError`: `no_photos` (nothing there), `too_many_photos`, `not_found`.
    """
    found: list[Path] = []
    passed_over: Counter[str] = Counter()
    with ExitStack() as stack:
        for path in given:
            if path.is_dir():
                files = list(_walk(path))
            elif path.is_file():
                files = [path]
            else:
                raise UserError("not_found", f"There is no photo or folder at {path}.")
            for file in files:
                if file.suffix.lower() == ".zip":
                    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="portrait-photos-"))
                    found += _unpack(file, Path(folder) / file.stem, passed_over)
                elif path == file or _is_picture(file):
                    found.append(file)
                else:
                    passed_over[_kind(file)] += 1
        yield CollectedPhotos(_checked(list(dict.fromkeys(found)), given, passed_over), dict(passed_over))


def find_photos(names: Sequence[str], photos: Sequence[Path]) -> list[int]:
    """Where the named photos stand in the list; by path, file name, or as it is shown.

    Raises `UserError`: `not_found`, `which_photo` where a name could mean several.
    """
    places = []
    for name in names:
        here = find_named(name, photos, Path.cwd())
        if not here:
            raise UserError(
                "not_found", f"{name} is not among the photos. Give its file name as it stands in the folder."
            )
        if len(here) > 1:
            shown = distinct_names(photos)
            which = " or ".join(shown[index] for index in here[:4])
            raise UserError("which_photo", f"{name} could be {which}. Give the folder too.")
        places += here
    return places


def _checked(found: list[Path], given: Sequence[Path], passed_over: Mapping[str, int]) -> list[Path]:
    if not found:
        where = ", ".join(str(path) for path in given)
        beside = f" {sum(passed_over.values())} other files are there." if passed_over else ""
        kinds = ", ".join(sorted(kind.lstrip(".") for kind in PICTURE_SUFFIXES))
        raise UserError(
            "no_photos",
            f"There are no photos in {where}.{beside} Name a folder that holds photos of one person: {kinds}, or a zip.",
        )
    if len(found) > MAX_PHOTOS:
        raise UserError(
            "too_many_photos", f"{len(found)} photos were given; {MAX_PHOTOS} are the most. Choose the best 20 to 40."
        )
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """The files of a folder and all below it, by name; links to folders are not followed."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError("not_found", f"{folder} cannot be opened: {error.strerror}.") from error
    shown = [each for each in entries if not each.name.startswith(".")]
    yield from (each for each in shown if each.is_file())
    for each in shown:
        is_ours = any((each / name).is_file() for name in OURS)
        if each.is_dir() and not each.is_symlink() and each.name not in _ASIDE and not is_ours:
            yield from _walk(each)


def _kind(path: Path) -> str:
    return path.suffix.lower() or "without an ending"


def _is_picture(path: Path) -> bool:
    """Whether a file is called as pictures are; or looks like one, where its name has no ending."""
    if path.suffix:
        return path.suffix.lower() in PICTURE_SUFFIXES
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(_SIGNATURES) or start[4:8] == b"ftyp" or (start[:4], start[8:]) == (b"RIFF", b"WEBP")


def _unpack(packed: Path, folder: Path, passed_over: Counter[str]) -> list[Path]:
    """The pictures of a zip, unpacked into a folder; raises `UserError` (`no_photos`) for one that cannot be read."""
    files: list[Path] = []
    left = MAX_UNPACKED
    try:
        with zipfile.ZipFile(packed) as archive:
            for entry in archive.infolist():
                inner = PurePosixPath(_name(entry))
                # A name may be empty, or be cut to nothing where it has a zero.
                if inner.name[:1] in ("", ".") or entry.is_dir() or any(part in _ASIDE for part in inner.parts):
                    continue
                if inner.suffix.lower() not in PICTURE_SUFFIXES or len(files) > MAX_PHOTOS:
                    passed_over[_kind(Path(inner.name))] += 1
                    continue
                left -= entry.file_size
                if left < 0 or entry.file_size > MAX_BYTES:
                    raise UserError(
                        "too_many_photos", f"{packed} is larger than photos are. Unpack it, and choose some."
                    )
                parts = [part for part in inner.parts if part not in ("/", "..", ".")]
                # By number: names that differ in nothing that the disk of the temporary folder keeps stay apart.
                place = folder.joinpath(*parts[:-1]) / parts[-1]
                place = place.with_name(f"{len(files)}-{place.name}") if place.exists() else place
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as content, place.open("wb") as out:
                    shutil.copyfileobj(content, out)
                files.append(place)
    # Of an encrypted one zipfile raises RuntimeError, of a kind it cannot unpack NotImplementedError.
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        raise UserError(
            "no_photos", f"{packed} cannot be unpacked: {error}. Unpack it, and name the folder."
        ) from error
    return files


def _name(entry: zipfile.ZipInfo) -> str:
    """The name of a part of a zip, whose letters are UTF-8 or GBK where it does not say so."""
    if entry.flag_bits & 0x800:
        return entry.filename
    stored = entry.filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return os.fspath(stored.decode(encoding))
        except UnicodeDecodeError:
            continue
    return entry.filename
