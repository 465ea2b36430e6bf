"""Portraits: favourites, zips and exports that open; erasure leaves nothing."""

import io
import json
import secrets
import sqlite3
import time
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import PIL.Image
import pytest
import sqlalchemy as sa

from tasks import erasing
from tasks.auth import hash_secret
from tasks.jobs import LeaseLost
from tasks.ledger.tables import identities
from tests.tasks.api.harness import ApiHarness, OwnedIds, picture, style_part


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
    names = [f"Ann-{style_part()}-{name}.jpg" for name in ("1", "2", "3", "1 (2)")]
    assert archive.namelist() == names, "of two with one name the second has a number"
    for row, name in zip(rows, names, strict=True):
        file = api.context.files.portrait("ann", row.job, row.file).read_bytes()
        assert archive.read(name) == file == client.get(f"/portraits/{row.id}/file").content
    assert b"made by a machine" in archive.read(names[0])
    some = client.get("/portraits/zip", params={"id": [rows[1].id, rows[1].id, rows[2].id]})
    assert opened(some.content).namelist() == names[1:3], "asked twice, it is there once"
    assert client.get("/portraits/zip", params={"job": "none"}).status_code == 404


def test_an_export_is_everything(api: ApiHarness) -> None:
    things, client = api.one_of_each("ann", "Zoë 🙂"), api.client()
    (identity,) = api.context.ledger.people.identities("ann", things.person)
    identity_folder = api.context.files.identity("ann", things.person, identity.id)
    identity_folder.mkdir(parents=True)
    (identity_folder / "lora.safetensors").write_bytes(b"what was learned")
    made = f"sets/{things.person}/{identity.training_set}"
    archive = opened(client.get("/me/export").content)
    row = api.context.ledger.portraits.get("ann", things.portrait)
    assert set(archive.namelist()) == {
        "records.json",
        f"photos/{things.person}/{things.selfie}.png",
        f"learned/{things.person}/{identity.id}/lora.safetensors",
        f"{made}/set.json",
        f"{made}/crop.png",
        f"portraits/studio-warm-{row.id[-6:]}-1.jpg",
        f"pictures/{things.template}.png",
    }
    assert archive.read(f"photos/{things.person}/{things.selfie}.png") == picture()
    records = json.loads(archive.read("records.json"))
    (person,) = records["people"]
    assert (person["name"], person["consents"][0]["given_by"]) == ("Zoë 🙂", "Zoë 🙂")
    assert [each["id"] for each in person["selfies"]] == [things.selfie]
    assert [each["id"] for each in records["portraits"]] == [things.portrait]
    assert [each["id"] for each in records["templates"]] == [things.template]
    assert {each["id"] for each in records["jobs"]} >= {things.waiting, things.drawn}
    assert [each["name"] for each in records["api_keys"]] == ["ann's"]
    assert [each["url"] for each in records["webhooks"]] == ["https://example.org/hook"]
    secret = api.context.ledger.webhooks.get("ann", things.webhook).secret
    for each in (api.key(), hash_secret(api.key()), secret):
        assert each not in archive.read("records.json").decode()
    assert [entry.actor for entry in api.context.ledger.audit.list(action="export.made").items] == [f"ann:{things.key}"]


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
    consent = {"agreed": True, "text_version": "2026-11", "given_by": "Wilhelmina"}
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
    erased = client.delete(f"/people/{made}").json()
    assert erased["people"] == [made]
    assert (erased["files"], erased["done"]) == ([], None), "where files lay is told to nobody; a worker may yet write"
    assert client.get(f"/jobs/{running.id}").status_code == 410
    with pytest.raises(LeaseLost):
        api.context.ledger.queue.report(running, time.time(), "looking", 0.2, "Looking at wilhelmina.png")
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
    for gone in (f"/webhooks/{things.webhook}", f"/jobs/{erased['jobs'][0]}"):
        assert client.get(gone).status_code in {404, 410}
    assert client.get("/jobs").json()["items"] == []
    again = client.delete("/me").json()
    assert not any(value for value in again.values() if isinstance(value, list))


