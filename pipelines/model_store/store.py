"""The model files of this machine: downloads them by name, checks hashes and licences, imports folders.

`models.toml` lists what exists; `lock.json` in the store records what was downloaded. A file lies at
`<store>/<model>/<name as published>`, and it is complete wherever it has that name.
"""

import builtins
import contextlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

from pipelines.model_store import hub_cache
from pipelines.model_store.add import Adding, NewModel
from pipelines.model_store.additions import Addition, Additions
from pipelines.model_store.download import Convert, DownloadedFile, Downloader
from pipelines.model_store.files import FileCondition, ModelFiles, sha256
from pipelines.model_store.lock import Lock, LockEntry
from pipelines.model_store.manifest import (
    Manifest,
    Model,
    ModelFamily,
    ModelFile,
    ModelKind,
    Terms,
    builtin_manifest,
    refusal,
)
from pipelines.model_store.own import OwnManifest
from pipelines.model_store.pull import Pull, PullResult, Transfers, expected_transfers
from pipelines.settings import ModelStoreSettings
from portrait.errors import OperatorError

if TYPE_CHECKING:
    from portrait.ports import Progress  # brings numpy, which the command line does without until it works


WEIGHTS_SUFFIXES = {".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".onnx"}


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model and how much of it is on this machine."""

    model: Model
    state: Literal["here", "partly", "missing"]
    size: int
    """Bytes of its files as known from manifest, lock or disk; 0 when any is unknown."""
    allowed: bool
    """Whether the profile lets it be used."""


@dataclass(frozen=True, slots=True)
class FileState:
    """The result of `ModelStore.check` for one file."""

    model: str
    file: str
    state: FileCondition


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of `ModelStore.import_folder`; paths are relative to the folder."""

    taken: tuple[FileState, ...]
    unchanged: tuple[FileState, ...]
    """Files that the store held already, with the same content."""
    refused: tuple[tuple[str, str], ...]
    """Path and why it was not imported, though its name is known."""
    unknown: tuple[str, ...]


class ModelStore:
    """Finds, downloads, checks and imports the model files of this machine."""

    def __init__(
        self, settings: ModelStoreSettings, manifest: Manifest | None = None, convert: Convert | None = None
    ) -> None:
        """`convert` takes the tensors out of pickled files; without it none is taken."""
        self._settings, self._convert = settings, convert
        self._own = OwnManifest(settings.folder, manifest or builtin_manifest())
        self._files = ModelFiles(settings.folder)
        self._additions = Additions(settings.folder)

    @property
    def _manifest(self) -> Manifest:
        """What ships with this program and what was added here, as of now."""
        return self._own.merged()

    def find(self, name: str) -> Model:
        """Return a model by its name; raises `OperatorError` (`unknown_model`)."""
        return self._find_model(name)

    def is_allowed(self, model: Model) -> bool:
        """Return whether the profile of this installation lets a model be used."""
        bought = model.licence in self._settings.commercial_licences
        return self._settings.use == "any" or model.commercial == "yes" or bought

    def known(self, names: Iterable[str]) -> builtins.list[Model]:
        """Return the models of these names, each once; names of nothing here are passed over."""
        return [self._manifest.models[name] for name in dict.fromkeys(names) if name in self._manifest.models]

    def refused(self, names: Iterable[str]) -> builtins.list[Model]:
        """Return those of some models that the profile of this installation keeps from being used; see `known`."""
        return [model for model in self.known(names) if not self.is_allowed(model)]

    def terms(self, licence: str) -> Terms | None:
        """Return what a licence asks to be handed on with pictures; None where it asks for nothing, or is not known."""
        return self._manifest.terms.get(licence)

    def of_kind(self, kind: ModelKind, family: ModelFamily = "") -> builtins.list[Model]:
        """Return the models of one kind, here or not, in the order of the manifest: all, or those that fit a family.

        A model whose family is not known fits any.
        """
        known = [model for model in self._manifest.models.values() if model.kind == kind]
        return [model for model in known if not family or model.family in {"", family}]

    def weights_file(self, name: str) -> Path:
        """Return the one file of weights that a model has, without hashing it.

        Raises `OperatorError` (`unknown_model`, `unknown_model_file` where it has none or several, `missing_model`,
        `licence_refused`).
        """
        known = self._find_model(name)
        weights = [file.name for file in known.files if PurePath(file.name).suffix in WEIGHTS_SUFFIXES]
        if len(weights) != 1:
            has = f"{len(weights)} files of weights ({', '.join(weights)})" if weights else "no file of weights"
            raise OperatorError("unknown_model_file", f"The model {name} has {has}, and one is needed.")
        return self.file(name, weights[0])

    def file(self, model: str, name: str) -> Path:
        """Return the path of one file of a model, without hashing it.

        Raises `OperatorError` (`unknown_model`, `unknown_model_file`, `missing_model`, `licence_refused`).
        """
        known = self._find_model(model)
        if name not in {file.name for file in known.files}:
            raise OperatorError("unknown_model_file", f"The model {model} has no file {name!r} in the manifest.")
        self._check_ready(known, name)
        return self._files.path(known, name)

    def folder(self, model: str) -> Path:
        """Return the folder of a model whose files are all here, without hashing them; raises the errors of `file`."""
        self._check_ready(self._find_model(model))
        return self._files.folder / model

    def missing(self, model: str) -> list[str]:
        """Return what keeps a model from being used, one sentence each; empty when it is ready. Never raises."""
        try:
            self._check_ready(self._find_model(model))
        except OperatorError as error:
            return [error.message]
        except OSError as error:
            return [f"The model store {self._files.folder} cannot be read: {error.strerror}."]
        return []

    def list(self) -> tuple[ModelState, ...]:
        """Return the state of every model of the manifest, in its order."""
        lock = self._files.lock.read()
        return tuple(self._model_state(model, lock) for model in self._manifest.models.values())

    def pull(self, names: Iterable[str] = (), progress: "Progress | None" = None) -> tuple[PullResult, ...]:
        """Download models by name, or the embedded ones; keeps what is here, and replaces what `check` calls changed.

        Models come in parallel. Without names, an optional one that fails has its `failure` in the result; any other error
        is raised when the rest is through.
        """
        named = list(dict.fromkeys(names))
        models = self._models_to_pull(named)
        for model in models:
            self._check_licence(model)
        archives = self._manifest.archives
        transfers = Transfers(progress or _no_progress, expected_transfers(models, archives, self._files))
        with self._files.disk_errors():
            self._files.partial.mkdir(parents=True, exist_ok=True)
            with Downloader(self._settings, archives, self._files.partial, self._convert) as downloader:
                return Pull(self._files, downloader, transfers)(models, required=bool(named))

    def download_size(self, names: Iterable[str] = ()) -> int:
        """Return the bytes that a pull of these models would fetch now; 0 where it would fetch none or it is not known."""
        expected = expected_transfers(self._models_to_pull(names), self._manifest.archives, self._files)
        return sum(expected.values()) if all(expected.values()) else 0

    def check(self, names: Iterable[str] = (), progress: "Progress | None" = None) -> tuple[FileState, ...]:
        """Hash the files of the named models, or of all that have anything here, and compare with manifest and lock."""
        lock, report = self._files.lock.read(), progress or _no_progress
        models = [self._find_model(name) for name in dict.fromkeys(names)]
        models = models or [
            model for model in self._manifest.models.values() if model.name in lock or self._files.any_of(model)
        ]
        found: list[FileState] = []
        files = [(model, file) for model in models for file in model.files]
        for done, (model, file) in enumerate(files):
            report(done, len(files), f"{model.name}/{file.name}")
            found.append(FileState(model.name, file.name, self._files.condition(model, file, lock)))
        return tuple(found)

    def add(self, new: NewModel, progress: "Progress | None" = None) -> ModelState:
        """Bring a model of one's own into the store: fetch it, look at it, note it; the next try goes on where one broke off.

        Raises `OperatorError`: those of `start_adding` and of a pull; `bad_model_source`, `forbidden_address`,
        `model_too_large`, `not_weights`, `truncated_weights`, `broken_weights`, `pickled_weights`, `wrong_kind`.
        """
        return self._start_adding(new, progress, note_failure=False)()

    def start_adding(self, new: NewModel, progress: "Progress | None" = None) -> "Callable[[], ModelState]":
        """Begin to add a model: checked and noted at once, brought by calling what is returned, in any thread.

        Why one could not be added stays noted. Raises `OperatorError` (`bad_model`, `model_exists`, `model_busy`,
        `licence_refused`).
        """
        return self._start_adding(new, progress, note_failure=True)

    def _start_adding(
        self, new: NewModel, progress: "Progress | None", note_failure: bool
    ) -> "Callable[[], ModelState]":
        adding = Adding(self._files, self._own, self._settings)
        adding.check(new)
        with self._files.disk_errors():
            running = self._additions.begin(new, progress)

        def run() -> ModelState:
            """Fetch, look at and install the model."""
            error: BaseException | None = None
            try:
                with self._files.disk_errors(), self._files.lock.exclusive(new.name, running):
                    self._files.partial.mkdir(parents=True, exist_ok=True)
                    with Downloader(self._settings, {}, self._files.partial, self._convert) as downloader:
                        return self._model_state(adding(new, downloader, running), self._files.lock.read())
            except BaseException as raised:
                error = raised
                raise
            finally:
                running.end(error, note_failure)

        return run

    def additions(self) -> tuple[Addition, ...]:
        """Return the models that are being added, in whichever process, and those that could not be."""
        return self._additions.list()

    def remove(self, name: str) -> None:
        """Delete a model of one's own with its files; where it is being added, stop that and leave what was there before.

        Raises `OperatorError` (`unknown_model`, `not_own_model`).
        """
        noted = self._additions.find(name)
        dropped = self._additions.drop(name)
        if noted is not None and noted.state == "running":
            return
        known = self._manifest.models.get(name)
        if known is None and not dropped:
            self._find_model(name)
        if known is not None and not known.own:
            raise OperatorError(
                "not_own_model", f"{name} ships with this program: only models that were added can be removed."
            )
        with self._files.disk_errors(), self._files.lock.exclusive(name, _no_progress):
            self._own.drop(name)
            self._files.lock.forget(name)
            for folder in (self._files.folder / name, self._files.partial / name):
                shutil.rmtree(folder, ignore_errors=True)

    def import_folder(self, folder: Path) -> ImportResult:
        """Copy model files from a folder: recognised by published name, and by hash where one is known."""
        if not folder.is_dir():
            raise OperatorError("no_such_folder", f"There is no folder {folder}.")
        taken: list[FileState] = []
        unchanged: list[FileState] = []
        refused: list[tuple[str, str]] = []
        unknown: list[str] = []
        with self._files.disk_errors():
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                relative = path.relative_to(folder).as_posix()
                if "/." in f"/{relative}" or relative == "lock.json" or hub_cache.is_bookkeeping(path):
                    continue  # hidden files, and what another store or a cache keeps for itself
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

    def _models_to_pull(self, names: Iterable[str]) -> Sequence[Model]:
        models = [self._find_model(name) for name in dict.fromkeys(names)]
        return models or [model for model in self._manifest.models.values() if model.embedded]

    def _check_licence(self, model: Model) -> None:
        if not self.is_allowed(model):
            raise OperatorError("licence_refused", refusal(model))

    def _check_ready(self, model: Model, name: str | None = None) -> None:
        self._check_licence(model)
        lock = self._files.lock.read()
        for file in model.files:
            if name in (None, file.name) and not self._files.is_present(model, file, lock):
                size = format_size(self._files.size(model, lock))
                raise OperatorError(
                    "missing_model",
                    f"The model {model.name} is not on this machine, or not whole: "
                    f"run `portrait models pull {model.name}` ({size}, {model.licence}).",
                )

    def _model_state(self, model: Model, lock: Lock) -> ModelState:
        here = sum(self._files.is_present(model, file, lock) for file in model.files)
        state = "here" if here == len(model.files) else "partly" if self._files.any_of(model) else "missing"
        return ModelState(model, state, self._files.size(model, lock), self.is_allowed(model))

    def _identify(self, path: Path, relative: str) -> tuple[Sequence[tuple[Model, ModelFile]], str]:
        """Return the manifest's files that this file is; if none, the reason when its name is known."""
        lock = self._files.lock.read()
        named = self._files_named(path, relative)
        allowed = [(m, f) for m, f in named if self.is_allowed(m)]
        if named and not allowed:
            return (), refusal(named[0][0])
        hashed = [(m, f) for m, f in allowed if self._files.expected(m, f, lock).sha256]
        digest = sha256(path) if hashed else ""
        same = [(m, f) for m, f in hashed if self._files.expected(m, f, lock).sha256 == digest]
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

    def _files_named(self, path: Path, relative: str) -> Sequence[tuple[Model, ModelFile]]:
        """Return the manifest's files that a file may be by its place."""
        known = [(m, f) for m in self._manifest.models.values() for f in m.files]
        if place := hub_cache.published(path):
            return [(m, f) for m, f in known if any(("hub", *place) == (s.kind, s.place, s.path) for s in f.sources)]
        named = [(m, f) for m, f in known if f"/{relative}".endswith(f"/{f.name}")]
        # In a folder called after the model there is no doubt which one is meant.
        return [(m, f) for m, f in named if f"/{relative}".endswith(f"/{m.name}/{f.name}")] or named

    def _import_file(self, path: Path, model: Model, file: ModelFile) -> bool:
        with self._files.lock.exclusive(model.name, _no_progress), self._files.clean_staging(model):
            target = self._files.path(model, file.name)
            if target.is_file() and (path.samefile(target) or sha256(path) == sha256(target)):
                self._files.lock.record(
                    model.name, file.name, LockEntry(sha256(target), target.stat().st_size, "import"), only_if_new=True
                )
                return False
            target_path = self._files.staging(model, file)
            target_path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target_path)
            self._files.install(DownloadedFile(target_path, sha256=sha256(target_path)), model, file, "import")
            with contextlib.suppress(OSError):
                target_path.parent.rmdir()  # unless bytes of a broken pull lie there
            return True


def _no_progress(done: int, total: int, doing: str, preview: object = None) -> None:
    pass


def format_size(size: int) -> str:
    """Return a number of bytes in MB or GB; 0 means unknown."""
    if not size:
        return "size not known yet"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
