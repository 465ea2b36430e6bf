"""Packs of styles: export to and import from one zip with a manifest of hashes; imports are checked byte by byte.

PACK.zip holds pack.json and a folder for each style: `{"format": "portrait-styles", "schema": 1, "files": {"mine/style.toml":
{"sha256": …, "bytes": …}}}`. A pack is read whole into a staging folder, checked, and only then moved into place.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from portrait.errors import OperatorError, UserError
from templates import schema
from templates.catalog import Entry

MANIFEST = "pack.json"
MAX_FILES = 2_000
"""Files of a pack: some hundred styles with a picture each."""
MAX_UNPACKED_BYTES = 1_000_000_000
"""Bytes of a pack when unpacked."""
MAX_PICTURE_BYTES = 80_000_000
"""Bytes of one picture; the limit of `pipelines.image_io` for photos."""
MAX_TEXT_BYTES = schema.MAX_BYTES
MAX_MANIFEST_BYTES = 1_000_000
CHUNK = 1 << 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ ()-]{0,99}")
_JPEG = b"\xff\xd8\xff"
_MAGIC_BYTES = {".jpg": _JPEG, ".jpeg": _JPEG, ".png": b"\x89PNG\r\n\x1a\n", ".webp": b"RIFF"}
"""First bytes of a picture by its suffix."""
_TEXT_SUFFIXES = (".toml", ".txt", ".md")


class _File(BaseModel, extra="forbid", frozen=True):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class _Manifest(BaseModel, extra="forbid", frozen=True):
    format: Literal["portrait-styles"]
    schema_: Annotated[Literal[1], Field(alias="schema")]
    files: dict[str, _File]


def export_pack(entries: Sequence[Entry], path: Path) -> Path:
    """Write a pack of styles to `path`, completely or not at all; the same styles give the same bytes.

    Raises `UserError` (`bad_pack`) for a style that holds what no pack may, `OperatorError` (`cannot_write`).
    """
    files: dict[str, Path] = {}
    for entry in sorted(entries, key=lambda one: one.style.id):
        entry.picture()  # a style whose picture is gone must not travel
        for file in sorted(each for each in entry.folder.iterdir() if each.is_file() and not each.name.startswith(".")):
            files[f"{entry.style.id}/{file.name}"] = file
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged.open("xb") as out:
            _write_pack(out, files)
            out.flush()
            os.fsync(out.fileno())
        staged.replace(path)
    except OSError as error:
        raise OperatorError("cannot_write", f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
    return path


def _write_pack(out: IO[bytes], files: Mapping[str, Path]) -> None:
    """Write the manifest and the files, by their name in the pack, into a zip; no file is held in memory."""
    listed: dict[str, dict[str, str | int]] = {}
    for name, file in files.items():
        _check_name(name)
        with file.open("rb") as content:
            _check_content(name, content.read(16))
            content.seek(0)
            listed[name] = {"sha256": hashlib.file_digest(content, "sha256").hexdigest(), "bytes": file.stat().st_size}
    if len(files) >= MAX_FILES or sum(file.stat().st_size for file in files.values()) > MAX_UNPACKED_BYTES:
        sentence = f"A pack holds {MAX_FILES} files and {MAX_UNPACKED_BYTES / 1e6:.0f} MB at most. Export fewer styles at once."
        raise UserError("bad_pack", sentence)
    manifest = json.dumps({"format": "portrait-styles", "schema": 1, "files": listed}, indent=1).encode()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr(_zip_entry(MANIFEST), manifest)
        for name, file in files.items():
            with file.open("rb") as content, pack.open(_zip_entry(name), "w") as member:
                shutil.copyfileobj(content, member, CHUNK)


def _zip_entry(name: str) -> zipfile.ZipInfo:
    """An entry of a pack without a date, so that the same styles give the same bytes."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def import_pack(path: Path, folder: Path) -> list[Entry]:
    """Import the styles of a pack into `folder`: all of them or none.

    Raises `UserError`: `bad_pack` says why a pack is refused, `style_exists` which style is there already;
    `OperatorError` (`bad_style`, `cannot_write`).
    """
    with staging_folder(folder, ".pack.") as staged:
        return move_into(_read_styles(staged, _unpack(path, staged)), folder)


