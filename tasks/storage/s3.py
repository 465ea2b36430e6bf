"""Files in a bucket of S3 or of what speaks its protocol, by obstore; the data folder holds copies of what was used last."""

import fnmatch
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import S3Store

from pipelines.folders import atomic
from portrait.errors import OperatorError
from tasks.storage.cache import Cache
from tasks.storage.storage import UNREACHABLE, StorageSettings, StoredFile, unreachable
from tasks.telemetry import metrics

PART_BYTES = 8 << 20
"""Files are sent and fetched in parts of so many bytes: one that fails is sent again alone."""
AT_ONCE = 8
"""Requests of one process at once."""
CONNECT_SECONDS, REQUEST_SECONDS = 3.0, 20.0
"""For a connection, and for one request with its part: half a megabyte a second at least."""
RETRY_SECONDS, RETRIES = 15.0, 6
"""Within so many seconds a request is made again after a failure, with pauses from a tenth of a second to two seconds."""
SCANNED_KEYS = 100_000
"""Keys that one pass of a sweep looks at; the next one goes on after them."""
ABSENT_SECONDS = 30.0
"""Seconds until a fixed folder that was not there is looked for again: samples of styles, which a worker draws some day."""
CHANGING_TRIES = 3
"""Times that a folder is listed anew because it changed while it was fetched."""


def open_s3(settings: StorageSettings, root: Path) -> "S3Storage":
    """The storage of the settings, with copies in `root`; asks nobody yet."""
    cache = Cache(root, settings.cache_megabytes * 1_000_000)
    return S3Storage(_open_store(settings), cache)


