"""Portraits: favourites, zips and exports that open; erasure leaves nothing."""

import io
import json
import secrets
import sqlite3
import time
import zipfile
from pathlib import Path

import PIL.Image

from tasks import schemas
from tasks.ledger.rows import PortraitRow
from tests.tasks.api.harness import ApiHarness, OwnedIds, picture


def file_name(row: PortraitRow) -> str:
    """The file name of a downloaded portrait."""
    return schemas.Portrait.model_validate(row).file_name


def opened(content: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def test_favourites_are_marked_and_found(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    path = f"/portraits/{things.portrait}"
    assert client.get(path).json()["favourite"] is False
    assert client.patch(path, json={"favourite": True}).json()["favourite"] is True
    api.complete_next_job("draw:studio", count=2)
    found = client.get("/portraits", params={"favourite": True}).json()["items"]
    assert [each["id"] for each in found] == [things.portrait]
    assert len(client.get("/portraits", params={"job": things.drawn}).json()["items"]) == 1
    assert len(client.get("/portraits", params={"person": things.person}).json()["items"]) == 3


def test_a_zip_holds_the_files_as_they_were_delivered(api: ApiHarness) -> None:
    client, _ = api.client(), api.one_of_each()
    api.complete_next_job("draw:studio", count=3)
    rows = api.context.ledger.portraits.list("ann").items
    marked = api.context.files.portrait("ann", rows[0].job, rows[0].file)
    content = io.BytesIO()
    PIL.Image.new("RGB", (64, 64)).save(content, "JPEG", xmp=b"<x:xmpmeta>made by a machine</x:xmpmeta>")
    marked.write_bytes(content.getvalue())
    answer = client.get("/portraits/zip")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="portraits.zip"'
    archive = opened(answer.content)
    assert sorted(archive.namelist()) == sorted(file_name(row) for row in rows)
    assert all(name.startswith("studio-warm-") for name in archive.namelist())
    for row in rows:
        file = api.context.files.portrait("ann", row.job, row.file).read_bytes()
        assert archive.read(file_name(row)) == file == client.get(f"/portraits/{row.id}/file").content
    assert b"made by a machine" in archive.read(file_name(rows[0]))
    some = client.get("/portraits/zip", params={"id": [rows[1].id, rows[1].id, rows[2].id]})
    assert sorted(opened(some.content).namelist()) == sorted(map(file_name, rows[1:3])), "asked twice, it is there once"
    assert client.get("/portraits/zip", params={"job": "none"}).status_code == 404


def test_a_portrait_is_called_by_its_style(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    sent = client.get(f"/portraits/{things.portrait}/file")
    row = api.context.ledger.portraits.get("ann", things.portrait)
    assert sent.headers["content-disposition"] == f'attachment; filename="{file_name(row)}"'


def test_an_export_is_everything(api: ApiHarness) -> None:
    things, client = api.one_of_each("ann", "Zoë 🙂"), api.client()
    (identity,) = api.context.ledger.people.identities("ann", things.person)
    identity_folder = api.context.files.identity("ann", things.person, identity.id)
    identity_folder.mkdir(parents=True)
    (identity_folder / "lora.safetensors").write_bytes(b"what was learned")
    archive = opened(client.get("/me/export").content)
    row = api.context.ledger.portraits.get("ann", things.portrait)
    assert set(archive.namelist()) == {
        "records.json",
        f"photos/{things.person}/{things.selfie}.png",
        f"learned/{things.person}/{identity.id}/lora.safetensors",
        f"portraits/{file_name(row)}",
        f"pictures/{things.template}.png",
    }
    assert archive.read(f"photos/{things.person}/{things.selfie}.png") == picture()
    records = json.loads(archive.read("records.json"))
    (person,) = records["people"]
    assert (person["name"], person["consents"][0]["given_by"]) == ("Zoë 🙂", "Zoë 🙂")
    assert [each["id"] for each in person["selfies"]] == [things.selfie]
    assert [each["id"] for each in records["portraits"]] == [things.portrait]
    assert [each["id"] for each in records["templates"]] == [things.template]
    assert api.key() not in archive.read("records.json").decode()


def test_an_export_of_nothing_opens_too(api: ApiHarness) -> None:
    assert opened(api.client().get("/me/export").content).namelist() == ["records.json"]


def assert_erased(api: ApiHarness, things: OwnedIds) -> None:
    client = api.client()
    of_person = ("", "/selfies", "/consents", "/identities")
    paths = [f"/people/{things.person}{path}" for path in of_person]
    paths += [f"/selfies/{things.selfie}", f"/selfies/{things.selfie}/file", f"/selfies/{things.selfie}/crop"]
    paths += [f"/portraits/{things.portrait}", f"/portraits/{things.portrait}/file", f"/jobs/{things.drawn}"]
    for path in paths:
        answer = client.get(path)
        assert (path, answer.status_code, answer.json()["code"]) == (path, 410, "erased")
    assert client.delete(f"/people/{things.person}").status_code == 410


def everything_stored(api: ApiHarness) -> bytes:
    """The ledger's file, compacted, with what stands in its log: nothing that was deleted is in there."""
    place = Path(str(api.context.ledger.database.engine.url.database))
    with sqlite3.connect(place) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = place.with_suffix(f".{secrets.token_hex(4)}")
    with sqlite3.connect(place) as connection:
        connection.execute(f"VACUUM INTO '{copy}'")
    return copy.read_bytes()


def test_erasing_a_person_reaches_everything(api: ApiHarness) -> None:
    client = api.client()
    consent = {"agreed": True, "text_version": "1", "given_by": "Wilhelmina"}
    body = {"name": "Wilhelmina", "consent": consent}
    made = client.post("/people", json=body, headers={"Idempotency-Key": "k"}).json()["id"]
    client.post(f"/people/{made}/selfies", files=[("files", ("wilhelmina.png", picture(70)))])
    things = api.one_of_each()
    client.post("/trainings", json={"person": made})
    running = api.context.ledger.queue.claim("w", "cpu", {"prepare"}, time.time(), 60)
    assert running is not None
    api.context.ledger.queue.report(running, time.time(), "looking", 0.1, "Looking at wilhelmina.png")
    before = everything_stored(api)
    assert b"Wilhelmina" in before
    assert b"wilhelmina.png" in before
    erased = client.delete(f"/people/{made}")
    assert erased.json()["people"] == [made]
    assert api.context.ledger.jobs.get("ann", running.id).state == "cancelling"
    after = everything_stored(api)
    assert b"Wilhelmina" not in after
    assert b"wilhelmina.png" not in after
    assert client.get(f"/people/{things.person}").status_code == 200, "others stay"


def test_an_erased_person_is_not_found(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    erased = client.delete(f"/people/{things.person}").json()
    assert (erased["people"], erased["selfies"], erased["portraits"]) == (
        [things.person],
        [things.selfie],
        [things.portrait],
    )
    assert {things.waiting, things.drawn} <= set(erased["jobs"])
    assert_erased(api, things)
    assert [name for name in api.stored_files() if "/people/" in name or "/jobs/" in name] == []
    assert client.get("/portraits").json()["items"] == []
    assert client.get(f"/templates/{things.template}").status_code == 200, "a picture is nobody's face"


def test_erasing_all_of_it(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    erased = client.delete("/me").json()
    assert erased["templates"] == [things.template]
    assert_erased(api, things)
    assert api.stored_files() == []
    assert client.get("/me").json()["people"]["used"] == 0
    assert client.get(f"/webhooks/{things.webhook}").status_code == 200
    assert client.delete("/me").json() == {
        name: [] for name in ("people", "selfies", "portraits", "templates", "jobs", "files")
    }


def test_one_portrait_is_deleted_alone(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    api.complete_next_job("draw:studio", count=2)
    assert client.delete(f"/portraits/{things.portrait}").status_code == 204
    assert client.get(f"/portraits/{things.portrait}/file").status_code == 410
    assert client.get("/portraits/zip", params={"id": things.portrait}).status_code == 410
    assert len(client.get("/portraits").json()["items"]) == 2
    assert sum("/jobs/" in name for name in api.stored_files()) == 2
