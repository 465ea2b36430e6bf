"""Pulls several models at once: each in a thread of its own, an archive once for all, with one progress for everything."""

import shutil
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.model_store.download import Archive, DownloadedFile, Downloader, ReportBytes, Source, SourceFailedError
from pipelines.model_store.files import ModelFiles, sha256
from pipelines.model_store.lock import Lock, LockEntry
from pipelines.model_store.manifest import Model, ModelFile
from portrait.errors import Cancelled, OperatorError

if TYPE_CHECKING:
    from portrait.ports import Progress  # brings numpy, which the command line does without until it works

ADVICE = {
    "no_network": "Check the network, or carry the files in and run `portrait models import DIR`.",
    "gated": "Then pull again.",
    "hash_mismatch": "Nothing of it was kept.",
    "forbidden_address": "Nothing was fetched from there.",
    "model_too_large": "Nothing of it was kept.",
    "download_failed": "Pull again later, or carry the files in and run `portrait models import DIR`.",
}
OWN_ADVICE = {
    "no_network": "Check the network and the address.",
    "download_failed": "Check the address, or try again later.",
}
"""For models of one's own, which nobody can carry in by a name that is known."""
MAX_THREADS = 16
"""More than there are embedded models: threads that wait for one archive cost nothing."""


@dataclass(frozen=True, slots=True)
class PullResult:
    """The result of a pull for one model; files by name."""

    model: Model
    fetched: tuple[str, ...]
    unchanged: tuple[str, ...]
    size: int
    failure: str = ""
    """Why an optional model did not come; empty when all is well."""


