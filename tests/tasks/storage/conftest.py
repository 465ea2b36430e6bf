"""Installations whose files lie in a bucket."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.files import Files
from tasks.storage.s3 import S3Storage, open_s3
from tasks.storage.storage import StorageSettings
from tests.tasks import servers
from tests.tasks.wire import Wire, wire_to


@pytest.fixture
def address(started: Callable[[str], str]) -> str:
    """Address of an object storage; this process has its keys."""
    return started("seaweedfs")


@pytest.fixture
def url() -> str:
    """URL of a new place in the bucket."""
    return f"s3://{servers.BUCKET}/{secrets.token_hex(6)}"


@pytest.fixture
def wire(address: str) -> Iterator[Wire]:
    """A wire to the object storage."""
    with wire_to(int(address.rpartition(":")[2])) as wire:
        yield wire


Machine = Callable[..., Files]


@pytest.fixture
def machine(address: str, url: str, tmp_path: Path) -> Machine:
    """Files of a machine by its name: all share one place in the bucket, each has a data folder of its own."""

    def files(name: str, **more: Any) -> Files:
        given: dict[str, Any] = {"endpoint": address, **more}
        settings = StorageSettings(url, **given)
        return Files(tmp_path / name, open_s3(settings, tmp_path / name))

    return files


def bucket(files: Files) -> S3Storage:
    """The bucket behind the files of a machine."""
    assert isinstance(files.bucket, S3Storage)
    return files.bucket


def keys(files: Files) -> list[str]:
    """Everything in the bucket."""
    return [each.key for each in files.storage.list("")]
