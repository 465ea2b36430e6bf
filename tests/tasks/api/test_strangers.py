"""Whose things they are: every route is walked with another owner's ids, without a key, and by roles that may not."""

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tasks.ledger.tables import metadata
from tests.tasks.api.desk import Desk
from tests.tasks.api.routes import OF_THE_HOUSE, OPEN, address, asked, routes


def kept(desk: Desk, owner: str) -> dict[str, list[Any]]:
    """Everything in the ledger that belongs to an owner, and their files."""
    found: dict[str, list[Any]] = {"files": [name for name in desk.left() if f"/{owner}/" in name]}
    with desk.office.store.database.read() as connection:
        for table in metadata.sorted_tables:
            if "owner" in table.c:
                rows = connection.execute(sa.select(table).where(table.c.owner == owner))
                found[table.name] = sorted(map(repr, rows))
    return found


def test_every_route_answers_404_for_the_things_of_another_owner(desk: Desk) -> None:
    bobs = desk.things("bob", "Bob")
    finished = replace(bobs, waiting=bobs.drawn)
    eve = desk.client("eve")
    before, walked = kept(desk, "bob"), []
    for route in routes(desk.app):
        of_an_id = "{id}" in route.path and route.path not in OF_THE_HOUSE
        if route.operators or not (of_an_id or route.path in {"/trainings", "/generations"}):
            continue
        for things in (bobs, finished):
            answer = eve.request(route.method, address(route, things), **asked(route, things))
            assert (route, answer.status_code, answer.json()["code"]) == (route, 404, "not_found")
        walked.append(route.path)
    for order in (
        {"people": {"1": eve_is_here(desk)}, "template": bobs.template},
        {"person": bobs.person, "base": "x"},
    ):
        path = "/generations" if "people" in order else "/trainings"
        assert eve.post(path, json=order).status_code == 404
    assert eve.get("/portraits/zip", params={"id": bobs.portrait}).status_code == 404
    assert len(walked) > 30
    assert kept(desk, "bob") == before


def eve_is_here(desk: Desk) -> str:
    return desk.person("eve", "Eve")


def test_lists_exports_and_erasing_reach_nothing_of_another_owner(desk: Desk) -> None:
    bobs = desk.things("bob", "Bob")
    eve = desk.client("eve")
    before = kept(desk, "bob")
    listed = [route for route in routes(desk.app) if route.method == "GET" and "{" not in route.path]
    for route in listed:
        if not route.operators and (route.method, route.path) not in OPEN:
            told = eve.get(route.path).text
            assert not [id for id in vars(bobs).values() if id in told], route
    for name in ("person", "job"):
        params = {name: bobs.person if name == "person" else bobs.drawn}
        assert eve.get("/portraits", params=params).json() == {"items": [], "next": None}
        assert eve.get("/portraits/zip", params=params).status_code == 404
    gone = eve.delete("/me").json()
    assert not any(gone.values())
    assert kept(desk, "bob") == before


def test_every_route_but_the_open_ones_asks_for_a_key(desk: Desk) -> None:
    bobs = desk.things("bob", "Bob")
    before = kept(desk, "bob")
    for caller in (desk.stranger(), desk.stranger("Bearer pk_wrong"), desk.stranger(f"Basic {desk.key('bob')}")):
        for route in routes(desk.app):
            if (route.method, route.path) in OPEN:
                continue
            answer = caller.request(route.method, address(route, bobs), **asked(route, bobs))
            assert (route, answer.status_code, answer.json()["code"]) == (route, 401, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert kept(desk, "bob") == before


def test_who_has_no_key_is_told_so_before_their_request_is_read(desk: Desk) -> None:
    stranger = desk.stranger()
    for route in routes(desk.app):
        if route.body and (route.method, route.path) not in OPEN:
            path = route.path.format(id="none", delivery="none")
            answer = stranger.request(route.method, path, content=b"{", headers={"Content-Type": route.body})
            assert (route, answer.status_code) == (route, 401)


def test_open_routes_answer_whoever_asks(desk: Desk) -> None:
    stranger = desk.stranger()
    assert stranger.get("/health").json()["status"] == "ok"
    assert stranger.get("/ready").status_code == 200
    assert stranger.get("/openapi.json").json()["info"]["title"] == "Portrait"


def test_operators_routes_are_for_operators(desk: Desk) -> None:
    things = desk.things()
    operators = [route for route in routes(desk.app) if route.operators]
    assert len(operators) >= 8
    for route in operators:
        answer = desk.client().request(route.method, address(route, things))
        assert (route, answer.status_code, answer.json()["code"]) == (route, 403, "forbidden")
    for role in ("operator", "admin"):
        for route in operators:
            answer = desk.client("olga", role).request(route.method, address(route, things))
            # What an own style needs before it can be published or seen is told in `test_styles.py`.
            own = route.path.startswith("/operator/style")
            assert answer.status_code < 300 or (own and answer.status_code in {404, 422}), (route, answer.text)


@pytest.mark.parametrize("role", ["person", "operator", "admin"])
def test_a_role_opens_no_other_owners_things_but_through_the_operators_routes(desk: Desk, role: Any) -> None:
    bobs = desk.things("bob", "Bob")
    caller = desk.client("olga", role)
    for path in (f"/people/{bobs.person}", f"/portraits/{bobs.portrait}/file", f"/jobs/{bobs.drawn}"):
        assert caller.get(path).status_code == 404