def test_one_portrait_is_deleted_alone(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    api.complete_next_job("draw:studio", count=2)
    assert client.delete(f"/portraits/{things.portrait}").status_code == 204
    assert client.get(f"/portraits/{things.portrait}/file").status_code == 410
    assert client.get("/portraits/zip", params={"id": things.portrait}).status_code == 410
    assert len(client.get("/portraits").json()["items"]) == 2
    assert sum("/jobs/" in name for name in api.stored_files()) == 2


def test_erasing_everything_leaves_the_key_that_asks_and_a_receipt(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    other = client.post("/keys", json={"name": "Ann's phone"}).json()
    erased = client.delete("/me").json()
    assert (erased["keys"], erased["webhooks"]) == ([other["id"]], [things.webhook])
    receipt = client.get(f"/me/erasures/{erased['erasure']}").json()
    assert (receipt["kind"], receipt["subject"], receipt["actor"]) == ("owner", "ann", f"ann:{things.key}")
    assert receipt["done"] == erased["done"] is not None
    assert receipt["ids"]["people"] == [things.person]
    assert [each["id"] for each in client.get("/me/erasures").json()["items"]] == [receipt["id"]]
    assert api.client("bob").get(f"/me/erasures/{receipt['id']}").status_code == 404
    assert client.delete("/me", params={"account": True}).status_code == 200
    assert client.get("/me").status_code == 401, "the account is closed"


def test_an_admin_exports_and_erases_for_somebody(api: ApiHarness) -> None:
    things, admin = api.one_of_each(), api.client("root", "admin")
    paths = (("GET", "/operator/owners/ann/export", None), ("POST", "/operator/erasures", {"owner": "ann"}))
    for method, path, body in paths:
        assert api.client("olga", "operator").request(method, path, json=body).status_code == 403
    assert things.person in opened(admin.get("/operator/owners/ann/export").content).read("records.json").decode()
    assert admin.get("/operator/owners/nobody/export").status_code == 404
    assert admin.post("/operator/erasures", json={"owner": "bob", "person": things.person}).status_code == 404
    order = {"owner": "ann", "person": things.person}
    assert admin.post("/operator/erasures", json=order).json()["ids"]["people"] == [things.person]
    assert admin.post("/operator/erasures", json=order).status_code == 410
    assert api.client().get("/me").status_code == 200
    assert admin.post("/operator/erasures", json={"owner": "ann"}).json()["kind"] == "owner"
    assert api.client().get("/me").status_code == 401
    found = admin.get("/operator/erasures", params={"owner": "ann"}).json()["items"]
    assert [each["kind"] for each in found] == ["owner", "person"]
    actions = [(entry.action, entry.actor) for entry in api.context.ledger.audit.list(action="erasure.asked").items]
    assert {actor.split(":")[0] for _, actor in actions} == {"root"}


def test_an_erasure_that_a_disk_refuses_is_finished_later(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    things, client = api.one_of_each(), api.client()

    def refuse(*_: object) -> None:
        raise OSError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        erased = client.delete(f"/people/{things.person}").json()
    assert erased["done"] is None
    assert api.context.files.person("ann", things.person).exists()
    now = time.time() + 100
    assert erasing.finish_erasures(api.context.ledger, api.context.files, now) == 1
    assert not api.context.files.person("ann", things.person).exists()
    assert client.get(f"/me/erasures/{erased['erasure']}").json()["done"] is not None


def test_of_a_deleted_photo_what_was_learned_is_marked_or_erased(api: ApiHarness) -> None:
    person, client, people = api.prepared_person(), api.client(), api.context.ledger.people
    files = [("files", (f"{seed}.png", picture(seed))) for seed in (1, 2)]
    one, two = (each["id"] for each in client.post(f"/people/{person}/selfies", files=files).json()["added"])
    client.post("/trainings", json={"person": person})
    api.complete_next_job("prepare")
    made = people.identities("ann", person)[0]
    with api.context.ledger.database.write() as connection:
        learned = replace(made, id="identity_learned", base="sdxl")
        connection.execute(sa.insert(identities).values(asdict(learned)))
    path = f"/people/{person}/identities"
    assert client.delete(f"/selfies/{one}").status_code == 204
    found = {each["id"]: each["stale"] for each in client.get(path).json()["items"]}
    assert (found[learned.id] is None, found[made.id] is None) == (False, True)
    assert client.delete(f"/selfies/{two}", params={"learned": "erase"}).status_code == 204
    assert client.get(path).json()["items"][0]["id"] == made.id
    assert client.delete(f"/identities/{made.id}").status_code == 204
    assert client.delete(f"/identities/{made.id}").status_code == 410
    assert client.get(f"/people/{person}").json()["photos"] == 1, "the photo that was there first"