@contextmanager
def staging_folder(folder: Path, prefix: str) -> Iterator[Path]:
    """A temporary folder inside `folder`, so that a style is moved into place; raises `OperatorError` (`cannot_write`)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as staged:
            yield Path(staged)
    except OSError as error:
        raise OperatorError("cannot_write", f"Styles cannot be written to {folder}: {error.strerror}.") from error


def _unpack(path: Path, staged: Path) -> list[str]:
    """Check a pack and unpack it into `staged`; returns the names of its files."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError("not_found", f"There is no pack at {path}.") from error
    try:
        with file, zipfile.ZipFile(file) as pack:
            inside = _check_listing(pack)
            manifest = _read_manifest(pack, inside)
            for name, expected in manifest.files.items():
                _extract(pack, inside[name], expected, staged / name)
    # What zipfile and zlib raise on files that lie about themselves.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _bad_pack(f"it is no whole zip file ({error})") from error
    return sorted(manifest.files)


def _check_listing(pack: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Check the zip's directory before anything is unpacked; returns its entries by name."""
    every = pack.infolist()
    if len(every) > MAX_FILES:
        raise _bad_pack(f"it has {len(every)} files, and {MAX_FILES} are the most")
    names: dict[str, str] = {}
    for info in every:
        _check_entry(info)
        # Some disks take two names for one that differ by case or by how an accent is written.
        folded = unicodedata.normalize("NFC", info.filename).casefold()
        if folded in names:
            raise _bad_pack(f"two files of it are called {_printable(info.filename)}")
        names[folded] = info.filename
    total = sum(info.file_size for info in every)
    if total > MAX_UNPACKED_BYTES:
        raise _bad_pack(f"it would unpack to {total / 1e6:.0f} MB, and {MAX_UNPACKED_BYTES / 1e6:.0f} are the most")
    return {info.filename: info for info in every}


def _check_entry(info: zipfile.ZipInfo) -> None:
    if info.filename != MANIFEST:
        _check_name(info.filename)
    # zipfile cuts names at a NUL; other programs may read the rest.
    if info.orig_filename != info.filename:
        raise _bad_pack(f"the name {_printable(info.orig_filename)} is not what it seems")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _bad_pack(f"{_printable(info.filename)} is a link or device and not a file")
    if info.flag_bits & 0x1:
        raise _bad_pack(f"{_printable(info.filename)} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _bad_pack(f"{_printable(info.filename)} is compressed in an unknown way ({info.compress_type})")
    if info.file_size > _max_bytes(info.filename):
        raise _bad_pack(f"{_printable(info.filename)} is larger than {_max_bytes(info.filename) / 1e6:g} MB")


def _check_name(name: str) -> None:
    """Refuse a name that is not STYLE/FILE: nothing outside the folder, no folders within, no unknown kind of file."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        raise _bad_pack(f"{_printable(name)} leads out of its folder")
    if len(parts) != 2 or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", parts[0]) or not _NAME.fullmatch(parts[1]):
        raise _bad_pack(f"{_printable(name)} is not of the form style/file")
    if parts[1] != "style.toml" and Path(parts[1]).suffix.lower() not in {*_MAGIC_BYTES, ".txt", ".md"}:
        raise _bad_pack(f"{_printable(name)} is neither a style.toml nor a picture nor a text")


def _max_bytes(name: str) -> int:
    if name == MANIFEST:
        return MAX_MANIFEST_BYTES
    return MAX_TEXT_BYTES if Path(name).suffix.lower() in _TEXT_SUFFIXES else MAX_PICTURE_BYTES


def _read_manifest(pack: zipfile.ZipFile, inside: dict[str, zipfile.ZipInfo]) -> _Manifest:
    if MANIFEST not in inside:
        raise _bad_pack(f"it has no {MANIFEST}")
    with pack.open(inside[MANIFEST]) as source:
        content = source.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise _bad_pack(f"{MANIFEST} is larger than it says")
    try:
        manifest = _Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _bad_pack(f"its {MANIFEST} does not hold: {where or MANIFEST}: {first['msg']}") from error
    listed, there = set(manifest.files), set(inside) - {MANIFEST}
    if listed != there:
        raise _bad_pack(f"its {MANIFEST} and its files differ: {_printable(sorted(listed ^ there)[0])}")
    return manifest


def _extract(pack: zipfile.ZipFile, info: zipfile.ZipInfo, expected: _File, place: Path) -> None:
    """Unpack one file and verify size and hash; never more bytes than it may have, whatever its header says."""
    place.parent.mkdir(exist_ok=True)
    digest, size, most = hashlib.sha256(), 0, min(_max_bytes(info.filename), expected.bytes)
    with pack.open(info) as source, place.open("xb") as target:
        while chunk := source.read(CHUNK):
            if size == 0:
                _check_content(info.filename, chunk[:16])
            size += len(chunk)
            if size > most:
                raise _bad_pack(f"{_printable(info.filename)} is larger than it says")
            digest.update(chunk)
            target.write(chunk)
    if size != expected.bytes or digest.hexdigest() != expected.sha256:
        raise _bad_pack(f"{_printable(info.filename)} is not what the pack's list says (its hash differs)")


def _check_content(name: str, start: bytes) -> None:
    suffix = Path(name).suffix.lower()
    if start.startswith(b"PK"):
        raise _bad_pack(f"{_printable(name)} is a zip in the zip")
    if suffix in _MAGIC_BYTES and not start.startswith(_MAGIC_BYTES[suffix]):
        raise _bad_pack(f"{_printable(name)} is not the kind of picture that its name says")


def _read_styles(staged: Path, names: Sequence[str]) -> list[Entry]:
    """Read the unpacked styles; each must have a style.toml with the id of its folder and its picture."""
    entries = []
    for folder in sorted({name.split("/")[0] for name in names}):
        if not (staged / folder / "style.toml").is_file():
            raise _bad_pack(f"{folder} has no style.toml")
        try:
            entry = Entry(schema.read_style(staged / folder / "style.toml"), staged / folder)
            if entry.style.picture and entry.style.picture.file:
                entry.picture()
        except OperatorError as error:
            raise _bad_pack(error.message.replace(str(staged) + os.sep, "").rstrip(".")) from error
        if entry.style.id != folder:
            raise _bad_pack(f"the style in the folder {folder} calls itself {entry.style.id}")
        entries.append(entry)
    if not entries:
        raise _bad_pack("there is no style in it")
    return entries


def move_into(entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """Move styles from a staging folder on the same disk into `folder`; when one cannot be moved, none is.

    Raises `UserError` (`style_exists`), `OSError`.
    """
    for entry in entries:
        if (folder / entry.style.id).exists():
            sentence = f"There is a style {entry.style.id} already. Remove it first, or give this one a new id."
            raise UserError("style_exists", sentence)
    moved: list[Path] = []
    try:
        for entry in entries:
            entry.folder.rename(folder / entry.style.id)
            moved.append(folder / entry.style.id)
    except OSError:
        for place in moved:
            shutil.rmtree(place, ignore_errors=True)
        raise
    return [Entry(entry.style, folder / entry.style.id) for entry in entries]


def _printable(name: str) -> str:
    """A name from a pack, shortened and in ASCII."""
    return ascii(name if len(name) <= 80 else f"{name[:77]}…")


def _bad_pack(reason: str) -> UserError:
    return UserError("bad_pack", f"The pack is refused: {reason}. Nothing of it was kept.")
