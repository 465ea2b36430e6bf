"""A person of an installation on two machines that share a ledger and a bucket and no folder: API here, worker there."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.terminal import sample_photos
from tasks import erasing
from tasks.files import open_files
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import Request
from tasks.queue.running.copies import NOTED, MachineCopies
from tasks.settings import load
from tests.tasks import servers
from tests.tasks.api.harness import ApiHarness, open_api
from tests.tasks.conftest import stand_at
from tests.tasks.stand import Stand, wait_while_told
from tests.tasks.storage.conftest import Machine, keys
from tests.tasks.storage.test_s3 import aged
from tests.tasks.storage.test_storage import write

pytestmark = [pytest.mark.services, pytest.mark.models, pytest.mark.networks]


@pytest.fixture
def served(address: str, tmp_path: Path) -> Iterator[tuple[Stand, ApiHarness]]:
    """An API with its data folder, and a worker with another."""
    more = {
        **servers.storage_settings(address, tmp_path.name),
        "PORTRAIT_TASKS__LEASE__SECONDS": "60",
        "PORTRAIT_MODELS__FOLDER": str(load().models.folder),
    }
    with contextmanager(stand_at)(tmp_path, more) as stand, open_api(stand.environment) as api:
        elsewhere = str(tmp_path / "elsewhere")
        stand.start_worker(FLOWS="tasks.queue.flows:open_flows", PORTRAIT_TASKS__DATA=elsewhere, OMP_NUM_THREADS="1")
        yield stand, api


def test_from_photos_to_a_portrait_and_to_nothing_on_two_machines(
    served: tuple[Stand, ApiHarness], tmp_path: Path
) -> None:
    stand, api = served
    client, files, there = api.client(), stand.files, tmp_path / "elsewhere"
    consent = {"agreed": True, "text_version": "2026-11", "given_by": "Ann"}
    person = client.post("/people", json={"name": "Ann", "consent": consent}).json()["id"]
    photos = [("files", (path.name, path.read_bytes())) for path in sample_photos.write_selfies(tmp_path / "p")[:3]]
    selfies = client.post(f"/people/{person}/selfies", files=photos).json()["added"]
    done(stand, client, client.post("/trainings", json={"person": person}))
    assert any(client.get(f"/selfies/{each['id']}/crop").status_code == 200 for each in selfies)
    order = {"people": {"1": person}, "style": "studio-grey", "count": 1, "seed": 1}
    (portrait,) = done(stand, client, client.post("/generations", json=order))["result"]["portraits"]

    whole = client.get(f"/portraits/{portrait}/file")
    part = client.get(f"/portraits/{portrait}/file", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert client.get(f"/portraits/{portrait}/file?side=128").headers["content-type"] == "image/jpeg"
    with zipfile.ZipFile(io.BytesIO(client.get("/portraits/zip").content)) as archive:
        assert [archive.read(name) for name in archive.namelist()] == [whole.content]
    with zipfile.ZipFile(io.BytesIO(client.get("/me/export").content)) as archive:
        names = archive.namelist()
        assert {name.partition("/")[0] for name in names} == {"records.json", "photos", "sets", "portraits"}
        assert json.loads(archive.read("records.json"))["people"][0]["id"] == person

    client.delete(f"/selfies/{selfies[0]['id']}")
    described = [key for key in keys(files) if key.endswith("set.json")]
    assert selfies[0]["id"].encode() not in (files.storage.read(described[0]) or b"")
    assert client.delete(f"/people/{person}").status_code in {200, 202, 204}
    for address in (f"/portraits/{portrait}/file", f"/selfies/{selfies[1]['id']}/file"):
        assert client.get(address).status_code in {404, 410}
    assert [key for key in keys(files) if key.startswith("owners/")] == []
    assert not [path for path in (files.root / "owners").rglob("*") if path.is_file()]
    aged(there)
    MachineCopies(stand.ledger, open_files(replace(stand.installation.tasks, data=there)))()
    assert not [path for path in (there / "owners").rglob("*") if path.is_file()]


def test_whoever_downloads_is_sent_to_the_storage_where_the_settings_say_so(address: str, tmp_path: Path) -> None:
    more = {**servers.storage_settings(address, tmp_path.name), "PORTRAIT_TASKS__STORAGE__LINKS": "60"}
    with contextmanager(stand_at)(tmp_path, more) as stand, open_api(stand.environment) as api:
        client = api.client()
        portrait = api.one_of_each().portrait
        row = stand.ledger.portraits.get("ann", portrait)
        place = stand.files.portrait("ann", row.job, row.file)
        stand.files.keep(place)
        answer = client.get(f"/portraits/{portrait}/file", follow_redirects=False)
        assert answer.status_code == 307
        assert "X-Amz-Signature=" in answer.headers["location"]
        assert client.get(f"/portraits/{portrait}/file?side=64", follow_redirects=False).status_code == 200


def test_a_machine_that_was_off_hears_of_what_was_erased(machine: Machine, sqlite: Ledger) -> None:
    one, two = machine("one"), machine("two")
    for owner in ("ann", "bob"):
        person = sqlite.people.add(owner, owner, "1", owner, sqlite.now()).id
        one.keep(write(one.selfie(owner, person, "s1")))
        two.fetch(two.selfie(owner, person, "s1"))
        if owner == "ann":
            erasure = sqlite.erasures.erase_person(Request(owner, sqlite.now()), person)
            erasing.finish_erasure(sqlite, one, erasure, sqlite.now())
    aged(two.root)
    left = write(two.staging("j1", "t") / "01.jpg")
    checkpoints = write(two.work_dir("bob", "p9", "job_9") / "state.pt")
    copies = MachineCopies(sqlite, two)
    copies()
    assert [path.relative_to(two.root).parts[:2] for path in two.root.rglob("s1")] == [("owners", "bob")]
    assert (two.root / NOTED).exists()
    assert left.exists(), "whoever stages it may be at work"
    assert not checkpoints.exists(), "nobody has the job"


def done(stand: Stand, client: Any, ordered: Any) -> dict[str, Any]:
    """The job as it is when it has succeeded."""
    assert ordered.status_code == 202, ordered.text
    place = ordered.headers["location"].removeprefix("/v1")
    state: Callable[[], dict[str, Any]] = lambda: client.get(place).json()  # noqa: E731
    wait_while_told(lambda: (state()["finished"] is not None, state()["progress"]), log=stand.log)
    assert state()["state"] == "succeeded", state()["fault"]
    return state()
