"""Backups of an installation whose files lie in a bucket, and files copied there."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from portrait.errors import OperatorError
from tasks.backup.folders import copy_files
from tasks.backup.matching import check_files
from tasks.backup.restoring import Target, restore
from tasks.backup.saving import save
from tasks.erasing import finish_erasure
from tasks.files import Files
from tasks.ledger.privacy.erasures import Request
from tasks.storage.s3 import open_s3
from tasks.storage.storage import StorageSettings
from tests.tasks import servers
from tests.tasks.backup.conftest import Place

SERVER = pytest.mark.parametrize("server", ["seaweedfs"])


def bucket_of(address: str, root: Path) -> Files:
    """Files of a machine with a place in the bucket of its own."""
    url = f"s3://{servers.BUCKET}/{secrets.token_hex(6)}"
    return Files(root, open_s3(StorageSettings(url, endpoint=address), root))


def contents(files: Files) -> dict[str, bytes | None]:
    """What is kept, by key."""
    return {each.key: files.storage.read(each.key) for top in ("owners", "styles") for each in files.storage.list(top)}


@SERVER
def test_a_bucket_is_backed_up_and_restored_and_erased_people_stay_erased(
    full: Place, place_of: Callable[[str], Place], started: Callable[[str], str], server: str, tmp_path: Path
) -> None:
    address = started(server)
    files = bucket_of(address, tmp_path / "one")
    count, _ = copy_files(full.files, files)
    there = contents(files)
    assert count == len(there) == 7
    assert set(there) <= {name.removeprefix("data/") for name in full.pictures()}
    assert {f"data/{key}": content for key, content in there.items()}.items() <= full.pictures().items()
    manifest = save(full.database, files, full.home / "portrait.tar")
    assert manifest.files == 7
    with pytest.raises(OperatorError, match="kept already"):
        restore(full.home / "portrait.tar", Target(place_of("sqlite").database, files))

    ledger = full.ledger()
    finish_erasure(ledger, full.files, ledger.erasures.erase_person(Request("ann", 5000.0), "person_1"), 5000.0)
    target, empty = place_of("sqlite"), bucket_of(address, tmp_path / "two")
    _, replayed = restore(full.home / "portrait.tar", Target(target.database, empty), [full.journal])
    assert (replayed.erased, replayed.pending) == (1, 0)
    assert contents(empty) == {
        key: content for key, content in there.items() if "/people/person_1/" not in key and "/jobs/job_1/" not in key
    }
    assert check_files(target.database, empty, 1e9).sound


@SERVER
def test_a_file_that_is_missing_in_the_bucket_is_told(
    full: Place, started: Callable[[str], str], server: str, tmp_path: Path
) -> None:
    files = bucket_of(started(server), tmp_path / "one")
    copy_files(full.files, files)
    assert check_files(full.database, files, 1e9).sound
    files.storage.remove("owners/ann/people/person_1/sets/set_1")
    assert check_files(full.database, files, 1e9).missing == ["owners/ann/people/person_1/sets/set_1"]
    with pytest.raises(OperatorError) as caught:
        copy_files(full.files, files)
    assert caught.value.code == "not_empty"
