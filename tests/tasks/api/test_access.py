"""Access control: every route is requested with another owner's ids, without a key, and by roles that may not."""

import time
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tasks.ledger.tables import metadata
from tests.tasks.api.harness import ApiHarness
from tests.tasks.api.routes import PUBLIC, SHARED, request_body, routes, url_of


def everything_stored(api: ApiHarness, owner: str) -> dict[str, list[Any]]:
    """Everything in the ledger that belongs to an owner, and their files."""
    found: dict[str, list[Any]] = {"files": [name for name in api.stored_files() if f"/{owner}/" in name]}
    with api.context.ledger.database.read() as connection:
        for table in metadata.sorted_tables:
            if "owner" in table.c:
                rows = connection.execute(sa.select(table).where(table.c.owner == owner))
                found[table.name] = sorted(map(repr, rows))
    return found


def test_every_route_answers_404_for_the_things_of_another_owner(api: ApiHarness) -> None:
    bobs = api.one_of_each("bob", "Bob")
    finished = replace(bobs, waiting=bobs.drawn)
    eve = api.client("eve")
    before, walked = everything_stored(api, "bob"), []
    for route in routes(api.app):
        of_an_id = "{id}" in route.path and route.path not in SHARED
        if route.operators or not (of_an_id or route.path in {"/trainings", "/generations"}):
            continue
        for things in (bobs, finished):
            answer = eve.request(route.method, url_of(route, things), **request_body(route, things))
            assert (route, answer.status_code, answer.json()["code"]) == (route, 404, "not_found")
        walked.append(route.path)
    for order in (
        {"people": {"1": eve_person(api)}, "template": bobs.template},
        {"person": bobs.person, "base": "x"},
    ):
        path = "/generations" if "people" in order else "/trainings"
        assert eve.post(path, json=order).status_code == 404
    assert eve.get("/portraits/zip", params={"id": bobs.portrait}).status_code == 404
    assert len(walked) > 30
    assert everything_stored(api, "bob") == before


def eve_person(api: ApiHarness) -> str:
    return api.prepared_person("eve", "Eve")


def test_lists_exports_and_erasing_reach_nothing_of_another_owner(api: ApiHarness) -> None:
    bobs = api.one_of_each("bob", "Bob")
    eve = api.client("eve")
    before = everything_stored(api, "bob")
    listed = [route for route in routes(api.app) if route.method == "GET" and "{" not in route.path]
    for route in listed:
        if not route.operators and (route.method, route.path) not in PUBLIC:
            text = eve.get(route.path).text
            assert not [id for id in vars(bobs).values() if id in text], route
    for name in ("person", "job"):
        params = {name: bobs.person if name == "person" else bobs.drawn}
        assert eve.get("/portraits", params=params).json() == {"items": [], "next": None, "total": 0}
        assert eve.get("/portraits/zip", params=params).status_code == 404
    erased = eve.delete("/me").json()
    assert not any(each for each in erased.values() if isinstance(each, list))
    assert everything_stored(api, "bob") == before


def test_every_route_but_the_open_ones_asks_for_a_key(api: ApiHarness) -> None:
    bobs = api.one_of_each("bob", "Bob")
    ended = api.anonymous().post("/sessions", json={"key": api.key("bob")}).json()
    api.client("bob").delete(f"/sessions/{ended['id']}")
    api.client("carl").get("/me")
    api.context.ledger.owners.disable("carl", time.time())
    before, rows = everything_stored(api, "bob"), all_rows(api)
    wrong = ("", "Bearer pk_wrong", f"Basic {api.key('bob')}", f"Bearer {ended['secret']}", f"Bearer {api.key('carl')}")
    for caller in map(api.anonymous, wrong):
        for route in routes(api.app):
            if (route.method, route.path) in PUBLIC:
                continue
            answer = caller.request(route.method, url_of(route, bobs), **request_body(route, bobs))
            assert (route, answer.status_code, answer.json()["code"]) == (route, 401, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert everything_stored(api, "bob") == before
    assert all_rows(api) == rows, "nothing of a stranger's is stored"


def test_open_routes_store_nothing_of_a_strangers(api: ApiHarness) -> None:
    api.client("bob").get("/me")
    rows, stranger = all_rows(api), api.anonymous()
    oidc = {"state": "s", "code": "c", "binding": "1.x.eA=="}
    for number in range(5):
        for body in ({"code": f"c{number}"}, {"key": f"pk_{number}"}, {"key": "ps_x"}, {"oidc": oidc}, {}):
            assert stranger.post("/sessions", json=body).status_code in {401, 404, 422}
        assert stranger.post("/sign-in", json={"code": f"c{number}"}).status_code == 401
        assert stranger.post("/oidc/authorizations", json={"redirect_uri": "https://eve.example"}).status_code == 404
    assert all_rows(api) == rows


def all_rows(api: ApiHarness) -> dict[str, int]:
    """How many rows each table has."""
    with api.context.ledger.database.read() as connection:
        return {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def test_a_request_without_a_key_is_refused_before_it_is_read(api: ApiHarness) -> None:
    stranger = api.anonymous()
    for route in routes(api.app):
        if route.body and (route.method, route.path) not in PUBLIC:
            path = route.path.format(id="none", delivery="none", name="none")
            answer = stranger.request(route.method, path, content=b"{", headers={"Content-Type": route.body})
            assert (route, answer.status_code) == (route, 401)


def test_open_routes_answer_whoever_asks(api: ApiHarness) -> None:
    stranger = api.anonymous()
    assert stranger.get("/health").json()["status"] == "ok"
    assert stranger.get("/ready").status_code == 200
    assert stranger.get("/openapi.json").json()["info"]["title"] == "Portrait"


def test_operators_routes_are_for_operators(api: ApiHarness) -> None:
    things = api.one_of_each()
    found = [route for route in routes(api.app) if route.operators]
    # Last what removes the owner whose things these are.
    operators = sorted(found, key=lambda route: route.method == "DELETE" and route.admins)
    assert len(operators) >= 8
    for route in operators:
        answer = api.client().request(route.method, url_of(route, things))
        assert (route, answer.status_code, answer.json()["code"]) == (route, 403, "forbidden")
    for role in ("operator", "admin"):
        for route in operators:
            if route.admins and role == "operator":
                answer = api.client("olga", role).request(route.method, url_of(route, things))
                assert (route, answer.status_code, answer.json()["code"]) == (route, 403, "forbidden")
                continue
            body = request_body(route, things) if route.admins or route.method == "PATCH" else {}
            answer = api.client("olga", role).request(route.method, url_of(route, things), **body)
            # What an own style needs before it can be published or seen is told in `test_styles.py`.
            # An address within the installation's own network gives no model, whoever asks.
            # Faces are blocked in `test_guards.py`.
            own = route.path.startswith(("/operator/style", "/operator/models", "/operator/blocked"))
            assert answer.status_code < 300 or (own and answer.status_code in {404, 422}), (route, answer.text)


@pytest.mark.parametrize("role", ["person", "operator", "admin"])
def test_a_role_opens_no_other_owners_things_but_through_the_operators_routes(api: ApiHarness, role: Any) -> None:
    bobs = api.one_of_each("bob", "Bob")
    caller = api.client("olga", role)
    for path in (f"/people/{bobs.person}", f"/portraits/{bobs.portrait}/file", f"/jobs/{bobs.drawn}"):
        assert caller.get(path).status_code == 404