class Transfers:
    """Adds up what several downloads have received; stops them all when one of them is stopped."""

    def __init__(self, progress: "Progress", expected: Mapping[str, int]) -> None:
        """`expected`: bytes of each transfer by name, 0 where unknown."""
        self._progress = progress
        self._bytes = {name: (0, size) for name, size in expected.items()}
        self._guard = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Have every transfer raise `Cancelled` the next time that it reports."""
        self._stopped = True

    def reporter(self, name: str, doing: str) -> ReportBytes:
        """Return the callback of one transfer; its sentence is `doing`."""

        def report(received: int, total: int) -> None:
            with self._guard:
                if self._stopped:
                    raise Cancelled
                known = self._bytes.get(name, (0, 0))[1]
                self._bytes[name] = (received, total or max(known, received))
                totals = [size for _, size in self._bytes.values()]
                everything = sum(totals) if all(totals) else 0
                self._progress(sum(got for got, _ in self._bytes.values()), everything, doing)

        return report

    def waiting(self, done: int, total: int, doing: str, preview: object = None) -> None:
        """Pass on that a transfer waits for another process; fits `Progress`."""
        self.reporter("", doing)(0, 0)


class Pull:
    """One call of `ModelStore.pull`."""

    def __init__(self, files: ModelFiles, downloader: Downloader, transfers: Transfers) -> None:
        self._files, self._downloader, self._transfers = files, downloader, transfers

    def __call__(self, models: Sequence[Model], required: bool) -> tuple[PullResult, ...]:
        """Pull the models; raises the first error when all others are through.

        `required`: optional models fail like the others; else their failure is in the result.
        """
        with ThreadPoolExecutor(min(MAX_THREADS, len(models) or 1)) as pool:
            futures = [pool.submit(self._pull_safely, model) for model in models]
            try:
                wait(futures)
            except BaseException:
                self._transfers.stop()
                raise
        # What stopped the others comes before their being stopped.
        errors = sorted(
            filter(None, (future.exception() for future in futures)), key=lambda e: isinstance(e, Cancelled)
        )
        if errors:
            raise errors[0]
        return tuple(_settle(model, each.result(), required) for model, each in zip(models, futures, strict=True))

    def _pull_safely(self, model: Model) -> PullResult | OperatorError:
        """Pull one model; a source that fails does not stop the others, a person or a full disk does."""
        try:
            return self._pull_model(model)
        except OperatorError as error:
            return error
        except BaseException:
            self._transfers.stop()
            raise

    def _pull_model(self, model: Model) -> PullResult:
        fetched: list[str] = []
        unchanged: list[str] = []
        with self._files.lock.exclusive(model.name, self._transfers.waiting):
            for file in model.files:
                if self._files.condition(model, file, self._files.lock.read()) in {"ok", "unverified"}:
                    unchanged.append(file.name)
                    continue
                with self._files.clean_staging(model):
                    source, downloaded = self._download(model, file)
                    self._files.install(downloaded, model, file, str(source))
                fetched.append(file.name)
            shutil.rmtree(self._files.partial / model.name, ignore_errors=True)
        size = self._files.size(model, self._files.lock.read())
        return PullResult(model, tuple(fetched), tuple(unchanged), size)

    def _download(self, model: Model, file: ModelFile) -> tuple[Source, DownloadedFile]:
        """Download from the first source that gives the right bytes."""
        target_path, lock = self._files.staging(model, file), self._files.lock.read()
        expected = self._files.expected(model, file, lock)
        failures: list[tuple[Source, SourceFailedError]] = []
        for source in (_with_known_commit(source, model, lock) for source in file.sources):
            report = self._transfers.reporter(transfer_name(source, model, file), f"{model.name}/{file.name}")
            try:
                return source, _verify(self._downloader.download(source, target_path, report, model.own), expected)
            except SourceFailedError as failed:
                failures.append((source, failed))
        raise download_error(model, file, failures, recorded=bool(expected.sha256 and not file.sha256))


def transfer_name(source: Source, model: Model, file: ModelFile) -> str:
    """Return the name of the transfer that brings a file; files of one archive share it."""
    return source.place if source.kind in ("archive", "zip") else f"{model.name}/{file.name}"


def expected_transfers(models: Sequence[Model], archives: Mapping[str, Archive], files: ModelFiles) -> dict[str, int]:
    """Return what a pull of these models has to fetch from their first sources, in bytes by name; 0 where unknown."""
    lock = files.lock.read()
    expected = {}
    for model in models:
        for file in model.files:
            if not files.is_present(model, file, lock):
                source = file.sources[0]
                size = archives[source.place].size if source.kind == "archive" else 0
                size = size if source.kind in ("archive", "zip") else files.expected(model, file, lock).size
                expected[transfer_name(source, model, file)] = size
    return expected


def _settle(model: Model, found: PullResult | OperatorError, required: bool) -> PullResult:
    if isinstance(found, PullResult):
        return found
    if required or not model.optional:
        raise found
    return PullResult(model, (), (), 0, found.message)


def _with_known_commit(source: Source, model: Model, lock: Lock) -> Source:
    """Return the source at the commit of the model's first file, so that its files belong together on every pull."""
    if source.kind != "hub" or source.revision:
        return source
    commits = [entry.commit for entry in lock.get(model.name, {}).values() if entry.source == str(source)]
    return replace(source, revision=next(filter(None, commits), ""))


def _verify(downloaded: DownloadedFile, expected: LockEntry) -> DownloadedFile:
    """Return the file with its computed hash; raises `SourceFailedError` and removes it when hash or size differ."""
    digest, must = sha256(downloaded.path), expected.sha256 or downloaded.sha256
    if (must and digest != must) or (expected.size and downloaded.path.stat().st_size != expected.size):
        downloaded.path.unlink()
        raise SourceFailedError("hash_mismatch", "sent something else than was published (its hash differs)")
    return replace(downloaded, sha256=digest)


def download_error(
    model: Model, file: ModelFile, failures: Sequence[tuple[Source, SourceFailedError]], *, recorded: bool = False
) -> OperatorError:
    """The error for a file that none of its sources gave; `recorded`: its hash is known from an earlier pull alone."""
    codes = [failed.code for _, failed in failures]
    alike = codes[0] if len(set(codes)) == 1 else "download_failed"
    code = next(
        (code for code in ("hash_mismatch", "forbidden_address", "model_too_large", "gated") if code in codes), alike
    )
    why = "; ".join(f"{source} {failed.reason}" for source, failed in failures)
    advice = (OWN_ADVICE if model.own else {}).get(code, ADVICE[code])
    if code == "hash_mismatch" and recorded:
        advice += (
            f" If the publisher replaced the file and you trust it, take {model.name} out of lock.json and pull again."
        )
    return OperatorError(code, f"{model.name}/{file.name} could not be fetched: {why}. {advice}")
