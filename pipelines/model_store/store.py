"""The model files of this machine: downloads them by name, checks hashes and licences, imports folders.

`models.toml` lists what exists; `lock.json` in the store records what was downloaded. A file lies at
`<store>/<model>/<name as published>`, and it is complete wherever it has that name.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.model_store.download import DISK_FULL, DownloadedFile, Downloader, Source, SourceFailedError
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
    """One model and how much of it is on this machine."""

    model: Model
    state: Literal["here", "partly", "missing"]
    size: int
    """Bytes of its files as known from manifest, lock or disk; 0 when any is unknown."""
    allowed: bool
    """Whether `models.use` lets it be used."""


@dataclass(frozen=True, slots=True)
class FileState:
    """The result of `ModelStore.check` for one file."""

    model: str
    file: str
    state: State


@dataclass(frozen=True, slots=True)
class PullResult:
    """The result of `ModelStore.pull` for one model; files by name."""

    model: Model
    fetched: tuple[str, ...]
    unchanged: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of `ModelStore.import_folder`; paths are relative to the folder."""

    taken: tuple[FileState, ...]
    unchanged: tuple[FileState, ...]
    """Files that the store held already, with the same content."""
    refused: tuple[tuple[str, str], ...]
    """Path and why it was not imported, though its name is known."""
    unknown: tuple[str, ...]


Failures = Sequence[tuple[Source, SourceFailedError]]


