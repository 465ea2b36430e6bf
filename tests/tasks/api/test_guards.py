"""Guards over the API: words, faces that are never drawn, and people who may be children."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipelines.settings import GuardSettings, Profile, Settings
from portrait.errors import UserError
from portrait.faces.likeness import distance
from portrait.ports import FaceFinder
from tasks.ledger.tables import people
from tasks.queue.face_reader import read_face
from tasks.settings import load
from tests import selfies
from tests.tasks.api.harness import ApiHarness, environment, new_home, open_api, picture

GUARDIAN = {
    "agreed": True,
    "text_version": "2027-01",
    "given_by": "Bea",
    "given_for": "guardian",
    "adult": True,
    "language": "en",
}


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "") if answer.content else ""


def order(person: str, **more: Any) -> dict[str, Any]:
    return {"people": {"1": person}, "style": "studio-warm", **more}


def asks(api: ApiHarness, person: str, value: bool | None) -> None:
    """Have the photos of a person ask for a guardian, as the worker notes it when it has judged them."""
    with api.context.ledger.database.write() as connection:
        connection.execute(sa.update(people).where(people.c.id == person).values(asks_guardian=value))


def face_of(api: ApiHarness, person: str, vector: Sequence[float], space: str = "dlib") -> None:
    """Give the newest training set of a person that mean embedding."""
    [row] = api.context.ledger.people.training_sets("ann", person)
    file = api.context.files.training_set("ann", person, row.id) / "set.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "likeness": {space: list(vector)}}))


def block(api: ApiHarness, person: str, note: str = "Letter of 3 May") -> str:
    body = {"owner": "ann", "person": person, "note": note}
    answer = api.client("op", "operator").post("/operator/blocked-people/from-person", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_who_may_be_a_child_is_not_drawn_before_a_guardian_agreed(api: ApiHarness) -> None:
    person, client = api.prepared_person(), api.client()
    assert client.get(f"/people/{person}").json()["guardian_needed"] is False
    asks(api, person, True)
    assert client.get(f"/people/{person}").json()["guardian_needed"] is True
    assert code(client.post("/generations", json=order(person))) == (403, "guardian_needed")
    placed = client.post("/orders", json={"generations": [order(person), order(person)]})
    assert [each["code"] for each in placed.json()["errors"]] == ["guardian_needed"] * 2
    client.post(f"/people/{person}/consents", json={**GUARDIAN, "given_for": "proxy"})
    assert code(client.post("/generations", json=order(person))) == (403, "guardian_needed"), "a guardian, nobody else"
    client.post(f"/people/{person}/consents", json=GUARDIAN)
    assert client.get("/people").json()["items"][0]["guardian_needed"] is False
    assert client.post("/generations", json=order(person)).status_code == 202
    client.delete(f"/people/{person}/consents")
    client.post(f"/people/{person}/consents", json={**GUARDIAN, "given_for": "self"})
    assert code(client.post("/generations", json=order(person))) == (403, "guardian_needed"), "the guardian withdrew"


def test_edits_remakes_and_trainings_wait_for_the_guardian_too(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    asks(api, things.person, True)
    assert code(client.post(f"/portraits/{things.portrait}/remake")) in ((403, "guardian_needed"), (422, "no_recipe"))
    job = replace(api.context.ledger.jobs.get("ann", things.drawn), kind="train", params={"person": things.person})
    with pytest.raises(UserError, match="guardian"):
        api.context.guards.check(job)
    assert client.post("/trainings", json={"person": things.person}).status_code == 202, "photos may be judged"


def test_an_operator_may_note_that_somebody_is_an_adult(api: ApiHarness) -> None:
    person, client, operator = api.prepared_person(), api.client(), api.client("op", "operator")
    assert operator.get("/operator/ages").json()["items"] == []
    asks(api, person, True)
    [asked] = operator.get("/operator/ages").json()["items"]
    assert (asked["owner"], asked["person"], asked["waiting"]) == ("ann", person, True)
    assert "Ann" not in json.dumps(asked), "no name"
    assert code(client.put(f"/operator/ages/{person}/adult")) == (403, "forbidden")
    assert operator.put(f"/operator/ages/{person}/adult").status_code == 204
    assert code(operator.put("/operator/ages/person_0/adult")) == (404, "not_found")
    assert operator.get("/operator/ages").json()["items"] == []
    assert client.post("/generations", json=order(person)).status_code == 202
    [entry] = api.client("root", "admin").get("/operator/audit?action=guard").json()["items"]
    assert (entry["action"], entry["subject"], entry["actor"].split(":")[0]) == ("guard.adult", person, "op")


def test_where_ages_are_not_known_the_profile_decides(api: ApiHarness) -> None:
    person = api.prepared_person()

    def waits(profile: Profile = "research", **given: Any) -> bool:
        settings = Settings(profile=profile, guards=GuardSettings(**given))
        return replace(api.context.guards, settings=settings).waiting([person]) == {person}

    cases = (waits(), waits("commercial"), waits(missing="closed"), waits("commercial", missing="open"))
    assert cases == (False, True, True, False)
    assert not waits("commercial", age=False), "the guard is off"
    asks(api, person, True)
    assert (waits(), waits(age=False)) == (True, False)
    api.context.ledger.ages.settle(person, 1.0)
    assert not waits("commercial")


def test_a_blocked_person_is_not_drawn_until_the_face_is_removed(api: ApiHarness) -> None:
    person, other, client = api.prepared_person(), api.prepared_person(name="Bob"), api.client()
    operator = api.client("op", "operator")
    for each, value in ((person, 0.0), (other, 1.0)):
        face_of(api, each, [value] * 128)
    id = block(api, person)
    [listed] = operator.get("/operator/blocked-people").json()["items"]
    assert {**listed, "added": 0} == {
        "id": id,
        "note": "Letter of 3 May",
        "added": 0,
        "added_by": listed["added_by"],
        "spaces": ["dlib"],
    }
    assert code(client.post("/generations", json=order(person))) == (403, "person_blocked")
    assert client.post("/generations", json=order(other)).status_code == 202
    face_of(api, person, [0.05] * 128)
    assert code(client.post("/generations", json=order(person))) == (403, "person_blocked"), ".57 away: the same person"
    face_of(api, person, [0.054] * 128)
    assert client.post("/generations", json=order(person)).status_code == 202, ".61 away"
    face_of(api, person, [0.0] * 128, "buffalo_l")
    assert client.post("/generations", json=order(person)).status_code == 202, "other spaces are not compared"
    face_of(api, person, [0.0] * 128)
    assert code(client.delete(f"/operator/blocked-people/{id}")) == (403, "forbidden")
    assert operator.delete(f"/operator/blocked-people/{id}").status_code == 204
    assert code(operator.delete(f"/operator/blocked-people/{id}")) == (404, "not_found")
    assert client.post("/generations", json=order(person)).status_code == 202
    log = api.client("root", "admin").get("/operator/audit?action=guard").json()["items"]
    assert [each["action"] for each in log] == ["guard.unblocked", "guard.blocked"]


def test_styles_are_not_shown_with_who_may_not_be_drawn(api: ApiHarness) -> None:
    person, guards = api.prepared_person(), api.context.guards
    [row] = api.context.ledger.people.training_sets("ann", person)
    assert guards.may_preview("ann", person, row.id)
    asks(api, person, True)
    assert not guards.may_preview("ann", person, row.id)
    asks(api, person, False)
    face_of(api, person, [0.0] * 128)
    id = block(api, person)
    assert not guards.may_preview("ann", person, row.id)
    assert api.client().get(f"/styles/studio-warm/preview?person={person}").status_code == 200, (
        "the style's own picture"
    )
    api.context.ledger.blocked_people.remove(id)
    assert guards.may_preview("ann", person, row.id)


def test_the_face_of_a_photo_is_kept_as_numbers_alone(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    operator, before = api.client("op", "operator"), api.stored_files()
    read: list[Path] = []

    def read_face(settings: object, place: Path) -> dict[str, list[float]]:
        read.append(place)
        assert place.is_file()
        return {"dlib": [0.5] * 128}

    monkeypatch.setattr("tasks.api.routes.admin.guards._read_face", read_face)
    photo = {"file": ("somebody.png", picture(3))}
    answer = operator.post("/operator/blocked-people?note=Letter", files=photo)
    assert code(answer)[0] == 201, answer.text
    assert api.stored_files() == before
    assert not read[0].exists()
    kept = api.context.ledger.blocked_people.list().items[0]
    assert kept.embeddings == {"dlib": [0.5] * 128}
    assert "somebody" not in repr(kept)
    assert code(operator.post("/operator/blocked-people", files=photo)) == (422, "bad_request"), "a note is asked for"
    assert code(api.client().post("/operator/blocked-people?note=a", files=photo)) == (403, "forbidden")
    assert code(operator.post("/operator/blocked-people?note=a", files={"file": ("a.png", b"no picture")}))[0] == 422
    assert api.stored_files() == before


def test_a_real_face_is_read_in_a_process_of_its_own(tmp_path: Path, finder: FaceFinder) -> None:
    given = {**environment(new_home(tmp_path / "home")), "PORTRAIT_MODELS__FOLDER": str(load().models.folder)}
    with open_api(given) as api:
        operator, before = api.client("op", "operator"), api.stored_files()
        photo = selfies.jpeg(selfies.astronaut())
        answer = operator.post("/operator/blocked-people?note=Letter", files={"file": ("me.jpg", photo)})
        assert answer.status_code == 201, answer.text
        [row] = api.context.ledger.blocked_people.list().items
        [own] = finder.faces(selfies.astronaut())
        assert distance("dlib", np.array(row.embeddings["dlib"]), own.embeddings["dlib"]) < 0.1
        (tmp_path / "group.jpg").write_bytes(selfies.jpeg(selfies.group()))
        with pytest.raises(UserError) as refused:
            read_face(finder, tmp_path / "group.jpg")
        assert refused.value.code == "no_single_face"
        assert api.stored_files() == before


def test_a_person_without_a_set_is_blocked_by_a_photo(api: ApiHarness) -> None:
    person = api.context.ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    body = {"owner": "ann", "person": person, "note": "a"}
    answer = api.client("op", "operator").post("/operator/blocked-people/from-person", json=body)
    assert code(answer) == (409, "not_prepared")


def test_words_are_refused_at_every_door(api: ApiHarness, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Jane Doe\n")
    person = api.prepared_person()
    job = api.context.ledger.jobs.get("ann", api.client().post("/generations", json=order(person)).json()["id"])
    guards = replace(api.context.guards, settings=Settings(guards=GuardSettings(names=tmp_path / "names.txt")))
    off = replace(guards, settings=Settings(guards=GuardSettings(words=False)))
    for words in ("nude", "s e x y", "裸体", "as Jane Doe"):
        for params in (
            {"technique": {"traits": words}},
            {"traits": {"hair": words}},
            {"edit": {"kind": "instruct", "words": words}},
        ):
            asked = replace(job, params={**job.params, **params})
            with pytest.raises(UserError, match="may not be drawn"):
                guards.check(asked)
            off.check(asked)
    guards.check(replace(job, params={**job.params, "traits": {"hair": "with a red scarf, 裸妆"}}))


def test_a_refused_edit_says_so_without_the_words(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    with api.context.ledger.database.write() as connection:
        table = sa.table("portraits", sa.column("recipe", sa.JSON))
        connection.execute(sa.update(table).values(recipe={"style": {"kind": "text"}, "seed": 1, "count": 1}))
    answer = client.post(f"/portraits/{things.portrait}/edits", json={"kind": "change", "words": "naked"})
    assert code(answer) == (422, "words_refused")
    assert "naked" not in answer.text
    assert (
        client.post(f"/portraits/{things.portrait}/edits", json={"kind": "change", "words": "a hat"}).status_code == 202
    )
    asks(api, things.person, True)
    client.post(f"/people/{things.person}/consents", json=GUARDIAN)
    more = {"kind": "change", "words": "in a bikini"}
    assert code(client.post(f"/portraits/{things.portrait}/edits", json=more)) == (422, "words_refused"), "a child's"
