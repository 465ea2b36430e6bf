"""Brings a model of one's own into the store: fetched, looked at, and written into the installation's own manifest."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipelines.model_store import detection, safetensors_file, sources
from pipelines.model_store.download import DownloadedFile, Downloader, Source
from pipelines.model_store.files import ModelFiles, sha256
from pipelines.model_store.http_download import SourceFailedError
from pipelines.model_store.manifest import KIND_WORDS, Commercial, Fact, Model, ModelFamily, ModelFile, ModelKind
from pipelines.model_store.own import OwnManifest
from pipelines.model_store.pull import Transfers, download_error
from pipelines.settings import ModelStoreSettings
from portrait.errors import OperatorError

if TYPE_CHECKING:
    from portrait.ports import Progress  # brings numpy, which the command line does without until it works

OWN_KINDS: tuple[ModelKind, ...] = ("base", "lora", "vae", "controlnet", "ip-adapter", "embedding", "upscaler")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
REFUSED = {"not_weights", "truncated_weights", "broken_weights", "wrong_kind", "pickled_weights", "hash_mismatch"}
"""Codes after which what was fetched is deleted: it would be refused again."""


@dataclass(frozen=True, slots=True)
class NewModel:
    """A model that is to be added, and where it comes from."""

    name: str
    kind: ModelKind
    source: str
    """A file or folder, `hub:ORG/REPO[@REVISION][:PATH]`, or an address."""
    licence: str
    commercial: Commercial
    family: ModelFamily = ""
    """Where the file itself does not tell it."""
    purpose: str = ""
    page: str = ""
    note: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict, hash=False)
    pickled: bool = False
    """Whether a pickled file is taken, of which the tensors are kept."""
    replace: bool = False
    """Whether it takes the place of an own model of that name."""


class Adding:
    """One call of `ModelStore.add`."""

    def __init__(self, files: ModelFiles, own: OwnManifest, settings: ModelStoreSettings) -> None:
        self._files, self._own, self._settings = files, own, settings

    def check(self, new: NewModel) -> None:
        """Check what can be checked at once; raises `OperatorError` (`bad_model`, `model_exists`, `licence_refused`)."""
        if not NAME.fullmatch(new.name):
            raise OperatorError(
                "bad_model", f"{new.name!r} is no name of a model: small letters, digits, - and _ make one, 60 at most."
            )
        if new.kind not in OWN_KINDS:
            raise OperatorError("bad_model", f"There is no kind {new.kind!r}. There are {', '.join(OWN_KINDS)}.")
        if not new.licence.strip():
            raise OperatorError(
                "bad_model", "Say under which licence the model may be used: its SPDX name, or LicenseRef-…."
            )
        if new.page and not new.page.startswith(("https://", "http://")):
            raise OperatorError("bad_model", f"{new.page!r} is no address of a page: it begins with https://.")
        if self._own.is_shipped(new.name):
            raise OperatorError("model_exists", f"{new.name} is a model of this program: choose another name.")
        if new.name in self._own.merged().models and not new.replace:
            raise OperatorError(
                "model_exists",
                f"There is a model {new.name} of your own: choose another name, or replace it (--replace).",
            )
        agreed = new.commercial == "yes" or new.licence.strip() in self._settings.commercial_licences
        if self._settings.use == "commercial" and not agreed:
            raise OperatorError(
                "licence_refused",
                f"{new.name} is not said to be for commercial use, and the profile of this installation is commercial: it "
                "would not be used. Take another, or name its licence in models.commercial_licences if its terms were bought.",
            )

    def __call__(self, new: NewModel, downloader: Downloader, progress: "Progress") -> Model:
        """Fetch, look at, install and note a model; the caller holds the lock of its name."""
        self.check(new)
        planned = Model(
            new.name,
            new.purpose or _purpose(new),
            new.licence.strip(),
            new.commercial,
            sources.files_of(new.name, new.kind, new.source, self._settings),
            page=new.page,
            note=new.note,
            kind=new.kind,
            family=new.family,
            own=True,
            facts=new.facts,
        )
        try:
            fetched = self._fetch(planned, new, downloader, progress)
            family = self._inspect(planned, new, progress)
        except OSError:
            shutil.rmtree(self._files.partial / new.name, ignore_errors=True)
            raise
        except OperatorError as error:
            if error.code in REFUSED:
                shutil.rmtree(self._files.partial / new.name, ignore_errors=True)
            raise
        model = replace(planned, files=tuple(fetched), family=family)
        self._install(model)
        return model

    def _fetch(self, model: Model, new: NewModel, downloader: Downloader, progress: "Progress") -> Sequence[ModelFile]:
        """Download the files into the staging folder; returns them with hash, size and the commit that they came from."""
        names = {f"{model.name}/{file.name}": file for file in model.files}
        transfers = Transfers(progress, dict.fromkeys(names, 0))
        fetched = []
        for name, file in names.items():
            (source,) = file.sources
            place = self._files.staging(model, file)
            note = place.with_name(place.name + ".done.json")
            known = _read_note(note, place, source)
            if known is None:
                report = transfers.reporter(name, name)
                try:
                    downloaded = downloader.download(source, place, report, own=True)
                except SourceFailedError as failed:
                    raise download_error(model, file, [(source, failed)]) from failed
                pickled = self._convert(place, file, new, downloader)
                known = replace(source, revision=downloaded.commit or source.revision, pickled=pickled)
                _check_hash(downloaded.sha256, pickled or sha256(place), model, file)
                note.write_text(
                    json.dumps({"source": _identity(source), "revision": known.revision, "pickled": pickled})
                )
            fetched.append(ModelFile(file.name, (known,), sha256(place), place.stat().st_size))
        return fetched

    @staticmethod
    def _convert(place: Path, file: ModelFile, new: NewModel, downloader: Downloader) -> str:
        """Take the tensors out of a pickled file where that is allowed; returns the pickled file's hash, else an empty word."""
        weights = PurePosixPath(file.name).suffix == sources.WEIGHTS
        if not (new.pickled and weights and safetensors_file.is_pickled(place)):
            return ""
        digest = sha256(place)
        downloader.convert(place)
        return digest

    def _inspect(self, model: Model, new: NewModel, progress: "Progress") -> ModelFamily:
        """Look into every file of weights; returns the family. Raises `OperatorError`, see `REFUSED`."""
        family, kept = new.family, {}
        for file in model.files:
            if PurePosixPath(file.name).suffix != sources.WEIGHTS:
                continue
            place = self._files.staging(model, file)
            with _named(place, file):
                tensors = safetensors_file.read_header(place)
                safetensors_file.check_numbers(
                    place, tensors, lambda done, total, name=file.name: progress(done, total, f"checking {name}")
                )
            kept[file.name] = tensors
        main = next((name for name in kept if PurePosixPath(name).parts[0] in sources.DENOISERS), next(iter(kept)))
        beside = [tensors for name, tensors in kept.items() if PurePosixPath(name).parent == PurePosixPath(main).parent]
        tensors = {name: each for part in beside for name, each in part.items()} if "/" in main else kept[main]
        return detection.require(PurePosixPath(main).name, detection.detect(tensors), new.kind, family)

    def _install(self, model: Model) -> None:
        """Move the files to their places and note the model; what an older one of the name had beside them goes."""
        old = self._own.merged().models.get(model.name)
        self._files.lock.forget(model.name)
        for file in model.files:
            (source,) = file.sources
            commit = source.revision if source.kind == "hub" else ""
            fetched = DownloadedFile(self._files.staging(model, file), commit, file.sha256)
            self._files.install(fetched, model, file, str(source))
        self._own.put(model)
        for gone in {file.name for file in (old.files if old else ())} - {file.name for file in model.files}:
            self._files.path(model, gone).unlink(missing_ok=True)
        shutil.rmtree(self._files.partial / model.name, ignore_errors=True)


def _purpose(new: NewModel) -> str:
    """What a model is for, where nobody said it."""
    kind = KIND_WORDS[new.kind]
    return f"{kind[0].upper()}{kind[1:]} that was added here"


@contextlib.contextmanager
def _named(place: Path, file: ModelFile) -> Iterator[None]:
    """Call a staged file by its own name in an error."""
    try:
        yield
    except OperatorError as error:
        raise OperatorError(error.code, error.message.replace(place.name, file.name), error.details) from error


def _check_hash(stated: str, found: str, model: Model, file: ModelFile) -> None:
    if stated and stated != found:
        failed = SourceFailedError("hash_mismatch", "sent something else than was published (its hash differs)")
        raise download_error(model, file, [(file.sources[0], failed)])


def _identity(source: Source) -> list[str]:
    return [source.kind, source.place, source.path, source.revision]


def _read_note(note: Path, place: Path, source: Source) -> Source | None:
    """The source of a file that an earlier try fetched whole; None where it is to be fetched."""
    if source.kind == "file" or not place.is_file():
        return None
    try:
        noted = json.loads(note.read_text("utf-8"))
        same = noted["source"] == _identity(source)
        return replace(source, revision=str(noted["revision"]), pickled=str(noted["pickled"])) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