class ModelStore:
    """Finds, downloads, checks and imports the model files of this machine."""

    def __init__(self, settings: ModelStoreSettings, manifest: Manifest | None = None) -> None:
        self._settings = settings
        self._manifest = manifest or builtin_manifest()
        self._folder = settings.folder
        self._lock = LockFile(settings.folder)

    def file(self, model: str, name: str) -> Path:
        """Return the path of one file of a model, without hashing it.

        Raises `OperatorError` (`unknown_model`, `unknown_model_file`, `missing_model`, `licence_refused`).
        """
        known = self._find_model(model)
        if name not in {file.name for file in known.files}:
            raise OperatorError("unknown_model_file", f"The model {model} has no file {name!r} in the manifest.")
        self._check_ready(known, name)
        return self._path(known, name)

    def folder(self, model: str) -> Path:
        """Return the folder of a model whose files are all here, without hashing them; raises the errors of `file`."""
        self._check_ready(self._find_model(model))
        return self._folder / model

    def missing(self, model: str) -> list[str]:
        """Return what keeps a model from being used, one sentence each; empty when it is ready. Never raises."""
        try:
            self._check_ready(self._find_model(model))
        except OperatorError as error:
            return [error.message]
        except OSError as error:
            return [f"The model store {self._folder} cannot be read: {error.strerror}."]
        return []

    def list(self) -> tuple[ModelState, ...]:
        """Return the state of every model of the manifest, in its order."""
        lock = self._lock.read()
        return tuple(self._model_state(model, lock) for model in self._manifest.models.values())

    def pull(self, names: Iterable[str] = (), progress: "Progress | None" = None) -> tuple[PullResult, ...]:
        """Download models by name, or the embedded ones; keeps what is here, and replaces what `check` calls changed."""
        models = [self._find_model(name) for name in dict.fromkeys(names)]
        models = models or [model for model in self._manifest.models.values() if model.embedded]
        for model in models:
            self._check_licence(model)
        with self._disk_errors(), self._open_downloader() as downloader:
            return tuple(self._pull_model(model, downloader, progress or _no_progress) for model in models)

    def check(self, names: Iterable[str] = (), progress: "Progress | None" = None) -> tuple[FileState, ...]:
        """Hash the files of the named models, or of all that have anything here, and compare with manifest and lock."""
        lock, report = self._lock.read(), progress or _no_progress
        models = [self._find_model(name) for name in dict.fromkeys(names)]
        models = models or [
            model for model in self._manifest.models.values() if model.name in lock or self._has_files(model)
        ]
        found: list[FileState] = []
        files = [(model, file) for model in models for file in model.files]
        for done, (model, file) in enumerate(files):
            report(done, len(files), f"{model.name}/{file.name}")
            found.append(FileState(model.name, file.name, self._file_state(model, file, lock)))
        return tuple(found)

    def import_folder(self, folder: Path) -> ImportResult:
        """Copy model files from a folder: recognised by published name, and by hash where one is known."""
        if not folder.is_dir():
            raise OperatorError("no_such_folder", f"There is no folder {folder}.")
        taken: list[FileState] = []
        unchanged: list[FileState] = []
        refused: list[tuple[str, str]] = []
        unknown: list[str] = []
        with self._disk_errors():
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                relative = path.relative_to(folder).as_posix()
                if "/." in f"/{relative}" or relative == "lock.json":
                    continue  # hidden files, and what another store keeps for itself
                known, named = self._identify(path, relative)
                if not known:
                    refused.append((relative, named)) if named else unknown.append(relative)
                for model, file in known:
                    state = FileState(model.name, file.name, "ok")
                    (taken if self._import_file(path, model, file) else unchanged).append(state)
        return ImportResult(tuple(taken), tuple(unchanged), tuple(refused), tuple(unknown))

    # -------------------------------------------------------------- what is here

    def _find_model(self, name: str) -> Model:
        if name not in self._manifest.models:
            known = ", ".join(self._manifest.models)
            raise OperatorError("unknown_model", f"There is no model {name!r}. These exist: {known}.")
        return self._manifest.models[name]

    def _is_allowed(self, model: Model) -> bool:
        return self._settings.use == "any" or model.commercial == "yes"

    def _check_licence(self, model: Model) -> None:
        if not self._is_allowed(model):
            raise OperatorError(
                "licence_refused",
                f"The licence of {model.name} ({model.licence}) does not plainly allow commercial use, and models.use "
                'is "commercial": choose another engine, or set models.use = "any" if your use is not commercial.',
            )

    def _check_ready(self, model: Model, name: str | None = None) -> None:
        self._check_licence(model)
        lock = self._lock.read()
        for file in model.files:
            if name in (None, file.name) and not self._is_present(model, file, lock):
                size = format_size(self._model_state(model, lock).size)
                raise OperatorError(
                    "missing_model",
                    f"The model {model.name} is not on this machine, or not whole: "
                    f"run `portrait models pull {model.name}` ({size}, {model.licence}).",
                )

    def _path(self, model: Model, name: str) -> Path:
        return self._folder / model.name / name

    def _has_files(self, model: Model) -> bool:
        return any(self._path(model, file.name).is_file() for file in model.files)

    def _is_present(self, model: Model, file: ModelFile, lock: Lock) -> bool:
        path, size = self._path(model, file.name), self._expected_entry(model, file, lock).size
        return path.is_file() and (not size or path.stat().st_size == size)

    def _model_state(self, model: Model, lock: Lock) -> ModelState:
        here = sum(self._is_present(model, file, lock) for file in model.files)
        sizes = [self._file_size(model, file, lock) for file in model.files]
        state = "here" if here == len(model.files) else "partly" if self._has_files(model) else "missing"
        return ModelState(model, state, sum(sizes) if all(sizes) else 0, self._is_allowed(model))

    def _file_size(self, model: Model, file: ModelFile, lock: Lock) -> int:
        path = self._path(model, file.name)
        return self._expected_entry(model, file, lock).size or (path.stat().st_size if path.is_file() else 0)

    def _expected_entry(self, model: Model, file: ModelFile, lock: Lock) -> LockEntry:
        """Return the hash and size that a file must have: the manifest's first, else those recorded when it was downloaded."""
        entry = lock.get(model.name, {}).get(file.name, LockEntry("", 0))
        if file.sha256 and file.sha256 != entry.sha256:
            return LockEntry(file.sha256, file.size)
        return replace(entry, size=file.size or entry.size)

    def _file_state(self, model: Model, file: ModelFile, lock: Lock) -> State:
        path, expected = self._path(model, file.name), self._expected_entry(model, file, lock)
        if not path.is_file():
            return "missing"
        if not expected.sha256:
            return "unverified"
        return "ok" if self._is_present(model, file, lock) and _sha256(path) == expected.sha256 else "changed"

    # -------------------------------------------------------------- adding files

    def _open_downloader(self) -> Downloader:
        (self._folder / ".partial").mkdir(parents=True, exist_ok=True)
        return Downloader(self._settings, self._manifest.archives, self._folder / ".partial")

    def _pull_model(self, model: Model, downloader: Downloader, progress: "Progress") -> PullResult:
        fetched: list[str] = []
        unchanged: list[str] = []
        staging = self._folder / ".partial" / model.name
        with self._lock.exclusive(model.name, progress):
            for file in model.files:
                if self._file_state(model, file, self._lock.read()) in {"ok", "unverified"}:
                    unchanged.append(file.name)
                    continue
                with _clean_staging(staging):
                    source, downloaded = self._download(model, file, downloader, progress)
                    self._install(downloaded, model, file, str(source))
                fetched.append(file.name)
            shutil.rmtree(staging, ignore_errors=True)
        return PullResult(model, tuple(fetched), tuple(unchanged), self._model_state(model, self._lock.read()).size)

    def _download(
        self, model: Model, file: ModelFile, downloader: Downloader, progress: "Progress"
    ) -> tuple[Source, DownloadedFile]:
        """Download from the first source that gives the right bytes."""
        target_path, lock = self._staging_path(model, file), self._lock.read()
        expected = self._expected_entry(model, file, lock)
        failures: list[tuple[Source, SourceFailedError]] = []
        for source in (self._with_known_commit(source, model, lock) for source in file.sources):
            try:
                downloaded = downloader.download(
                    source, target_path, lambda done, total: progress(done, total, f"{model.name}/{file.name}")
                )
                return source, _verify(downloaded, expected)
            except SourceFailedError as failed:
                failures.append((source, failed))
        raise _download_error(model, file, failures, recorded=bool(expected.sha256 and not file.sha256))

    def _with_known_commit(self, source: Source, model: Model, lock: Lock) -> Source:
        """Return the source at the commit of the model's first file, so that its files belong together on every pull."""
        if source.kind != "hub" or source.revision:
            return source
        commits = [entry.commit for entry in lock.get(model.name, {}).values() if entry.source == str(source)]
        return replace(source, revision=next(filter(None, commits), ""))

    def _staging_path(self, model: Model, file: ModelFile) -> Path:
        return self._folder / ".partial" / model.name / file.name.replace("/", "__")

    def _install(self, downloaded: DownloadedFile, model: Model, file: ModelFile, source: str) -> None:
        """Record a verified file, then move it to its place; in this order, so that no file is here unrecorded."""
        with downloaded.path.open("rb+") as written:
            os.fsync(written.fileno())
        self._lock.record(
            model.name,
            file.name,
            LockEntry(downloaded.sha256, downloaded.path.stat().st_size, source, downloaded.commit),
        )
        target = self._path(model, file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        downloaded.path.replace(target)

    def _identify(self, path: Path, relative: str) -> tuple[Sequence[tuple[Model, ModelFile]], str]:
        """Return the manifest's files that this file is; if none, the reason when its name is known."""
        lock = self._lock.read()
        named = [
            (m, f) for m in self._manifest.models.values() for f in m.files if f"/{relative}".endswith(f"/{f.name}")
        ]
        # In a folder called after the model there is no doubt which one is meant.
        named = [(m, f) for m, f in named if f"/{relative}".endswith(f"/{m.name}/{f.name}")] or named
        allowed = [(m, f) for m, f in named if self._is_allowed(m)]
        if named and not allowed:
            return (), "its licence does not plainly allow commercial use"
        hashed = [(m, f) for m, f in allowed if self._expected_entry(m, f, lock).sha256]
        digest = _sha256(path) if hashed else ""
        same = [(m, f) for m, f in hashed if self._expected_entry(m, f, lock).sha256 == digest]
        if same:
            return same, ""
        if len(named) == 1 and not hashed:
            return named, ""
        if len(hashed) < len(allowed):
            models = ", ".join(model.name for model, _ in named)
            return (
                (),
                f"several models ({models}) have a file of that name: put it into a folder called after one",
            )
        return (), "its hash is not that of the published file" if named else ""

    def _import_file(self, path: Path, model: Model, file: ModelFile) -> bool:
        staging = self._folder / ".partial" / model.name
        with self._lock.exclusive(model.name, _no_progress), _clean_staging(staging):
            target = self._path(model, file.name)
            if target.is_file() and (path.samefile(target) or _sha256(path) == _sha256(target)):
                self._lock.record(
                    model.name, file.name, LockEntry(_sha256(target), target.stat().st_size, "import"), only_if_new=True
                )
                return False
            target_path = self._staging_path(model, file)
            target_path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target_path)
            self._install(DownloadedFile(target_path, sha256=_sha256(target_path)), model, file, "import")
            with contextlib.suppress(OSError):
                staging.rmdir()  # unless bytes of a broken pull lie there
            return True

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Turn `OSError` into `OperatorError` (`disk_full`, `store_failed`)."""
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
def _clean_staging(staging: Path) -> Iterator[None]:
    """Keep a staging folder after a network failure, to resume from; remove it after a full disk or a wrong hash."""
    try:
        yield
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    except OperatorError as error:
        if error.code == "hash_mismatch":
            shutil.rmtree(staging, ignore_errors=True)
        raise


def _verify(downloaded: DownloadedFile, expected: LockEntry) -> DownloadedFile:
    """Return the file with its computed hash; raises `SourceFailedError` and removes it when hash or size differ."""
    digest, must = _sha256(downloaded.path), expected.sha256 or downloaded.sha256
    if (must and digest != must) or (expected.size and downloaded.path.stat().st_size != expected.size):
        downloaded.path.unlink()
        raise SourceFailedError("hash_mismatch", "sent something else than was published (its hash differs)")
    return replace(downloaded, sha256=digest)


def _download_error(model: Model, file: ModelFile, failures: Failures, *, recorded: bool) -> OperatorError:
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


def _no_progress(done: int, total: int, doing: str, preview: object = None) -> None:
    pass


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def format_size(size: int) -> str:
    """Return a number of bytes in MB or GB; 0 means unknown."""
    if not size:
        return "size not known yet"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
