"""Deletion with undo through the API: photos, pictures and portraits are hidden, come back, and are erased in the end."""

import time

import pytest

from tasks import erasing
from tasks.schemas import UNDO_SECONDS
from tests.tasks.api.harness import ApiHarness, OwnedIds, picture

KINDS = ("selfie", "template", "portrait")


def path_of(things: OwnedIds, kind: str) -> str:
    return {
        "selfie": f"/selfies/{things.selfie}",
        "template": f"/templates/{things.template}",
        "portrait": f"/portraits/{things.portrait}",
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_deleted_with_undo_is_hidden_restored_and_erased(api: ApiHarness, kind: str) -> None:
    things, client = api.one_of_each(), api.client()
    path = path_of(things, kind)
    stored, before = api.stored_files(), client.get(path).json()
    assert client.delete(path, params={"undo": True}).status_code == 204
    for hidden in (path, f"{path}/file"):
        answer = client.get(hidden)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert client.delete(path, params={"undo": True}).status_code == 404
    assert api.stored_files() == stored, "it is not erased yet"
    assert api.client("bob").post(f"{path}/restore").status_code == 404
    assert client.post(f"{path}/restore").json()["id"] == before["id"]
    assert client.get(path).json() == {**client.get(path).json(), **before}
    client.delete(path, params={"undo": True})
    assert erasing.erase_removed(api.context.ledger, api.context.files, time.time() + UNDO_SECONDS + 1) == 1
    for gone in (client.get(path), client.post(f"{path}/restore")):
        assert (gone.status_code, gone.json()["code"]) == (410, "erased")
    assert len(api.stored_files()) < len(stored)


def test_nothing_is_made_of_what_is_deleted(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    for kind in KINDS:
        client.delete(path_of(things, kind), params={"undo": True})
    assert client.post("/trainings", json={"person": things.person}).json()["code"] == "no_photos"
    order = {"people": {"1": things.person}, "template": things.template}
    assert client.post("/generations", json=order).status_code == 404
    assert client.post(f"/portraits/{things.portrait}/remake").status_code == 404
    assert client.get("/portraits/zip", params={"id": things.portrait}).status_code == 404
    assert client.get("/portraits/zip").status_code == 404
    assert client.get("/portraits").json() == {"items": [], "next": None, "total": 0}
    assert client.get("/templates").json()["items"] == []
    assert client.get(f"/people/{things.person}").json()["photos"] == 0
    records = client.get("/me/export").content
    assert things.portrait.encode() in records, "what is kept is exported until it is erased"


def test_the_same_file_again_brings_a_deleted_photo_back(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    client.delete(f"/selfies/{things.selfie}", params={"undo": True})
    again = client.post(f"/people/{things.person}/selfies", files=[("files", ("me.png", picture()))])
    assert [each["id"] for each in again.json()["added"]] == [things.selfie]
    assert client.get(f"/selfies/{things.selfie}/file").content == picture()
    assert erasing.erase_removed(api.context.ledger, api.context.files, time.time() + UNDO_SECONDS + 1) == 0


def test_what_was_learned_is_stale_when_its_photo_is_erased_and_not_before(api: ApiHarness) -> None:
    things, client, people = api.one_of_each(), api.client(), api.context.ledger.people
    refused = client.delete(f"/selfies/{things.selfie}", params={"undo": True, "learned": "erase"})
    assert (refused.status_code, refused.json()["code"]) == (422, "cannot_undo")
    client.delete(f"/selfies/{things.selfie}", params={"undo": True})
    (training_set,) = people.training_sets("ann", things.person)
    assert [each["file"] for each in training_set.photos] == [things.selfie]
    erasing.erase_removed(api.context.ledger, api.context.files, time.time() + UNDO_SECONDS + 1)
    assert [row.photos for row in people.training_sets("ann", things.person)] in ([], [[]])


def test_a_person_has_the_face_of_the_best_photo(api: ApiHarness) -> None:
    person, client = api.prepared_person(), api.client()
    (first,) = client.get(f"/people/{person}/selfies").json()["items"]
    assert client.get(f"/people/{person}").json()["face"] == first["id"]
    client.post(f"/people/{person}/selfies", files=[("files", ("other.png", picture(2)))])
    assert client.get("/people").json()["items"][0]["face"] == first["id"], "the other one was not judged"
    client.delete(f"/selfies/{first['id']}", params={"undo": True})
    assert client.get(f"/people/{person}").json()["face"] == ""


def test_a_face_of_a_group_is_chosen(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    path = f"/selfies/{things.selfie}"
    assert (client.get(path).json()["faces"], client.get(path).json()["face"]) == ([], None)
    changed = client.patch(path, json={"face": {"x": 0.25, "y": 0.5}}).json()
    assert (changed["face"], changed["wish"]) == ({"x": 0.25, "y": 0.5}, "")
    both = client.patch(path, json={"wish": "include", "face": {"x": 1, "y": 0}}).json()
    assert (both["face"], both["wish"]) == ({"x": 1, "y": 0}, "include")
    back = client.delete(f"{path}/face")
    assert (back.status_code, back.json()["face"], back.json()["wish"]) == (200, None, "include")
    assert client.get(path).json()["face"] is None
    for wrong in ({}, {"face": {"x": 2, "y": 0}}, {"face": {"x": 0.5}}):
        assert client.patch(path, json=wrong).status_code == 422
