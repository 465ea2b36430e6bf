"""Model files on this machine: fetched by name, checked, licensed.

`models.toml` says what exists; `lock.json` in the store says what came. A file lies at
`<store>/<model>/<name as published>`, and it lies there whole or not at all.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.model_store.download import CHUNK_BYTES, DISK_FULL, DownloadedFile, Downloader, Source, SourceFailedError
from pipelines.model_store.lock import Lock, LockEntry, LockFile
from pipelines.model_store.manifest import Manifest, Model, ModelFile, builtin_manifest
from pipelines.settings import ModelStoreSettings
from portrait.errors import OperatorError

if TYPE_CHECKING:
    from portrait.ports import Progress  # brings numpy, which the command line does without until it works

State = Literal["ok", "changed", "missing", "unverified"]
ADVICE = {
    "no_network": "Check the network, or carry the files in and run `portrait models import DIR`.",
    "gated": "Then pull again.",
    "hash_mismatch": "Nothing of it was kept.",
    "download_failed": "Pull again later, or carry the files in and run `portrait models import DIR`.",
}


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model and how much of it is here."""

    model: Model
    state: Literal["here", "partly", "missing"]
    size: int
    """Bytes of its files as known from manifest, lock or disk; 0 when any is unknown."""
    allowed: bool
    """Whether `models.use` lets it be used."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What `check` found of one file."""

    model: str
    file: str
    state: State