@dataclass(slots=True)
class S3Storage:
    """A bucket, and copies of what lies in it."""

    store: S3Store
    cache: Cache
    _pool: ThreadPoolExecutor | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sweeps: dict[str, str] = field(default_factory=dict)
    """The key after which each sweep goes on."""
    _absent: dict[str, float] = field(default_factory=dict)
    """Fixed folders that were not there, and until when nobody is asked for them again, by `time.monotonic`."""

    def put(self, key: str, path: Path, headers: Mapping[str, str] | None = None) -> None:
        """Send a file, or what of a folder is not there yet; then what of it is there too much is removed."""
        self._absent.pop(key, None)
        if not path.is_dir():
            self._send(key, path, headers)
            return
        there = {each.key: each for each in self.list(key)}
        files = {f"{key}/{file.relative_to(path).as_posix()}": file for file in _contents(path)}
        changed = [
            (name, file)
            for name, file in files.items()
            if name not in there or not self.cache.is_copy(file, there[name].version, there[name].bytes)
        ]
        self._each([partial(self._send, name, file, headers) for name, file in changed])
        self._delete([name for name in there if name not in files])

    def fetch_file(self, key: str, path: Path, fixed: bool = False) -> None:
        """Fetch a file unless its copy is the present version; a copy of what is not there any more goes."""
        if fixed and path.is_file():
            self._hit(path)
            return
        found = self.find(key)
        if found is None:
            path.unlink(missing_ok=True)
        elif self.cache.is_copy(path, found.version, found.bytes):
            self._hit(path)
        else:
            with _unless_changed():
                self._fetch([(found, path)])
                return
            self.fetch_file(key, path)

    def fetch_folder(self, key: str, path: Path, fixed: bool = False) -> None:
        """Fetch what of a folder has no copy of the present version; copies of what is not there any more go."""
        if fixed and path.is_dir():
            self._hit(path)
            return
        if fixed and self._absent.get(key, 0.0) > time.monotonic():
            return
        for _ in range(CHANGING_TRIES):
            with _unless_changed():
                self._fetch_listed(key, path, fixed)
                return
        raise unreachable("changed a folder again and again while it was read")

    def read(self, key: str) -> bytes | None:
        """The content of a file as it is now; nothing is copied."""
        with _answered("get", missing=True):
            return bytes(obstore.get(self.store, key).bytes())
        return None

    def remove(self, key: str) -> None:
        """Remove a file, or all in a folder, until nothing is listed any more."""
        self._absent.pop(key, None)
        self._delete([key])
        for _ in range(CHANGING_TRIES):
            found = [each.key for each in self.list(key)]
            if not found:
                return
            self._delete(found)
        raise unreachable("lists again and again what was removed")

    def find(self, key: str) -> StoredFile | None:
        """A file; None where there is none."""
        with _answered("head", missing=True):
            return _stored(obstore.head(self.store, key))
        return None

    def list(self, key: str, after: str = "") -> Iterator[StoredFile]:
        """All files in a folder, in pages of a thousand, sorted by key; with `after` those behind a key."""
        pages = iter(obstore.list(self.store, key or None, offset=after or None, chunk_size=1000))
        while True:
            with _answered("list"):
                page = next(pages, None)
            if page is None:
                return
            yield from map(_stored, page)

    def items(self, patterns: Sequence[str], sweep: str = "") -> Iterator[tuple[str, float]]:
        """What matches a pattern, with when the newest file of it was sent; of a sweep at most `SCANNED_KEYS` at once."""
        parts = [pattern.split("/") for pattern in patterns]
        found: dict[str, float] = {}
        last = ""
        for count, each in enumerate(self.list(parts[0][0], self._sweeps.get(sweep, "")), 1):
            names = each.key.split("/")
            for pattern in parts:
                if len(names) >= len(pattern) and all(map(fnmatch.fnmatchcase, names, pattern)):
                    item = "/".join(names[: len(pattern)])
                    found[item] = max(found.get(item, 0.0), each.changed)
            if sweep and count == SCANNED_KEYS:
                last = each.key
                break
        self._sweeps[sweep] = last
        yield from found.items()

    def forget(self, path: Path) -> bool:
        """Remove the copies below a folder but those in use; returns whether any are left."""
        return self.cache.forget(path)

    def link(self, key: str, seconds: int) -> str:
        """A signed address from which a file can be read for so long."""
        with _answered("link"):
            return obstore.sign(self.store, "GET", key, timedelta(seconds=seconds))

    def check(self) -> None:
        """Raise `OperatorError` (`storage_unreachable`) where the bucket cannot be listed."""
        self.cache.root.mkdir(parents=True, exist_ok=True)
        with _answered("list"):
            next(iter(obstore.list(self.store, chunk_size=1)), None)

    def _send(self, key: str, path: Path, headers: Mapping[str, str] | None) -> None:
        size = path.stat().st_size
        with _answered("put"):
            sent: Any = obstore.put(
                self.store, key, path, attributes=dict(headers or {}), chunk_size=PART_BYTES, max_concurrency=4
            )
        self.cache.mark(path, str(sent["e_tag"]))
        self.cache.add(size)

    def _delete(self, keys: Sequence[str]) -> None:
        if keys:
            with _answered("remove"):
                obstore.delete(self.store, keys)

    def _hit(self, path: Path) -> None:
        metrics.storage_cache("hit")
        self.cache.use(path)

    def _fetch_listed(self, key: str, path: Path, fixed: bool) -> None:
        found = [(each, path / PurePosixPath(each.key).relative_to(key)) for each in self.list(key)]
        if fixed:
            if not found:
                self._absent[key] = time.monotonic() + ABSENT_SECONDS
                return
            with atomic.replace_folder(path) as staged:
                self._fetch([(each, staged / place.relative_to(path)) for each, place in found])
            return
        wanted = [(each, place) for each, place in found if not self.cache.is_copy(place, each.version, each.bytes)]
        self._fetch(wanted)
        places = {place for _, place in found}
        for file in _contents(path):
            if file not in places:
                file.unlink(missing_ok=True)
        metrics.storage_cache("hit", len(found) - len(wanted))
        if found:
            self.cache.use(path)
        else:
            shutil.rmtree(path, ignore_errors=True)

    def _fetch(self, wanted: Sequence[tuple[StoredFile, Path]]) -> None:
        """Fetch files in parts, several at once; each is in place whole, or not at all."""
        with ExitStack() as stack:
            parts: list[Callable[[], object]] = []
            for each, path in wanted:
                staged = stack.enter_context(atomic.replace_file(path))
                with staged.open("xb") as file:
                    file.truncate(each.bytes)
                starts = range(0, each.bytes, PART_BYTES)
                parts += [partial(self._fetch_part, each, staged, start) for start in starts]
                stack.callback(self.cache.mark, staged, each.version)
            self._each(parts)
        metrics.storage_cache("miss", len(wanted))
        self.cache.add(sum(each.bytes for each, _ in wanted))

    def _fetch_part(self, wanted: StoredFile, path: Path, start: int) -> None:
        end = min(wanted.bytes, start + PART_BYTES)
        with _answered("get"):
            options: Any = {"range": (start, end), "if_match": wanted.version}
            content = bytes(obstore.get(self.store, wanted.key, options=options).bytes())
        if len(content) != end - start:
            raise unreachable("sent less than was asked for")
        with path.open("r+b") as file:
            file.seek(start)
            file.write(content)

    def _each(self, calls: Sequence[Callable[[], object]]) -> None:
        """Make all calls, several at once; raises what the first of them raises, after all have ended."""
        if len(calls) < 2:
            for call in calls:
                call()
            return
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(AT_ONCE, "storage")
        made = [self._pool.submit(call) for call in calls]
        failed = [error for each in made if (error := each.exception()) is not None]
        if failed:
            raise failed[0]


