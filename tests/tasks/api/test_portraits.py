"""The gallery: favourites, zips and exports that open, and what stays after erasing: nothing."""

import io
import json
import secrets
import sqlite3
import time
import zipfile
from pathlib import Path

import PIL.Image

from tasks.api.routes.portraits import name_of
from tests.tasks.api.desk import Desk, Things, picture


def opened(content: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def test_favourites_are_marked_and_found(desk: Desk) -> None:
    things, client = desk.things(), desk.client()
    path = f"/portraits/{things.portrait}"
    assert client.get(path).json()["favourite"] is False
    assert client.patch(path, json={"favourite": True}).json()["favourite"] is True
    desk.finish("draw:studio", count=2)
    found = client.get("/portraits", params={"favourite": True}).json()["items"]
    assert [each["id"] for each in found] == [things.portrait]
    assert len(client.get("/portraits", params={"job": things.drawn}).json()["items"]) == 1
    assert len(client.get("/portraits", params={"person": things.person}).json()["items"]) == 3


def test_a_zip_holds_the_files_as_they_were_delivered(desk: Desk) -> None:
    client, _ = desk.client(), desk.things()
    desk.finish("draw:studio", count=3)
    rows = desk.office.store.portraits.list("ann").items
    marked = desk.office.files.portrait("ann", rows[0].job, rows[0].file)
    content = io.BytesIO()
    PIL.Image.new("RGB", (64, 64)).save(content, "JPEG", xmp=b"<x:xmpmeta>made by a machine</x:xmpmeta>")
    marked.write_bytes(content.getvalue())
    answer = client.get("/portraits/zip")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="portraits.zip"'
    archive = opened(answer.content)
    assert sorted(archive.namelist()) == sorted(name_of(row) for row in rows)
    assert all(name.startswith("studio-warm-") for name in archive.namelist())
    for row in rows:
        file = desk.office.files.portrait("ann", row.job, row.file).read_bytes()
        assert archive.read(name_of(row)) == file == client.get(f"/portraits/{row.id}/file").content
    assert b"made by a machine" in archive.read(name_of(rows[0]))
    some = client.get("/portraits/zip", params={"id": [rows[1].id, rows[1].id, rows[2].id]})
    assert sorted(opened(some.content).namelist()) == sorted(map(name_of, rows[1:3])), "asked twice, it is there once"
    assert client.get("/portraits/zip", params={"job": "none"}).status_code == 404


def test_a_portrait_is_called_by_its_style(desk: Desk) -> None:
    things, client = desk.things(), desk.client()
    sent = client.get(f"/portraits/{things.portrait}/file")
    row = desk.office.store.portraits.get("ann", things.portrait)
    assert sent.headers["content-disposition"] == f'attachment; filename="{name_of(row)}"'


def test_an_export_is_everything(desk: Desk) -> None:
    things, client = desk.things("ann", "Zoë 🙂"), desk.client()
    (identity,) = desk.office.store.people.identities("ann", things.person)
    learned = desk.office.files.identity("ann", things.person, identity.id)
    learned.mkdir(parents=True)
    (learned / "lora.safetensors").write_bytes(b"what was learned")
    archive = opened(client.get("/me/export").content)
    row = desk.office.store.portraits.get("ann", things.portrait)
    assert set(archive.namelist()) == {
        "records.json",
        f"photos/{things.person}/{things.selfie}.png",
        f"learned/{things.person}/{identity.id}/lora.safetensors",
        f"portraits/{name_of(row)}",
        f"pictures/{things.template}.png",
    }
    assert archive.read(f"photos/{things.person}/{things.selfie}.png") == picture()
    records = json.loads(archive.read("records.json"))
    (person,) = records["people"]
    assert (person["name"], person["consents"][0]["given_by"]) == ("Zoë 🙂", "Zoë 🙂")
    assert [each["id"] for each in person["selfies"]] == [things.selfie]
    assert [each["id"] for each in records["portraits"]] == [things.portrait]
    assert [each["id"] for each in records["templates"]] == [things.template]
    assert desk.key() not in archive.read("records.json").decode()


def test_an_export_of_nothing_opens_too(desk: Desk) -> None:
    assert opened(desk.client().get("/me/export").content).namelist() == ["records.json"]


def gone(desk: Desk, things: Things) -> None:
    client = desk.client()
    of_person = ("", "/selfies", "/consents", "/identities")
    paths = [f"/people/{things.person}{path}" for path in of_person]
    paths += [f"/selfies/{things.selfie}", f"/selfies/{things.selfie}/file", f"/selfies/{things.selfie}/crop"]
    paths += [f"/portraits/{things.portrait}", f"/portraits/{things.portrait}/file", f"/jobs/{things.drawn}"]
    for path in paths:
        answer = client.get(path)
        assert (path, answer.status_code, answer.json()["code"]) == (path, 410, "erased")
    assert client.delete(f"/people/{things.person}").status_code == 410


def everything_kept(desk: Desk) -> bytes:
    """The ledger's file, compacted, with what stands in its log: nothing that was deleted is in there."""
    place = Path(str(desk.office.store.database.engine.url.database))
    with sqlite3.connect(place) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = place.with_suffix(f".{secrets.token_hex(4)}")
    with sqlite3.connect(place) as connection:
        connection.execute(f"VACUUM INTO '{copy}'")
    return copy.read_bytes()


def test_erasing_a_person_reaches_everything(desk: Desk) -> None:
    client = desk.client()
    consent = {"agreed": True, "text_version": "1", "given_by": "Wilhelmina"}
    body = {"name": "Wilhelmina", "consent": consent}
    made = client.post("/people", json=body, headers={"Idempotency-Key": "k"}).json()["id"]
    client.post(f"/people/{made}/selfies", files=[("files", ("wilhelmina.png", picture(70)))])
    things = desk.things()
    client.post("/trainings", json={"person": made})
    running = desk.office.store.queue.claim("w", "cpu", {"prepare"}, time.time(), 60)
    assert running is not None
    desk.office.store.queue.report(running, time.time(), "looking", 0.1, "Looking at wilhelmina.png")
    before = everything_kept(desk)
    assert b"Wilhelmina" in before
    assert b"wilhelmina.png" in before
    erased = client.delete(f"/people/{made}")
    assert erased.json()["people"] == [made]
    assert desk.office.store.jobs.get("ann", running.id).state == "cancelling"
    after = everything_kept(desk)
    assert b"Wilhelmina" not in after
    assert b"wilhelmina.png" not in after
    assert client.get(f"/people/{things.person}").status_code == 200, "others stay"


def test_an_erased_person_is_gone(desk: Desk) -> None:
    things, client = desk.things(), desk.client()
    told = client.delete(f"/people/{things.person}").json()
    assert (told["people"], told["selfies"], told["portraits"]) == ([things.person], [things.selfie], [things.portrait])
    assert {things.waiting, things.drawn} <= set(told["jobs"])
    gone(desk, things)
    assert [name for name in desk.left() if "/people/" in name or "/jobs/" in name] == []
    assert client.get("/portraits").json()["items"] == []
    assert client.get(f"/templates/{things.template}").status_code == 200, "a picture is nobody's face"


def test_erasing_all_of_it(desk: Desk) -> None:
    things, client = desk.things(), desk.client()
    told = client.delete("/me").json()
    assert told["templates"] == [things.template]
    gone(desk, things)
    assert desk.left() == []
    assert client.get("/me").json()["people"]["used"] == 0
    assert client.get(f"/webhooks/{things.webhook}").status_code == 200
    assert client.delete("/me").json() == {
        name: [] for name in ("people", "selfies", "portraits", "templates", "jobs", "files")
    }


def test_one_portrait_is_deleted_alone(desk: Desk) -> None:
    things, client = desk.things(), desk.client()
    desk.finish("draw:studio", count=2)
    assert client.delete(f"/portraits/{things.portrait}").status_code == 204
    assert client.get(f"/portraits/{things.portrait}/file").status_code == 410
    assert client.get("/portraits/zip", params={"id": things.portrait}).status_code == 410
    assert len(client.get("/portraits").json()["items"]) == 2
    assert sum("/jobs/" in name for name in desk.left()) == 2
