"""The port of everything that keeps files, and the settings of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from portrait.errors import OperatorError

UNREACHABLE = "storage_unreachable"
"""Code of the error where the storage does not answer; says nothing about what was to be read or written."""


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Object storage for the files of people; without `url` they are kept in the data folder alone.

    Credentials come from the environment alone: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the machine's role.
    """

    url: str = ""
    """Bucket and prefix, `s3://BUCKET/PREFIX`; the data folder is a cache of it then."""
    endpoint: str = ""
    """Address of a storage that is not AWS's: `https://s3.example.org`. Empty: AWS, or `AWS_ENDPOINT_URL`."""
    region: str = ""
    """Such as `eu-central-1`; empty: `AWS_REGION`, else `us-east-1`."""
    cache_megabytes: int = 20_000
    """Size of the copies in the data folder at most; what was read within the last minute may go beyond."""
    links: int = 0
    """Seconds for which a signed address of a portrait's file holds, to which the API sends whoever downloads it; 0: the API
    sends the file itself."""
    encryption: Literal["", "AES256", "aws:kms"] = ""
    """Encryption at the server that is asked for with each file; empty: what the bucket does by itself."""
    kms_key: str = ""
    """Id or ARN of the key for `aws:kms`; empty: the account's key for S3."""

    def __post_init__(self) -> None:
        """Check that settings fit together; raises `ValueError`."""
        if self.url and (not self.url.startswith("s3://") or not self.bucket):
            raise ValueError("storage.url is s3://BUCKET or s3://BUCKET/PREFIX")
        if urlsplit(self.endpoint).password or urlsplit(self.url).password:
            raise ValueError("credentials belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not in an address")
        if self.kms_key and self.encryption != "aws:kms":
            raise ValueError('storage.kms_key needs storage.encryption = "aws:kms"')
        if not 0 <= self.links <= 7 * 86_400:
            raise ValueError("storage.links is at most 604800, seven days")

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """What all keys begin with, without a slash at its end; may be empty."""
        return urlsplit(self.url).path.strip("/")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is kept."""

    key: str
    """Its path in the data folder, with `/`."""
    bytes: int
    version: str
    """Another one where the content changed: an ETag."""
    changed: float
    """Seconds since 1970."""


class Storage(Protocol):
    """Keeps files under keys, their paths in the data folder; `path` is that path on this machine.

    Every method raises `OperatorError` (`storage_unreachable`) where the storage does not answer, and `OSError` where this
    machine's disk does not.
    """

    def put(self, key: str, path: Path, headers: Mapping[str, str] | None = None) -> None:
        """Keep a file, or a folder with all that is in it and nothing else; hidden names are left out.

        `headers` are those with which a file is sent to whoever follows a `link`.
        """
        ...

    def fetch_file(self, key: str, path: Path, fixed: bool = False) -> None:
        """Have at `path` what is kept under a key: whole, or nothing where nothing is kept.

        One that is `fixed` never changes: where it is at `path`, nobody is asked.
        """
        ...

    def fetch_folder(self, key: str, path: Path, fixed: bool = False) -> None:
        """The same of a folder."""
        ...

    def read(self, key: str) -> bytes | None:
        """The content of a file as it is now; None where there is none."""
        ...

    def remove(self, key: str) -> None:
        """Remove what is kept under a key: a file, or all in a folder. This machine's own copy is not touched."""
        ...

    def find(self, key: str) -> StoredFile | None:
        """A file; None where there is none."""
        ...

    def list(self, key: str) -> Iterator[StoredFile]:
        """All files in a folder and its folders, sorted by key; hidden names are left out."""
        ...

    def items(self, patterns: Sequence[str], sweep: str = "") -> Iterator[tuple[str, float]]:
        """Files and folders whose keys match a pattern such as `owners/*/jobs/*`: key, and when it was last changed.

        The patterns begin with the same folder.
        With the name of a `sweep` a large storage may give a part of them; the next call goes on where this one ended.
        """
        ...

    def forget(self, path: Path) -> bool:
        """Remove this machine's copies below a folder but those in use; returns whether any are left."""
        ...

    def link(self, key: str, seconds: int) -> str:
        """A signed address from which a file can be read for so long; empty where there is no such thing."""
        ...

    def check(self) -> None:
        """Raise what keeps files from being read and written."""
        ...


def unreachable(reason: str) -> OperatorError:
    """The error where the storage does not answer, or refuses."""
    return OperatorError(UNREACHABLE, f"The object storage {reason}. Try again in a moment.")