class _Changed(Exception):  # noqa: N818 -- it is caught here and is no error
    """What was to be fetched is another version by now, or gone."""


@contextmanager
def _unless_changed() -> Iterator[None]:
    """Leave the block where what it fetches changes meanwhile."""
    try:
        yield
    except _Changed:
        return


@contextmanager
def _answered(operation: str, missing: bool = False) -> Iterator[None]:
    """Count a request; raise `OperatorError` (`storage_unreachable`) for its failure, and leave where a file is missing."""
    began, code = time.monotonic(), ""
    try:
        yield
    except FileNotFoundError as error:
        if not missing:
            raise _Changed from error
    except PreconditionError as error:
        raise _Changed from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        code = UNREACHABLE
        sentence = "The object storage refuses access. Check tasks.storage, the credentials and what they may do."
        raise OperatorError(code, sentence) from error
    except (BaseError, ValueError) as error:
        code = UNREACHABLE
        told = re.search(r"status code: (\d+).*?(?:<Code>(\w+)|$)", str(error), re.DOTALL)
        reason = "does not answer" if told is None else f"answered {' '.join(filter(None, told.groups()))}"
        raise unreachable(reason) from error
    finally:
        metrics.storage_request(operation, time.monotonic() - began, code)


def _open_store(settings: StorageSettings) -> S3Store:
    """The client; what the settings leave open it takes from `AWS_…` variables or the machine's role."""
    given: dict[str, Any] = {"region": settings.region or os.environ.get("AWS_REGION") or "us-east-1"}
    endpoint = settings.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint:
        given["endpoint"] = endpoint
    if settings.encryption:
        given["server_side_encryption"] = settings.encryption
    if settings.kms_key:
        given["sse_kms_key_id"] = settings.kms_key
    return S3Store(
        settings.bucket,
        prefix=settings.prefix or None,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        },
        retry_config={
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=RETRY_SECONDS),
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
        },
        **given,
    )


def _stored(found: Any) -> StoredFile:
    return StoredFile(found["path"], found["size"], str(found["e_tag"]), found["last_modified"].timestamp())


def _contents(folder: Path) -> Iterator[Path]:
    """The files in a folder and its folders, sorted; neither links nor hidden names."""
    for path in sorted(folder.rglob("*")):
        names = path.relative_to(folder).parts
        if path.is_file() and not path.is_symlink() and not any(name.startswith(".") for name in names):
            yield path