@dataclass(frozen=True, slots=True)
class PullResult:
    """What one pull did for one model."""

    model: Model
    fetched: tuple[str, ...]
    unchanged: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What `import` made of a folder; paths are relative to it."""

    taken: tuple[FileState, ...]
    unchanged: tuple[FileState, ...]
    """Were here already, the same."""
    refused: tuple[tuple[str, str], ...]
    """Path and why it was not taken, though its name is known."""
    unknown: tuple[str, ...]


Failures = Sequence[tuple[Source, SourceFailedError]]


class ModelStore:
    """The model files of this machine."""

    def __init__(self, settings: ModelStoreSettings, manifest: Manifest | None = None) -> None:
        self._settings = settings
        self._manifest = manifest or builtin_manifest()
        self._folder = settings.folder
        self._lock = LockFile(settings.folder)

    def file(self, model: str, name: str) -> Path:
        """Where one file of a model lies; raises `OperatorError` when it is not here or not allowed. Hashes nothing."""
        known = self._known(model)
        if name not in {file.name for file in known.files}:
            raise OperatorError("unknown_model_file", f"The model {model} has no file {name!r} in the manifest.")
        self._ready(known, name)
        return self._path(known, name)

    def folder(self, model: str) -> Path:
        """The folder of a model whose files are all here; raises `OperatorError` otherwise. Hashes nothing."""
        self._ready(self._known(model))
        return self._folder / model

    def missing(self, model: str) -> list[str]:
        """What keeps a model from being used, one sentence each; empty when it is ready. Never raises."""
        try:
            self._ready(self._known(model))
        except OperatorError as error:
            return [error.message]
        except OSError as error:
            return [f"The model store {self._folder} cannot be read: {error.strerror}."]
        return []

    def list(self) -> tuple[ModelState, ...]:
        """Every model of the manifest, in its order."""
        lock = self._lock.read()
        return tuple(self._state(model, lock) for model in self._manifest.models.values())

    def pull(self, names: Iterable[str] = (), progress: "Progress | None" = None) -> tuple[PullResult, ...]:
        """Fetch models by name, or the embedded ones; keeps what is here, and mends what `check` calls changed."""
        wanted = [self._known(name) for name in dict.fromkeys(names)]
        wanted = wanted or [model for model in self._manifest.models.values() if model.embedded]
        for model in wanted:
            self._allow(model)
        with self._disk(), self._fetcher() as fetcher:
            return tuple(self._pull(model, fetcher, progress or _silent) for model in wanted)

    def check(self, names: Iterable[str] = (), progress: "Progress | None" = None) -> tuple[FileState, ...]:
        """Hash the files of the named models, or of all that have anything here, and compare with manifest and lock."""
        lock, tell = self._lock.read(), progress or _silent
        models = [self._known(name) for name in dict.fromkeys(names)]
        models = models or [model for model in self._manifest.models.values() if model.name in lock or self._any(model)]
        found: list[FileState] = []
        files = [(model, file) for model in models for file in model.files]
        for done, (model, file) in enumerate(files):
            tell(done, len(files), f"{model.name}/{file.name}")
            found.append(FileState(model.name, file.name, self._compare(model, file, lock)))
        return tuple(found)

    def import_folder(self, folder: Path) -> ImportResult:
        """Take files from a folder that was carried in: by published name, and by hash where one is known."""
        if not folder.is_dir():
            raise OperatorError("no_such_folder", f"There is no folder {folder}.")
        taken: list[FileState] = []
        kept: list[FileState] = []
        refused: list[tuple[str, str]] = []
        unknown: list[str] = []
        with self._disk():
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                relative = path.relative_to(folder).as_posix()
                if "/." in f"/{relative}" or relative == "lock.json":
                    continue  # hidden files, and what another store keeps for itself
                known, named = self._recognise(path, relative)
                if not known:
                    refused.append((relative, named)) if named else unknown.append(relative)
                for model, file in known:
                    state = FileState(model.name, file.name, "ok")
                    (taken if self._take(path, model, file) else kept).append(state)
        return ImportResult(tuple(taken), tuple(kept), tuple(refused), tuple(unknown))

    # -------------------------------------------------------------- what is here

    def _known(self, name: str) -> Model:
        if name not in self._manifest.models:
            known = ", ".join(self._manifest.models)
            raise OperatorError("unknown_model", f"There is no model {name!r}. These exist: {known}.")
        return self._manifest.models[name]

    def _allowed(self, model: Model) -> bool:
        return self._settings.use == "any" or model.commercial == "yes"

    def _allow(self, model: Model) -> None:
        if not self._allowed(model):
            raise OperatorError(
                "licence_refused",
                f"The licence of {model.name} ({model.licence}) does not plainly allow commercial use, and models.use "
                'is "commercial": choose another engine, or set models.use = "any" if your use is not commercial.',
            )

    def _ready(self, model: Model, name: str | None = None) -> None:
        self._allow(model)
        lock = self._lock.read()
        for file in model.files:
            if name in (None, file.name) and not self._present(model, file, lock):
                size = format_size(self._state(model, lock).size)
                raise OperatorError(
                    "missing_model",
                    f"The model {model.name} is not on this machine, or not whole: "
                    f"run `portrait models pull {model.name}` ({size}, {model.licence}).",
                )

    def _path(self, model: Model, name: str) -> Path:
        return self._folder / model.name / name

    def _any(self, model: Model) -> bool:
        return any(self._path(model, file.name).is_file() for file in model.files)

    def _present(self, model: Model, file: ModelFile, lock: Lock) -> bool:
        path, size = self._path(model, file.name), self._expected(model, file, lock).size
        return path.is_file() and (not size or path.stat().st_size == size)

    def _state(self, model: Model, lock: Lock) -> ModelState:
        here = sum(self._present(model, file, lock) for file in model.files)
        sizes = [self._size(model, file, lock) for file in model.files]
        state = "here" if here == len(model.files) else "partly" if self._any(model) else "missing"
        return ModelState(model, state, sum(sizes) if all(sizes) else 0, self._allowed(model))

    def _size(self, model: Model, file: ModelFile, lock: Lock) -> int:
        path = self._path(model, file.name)
        return self._expected(model, file, lock).size or (path.stat().st_size if path.is_file() else 0)

    def _expected(self, model: Model, file: ModelFile, lock: Lock) -> LockEntry:
        """What the file must be: the manifest's word first, then what was recorded when it came."""
        locked = lock.get(model.name, {}).get(file.name, LockEntry("", 0))
        if file.sha256 and file.sha256 != locked.sha256:
            return LockEntry(file.sha256, file.size)
        return replace(locked, size=file.size or locked.size)

    def _compare(self, model: Model, file: ModelFile, lock: Lock) -> State:
        path, expected = self._path(model, file.name), self._expected(model, file, lock)
        if not path.is_file():
            return "missing"
        if not expected.sha256:
            return "unverified"
        return "ok" if self._present(model, file, lock) and _sha256(path) == expected.sha256 else "changed"

    # -------------------------------------------------------------- bringing files in

    def _fetcher(self) -> Downloader:
        (self._folder / ".partial").mkdir(parents=True, exist_ok=True)
        return Downloader(self._settings, self._manifest.archives, self._folder / ".partial")

    def _pull(self, model: Model, fetcher: Downloader, progress: "Progress") -> PullResult:
        fetched: list[str] = []
        kept: list[str] = []
        staging = self._folder / ".partial" / model.name
        with self._lock.exclusive(model.name, progress):
            for file in model.files:
                if self._compare(model, file, self._lock.read()) in {"ok", "unverified"}:
                    kept.append(file.name)
                    continue
                with _swept(staging):
                    source, arrived = self._bring(model, file, fetcher, progress)
                    self._settle(arrived, model, file, str(source))
                fetched.append(file.name)
            shutil.rmtree(staging, ignore_errors=True)
        return PullResult(model, tuple(fetched), tuple(kept), self._state(model, self._lock.read()).size)

    def _bring(self, model: Model, file: ModelFile, fetcher: Downloader, progress: "Progress") -> tuple[Source, DownloadedFile]:
        """The first source that answers with the right bytes."""
        into, lock = self._staged(model, file), self._lock.read()
        expected = self._expected(model, file, lock)
        failures: list[tuple[Source, SourceFailedError]] = []
        for source in (self._pinned(source, model, lock) for source in file.sources):
            try:
                arrived = fetcher.download(
                    source, into, lambda done, total: progress(done, total, f"{model.name}/{file.name}")
                )
                return source, _checked(arrived, expected)
            except SourceFailedError as failed:
                failures.append((source, failed))
        raise _no_source(model, file, failures, recorded=bool(expected.sha256 and not file.sha256))

    def _pinned(self, source: Source, model: Model, lock: Lock) -> Source:
        """The commit that a model's first file came from holds for its others, and for pulling it again."""
        if source.kind != "hub" or source.revision:
            return source
        commits = [locked.commit for locked in lock.get(model.name, {}).values() if locked.source == str(source)]
        return replace(source, revision=next(filter(None, commits), ""))

    def _staged(self, model: Model, file: ModelFile) -> Path:
        return self._folder / ".partial" / model.name / file.name.replace("/", "__")

    def _settle(self, arrived: DownloadedFile, model: Model, file: ModelFile, source: str) -> None:
        """Record a whole, checked file, then give it its name; in this order, so that no file is here unrecorded."""
        with arrived.path.open("rb+") as written:
            os.fsync(written.fileno())
        self._lock.record(
            model.name, file.name, LockEntry(arrived.sha256, arrived.path.stat().st_size, source, arrived.commit)
        )
        target = self._path(model, file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived.path.replace(target)

    def _recognise(self, path: Path, relative: str) -> tuple[Sequence[tuple[Model, ModelFile]], str]:
        """The files of the manifest that this one is; none, and why not when its name is known."""
        lock = self._lock.read()
        named = [
            (m, f) for m in self._manifest.models.values() for f in m.files if f"/{relative}".endswith(f"/{f.name}")
        ]
        # In a folder called after the model there is no doubt which one is meant.
        named = [(m, f) for m, f in named if f"/{relative}".endswith(f"/{m.name}/{f.name}")] or named
        allowed = [(m, f) for m, f in named if self._allowed(m)]
        if named and not allowed:
            return (), "its licence does not plainly allow commercial use"
        hashed = [(m, f) for m, f in allowed if self._expected(m, f, lock).sha256]
        digest = _sha256(path) if hashed else ""
        same = [(m, f) for m, f in hashed if self._expected(m, f, lock).sha256 == digest]
        if same:
            return same, ""
        if len(named) == 1 and not hashed:
            return named, ""
        if len(hashed) < len(allowed):
            models = ", ".join(model.name for model, _ in named)
            return (), f"several models ({models}) have a file of that name: put it into a folder called after one"
        return (), "its hash is not that of the published file" if named else ""

    def _take(self, path: Path, model: Model, file: ModelFile) -> bool:
        staging = self._folder / ".partial" / model.name
        with self._lock.exclusive(model.name, _silent), _swept(staging):
            target = self._path(model, file.name)
            if target.is_file() and (path.samefile(target) or _sha256(path) == _sha256(target)):
                self._lock.record(
                    model.name, file.name, LockEntry(_sha256(target), target.stat().st_size, "import"), only_if_new=True
                )
                return False
            into = self._staged(model, file)
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, into)
            self._settle(DownloadedFile(into, sha256=_sha256(into)), model, file, "import")
            with contextlib.suppress(OSError):
                staging.rmdir()  # unless bytes of a broken pull lie there
            return True

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn what the disk says into one sentence."""
        try:
            yield
        except OSError as error:
            if error.errno in DISK_FULL:
                sentence = f"The disk of {self._folder} is full: free some space, then run the command again."
                raise OperatorError("disk_full", sentence) from error
            raise OperatorError(
                "store_failed", f"The model store {self._folder} cannot be written: {error}."
            ) from error


@contextlib.contextmanager
def _swept(staging: Path) -> Iterator[None]:
    """Keep a staging folder after a network failure, to go on from; remove it after a full disk or a wrong hash."""
    try:
        yield
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    except OperatorError as error:
        if error.code == "hash_mismatch":
            shutil.rmtree(staging, ignore_errors=True)
        raise


def _checked(arrived: DownloadedFile, expected: LockEntry) -> DownloadedFile:
    """The same with its real hash; raises `SourceFailedError` and removes it when it is not what it must be."""
    digest, must = _sha256(arrived.path), expected.sha256 or arrived.sha256
    if (must and digest != must) or (expected.size and arrived.path.stat().st_size != expected.size):
        arrived.path.unlink()
        raise SourceFailedError("hash_mismatch", "sent something else than was published (its hash differs)")
    return replace(arrived, sha256=digest)


def _no_source(model: Model, file: ModelFile, failures: Failures, *, recorded: bool) -> OperatorError:
    codes = [failed.code for _, failed in failures]
    alike = codes[0] if len(set(codes)) == 1 else "download_failed"
    code = next((code for code in ("hash_mismatch", "gated") if code in codes), alike)
    why = "; ".join(f"{source} {failed.reason}" for source, failed in failures)
    advice = ADVICE[code]
    if code == "hash_mismatch" and recorded:
        advice += (
            f" If the publisher replaced the file and you trust it, take {model.name} out of lock.json and pull again."
        )
    return OperatorError(code, f"{model.name}/{file.name} could not be fetched: {why}. {advice}")


def _silent(done: int, total: int, doing: str, preview: object = None) -> None:
    pass


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def format_size(size: int) -> str:
    """Bytes as a person reads them; 0 means unknown."""
    if not size:
        return "size not known yet"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
