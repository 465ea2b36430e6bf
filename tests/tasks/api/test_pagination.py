"""Pagination while lists grow, ETags and ranges."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tasks import auth
from tasks.auth import Role
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.rows import WorkerRow
from tests.tasks.api.harness import ApiHarness, picture


def people(api: ApiHarness, count: int, start: float) -> list[str]:
    """Ids, the oldest first."""
    add = api.context.ledger.people.add
    return [add("ann", f"Person {at}", "1", "Ann", start + at).id for at in range(count)]


def test_a_cursor_leads_over_all_rows_once_while_others_are_added(api: ApiHarness) -> None:
    client = api.client()
    server = people(api, 120, 1000.0)
    ids: list[str] = []
    cursor, added = None, 0
    while True:
        page = client.get("/people", params={"limit": 25} | ({"cursor": cursor} if cursor else {})).json()
        ids += [each["id"] for each in page["items"]]
        assert len(page["items"]) <= 25
        cursor = page["next"]
        if cursor is None:
            break
        added += len(people(api, 2, 5000.0 + added))
    assert added == 8
    assert ids == server[::-1]
    assert len(client.get("/people", params={"limit": 200}).json()["items"]) == 128


def test_every_list_with_a_cursor_is_paged_alike(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    for each in range(3):
        client.post("/generations", json={"people": {"1": things.person}, "style": "studio-warm", "seed": each})
        client.post(f"/webhooks/{things.webhook}/test")
    api.complete_next_job("draw:studio", count=3)
    for path in ("/jobs", "/portraits", f"/webhooks/{things.webhook}/deliveries"):
        everything = client.get(path).json()
        assert everything["next"] is None
        first = client.get(path, params={"limit": 2}).json()
        second = client.get(path, params={"limit": 2, "cursor": first["next"]}).json()
        assert first["items"] + second["items"] == everything["items"][:4]
    best = client.get("/portraits").json()["items"]
    assert [each["number"] for each in best][:3] == [1, 2, 3], "of one job, the best first"


LISTS: Mapping[Role, Sequence[str]] = {
    "person": [
        "/jobs",
        "/keys",
        "/sessions",
        "/webhooks",
        "/webhooks/{webhook}/deliveries",
        "/people",
        "/people/{person}/selfies",
        "/people/{person}/consents",
        "/people/{person}/identities",
        "/portraits",
        "/templates",
        "/styles",
        "/styles/text-garden/traits",
        "/abilities",
    ],
    "operator": [
        "/operator/jobs",
        "/operator/jobs/{waiting}/log",
        "/operator/queues",
        "/operator/workers",
        "/operator/models",
        "/operator/styles",
    ],
    "admin": ["/operator/owners", "/operator/audit", "/keys"],
}


def test_every_list_comes_in_pages_that_hold_each_item_once(api: ApiHarness) -> None:
    things = filled(api)
    for role, paths in LISTS.items():
        client = api.client("ann", role)
        for path in (each.format(**things) for each in paths):
            whole = client.get(path).json()
            items, cursor, size = [], None, max(1, len(whole["items"]) // 3)
            while True:
                page = client.get(path, params={"limit": size} | ({"cursor": cursor} if cursor else {})).json()
                assert len(page["items"]) <= size
                items += page["items"]
                cursor = page["next"]
                if cursor is None:
                    break
            assert [named(each) for each in items] == [named(each) for each in whole["items"]], path
            assert len(items) >= 2, path
            assert client.get(path, params={"limit": 0}).status_code == 422
            assert client.get(path, params={"limit": 501}).status_code == 422


def test_a_page_behind_nothing_is_refused(api: ApiHarness) -> None:
    client = api.client()
    for path in ("/styles", "/sessions", "/webhooks"):
        refused = client.get(path, params={"cursor": "gone"})
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_cursor")


def named(item: Mapping[str, Any]) -> str:
    """What tells an item from the others of its list."""
    return str(next((item[name] for name in ("id", "name", "queue") if name in item), item))


def filled(api: ApiHarness) -> dict[str, str]:
    """Ids of things, of which there are at least three of each kind."""
    things, client, ledger = api.one_of_each(), api.client(), api.context.ledger
    for number in range(3):
        client.post(f"/people/{things.person}/selfies", files=[("files", (f"{number}.png", picture(20 + number)))])
        ledger.people.add("ann", f"Person {number}", "1", "Ann", time.time())
        ledger.people.add_consent("ann", things.person, "1", "Ann", time.time())
        client.post("/generations", json={"people": {"1": things.person}, "style": "studio-warm", "seed": number})
        client.post("/keys", json={"name": f"key {number}"})
        client.post("/templates", files={"file": (f"{number}.png", picture(30 + number))})
        client.post("/webhooks", json={"url": f"https://example.org/{number}"})
        client.post(f"/webhooks/{things.webhook}/test")
        client.post("/trainings", json={"person": things.person})
        api.anonymous().post("/sessions", json={"key": api.key()})
        auth.create_key(ledger, f"owner{number}", "key", "person", time.time())
        queues, abilities = ["cpu", "gpu.train"], [f"base:{number}", "draw:studio"]
        ledger.workers.register(WorkerRow(f"w{number}", queues, abilities, {}, "cpu", time.time(), time.time()))
        ledger.jobs.add(Job(new_id("job", time.time()), "ann", "train", f"gpu.{number}", {}, time.time()))
    api.complete_next_job("prepare")
    api.complete_next_job("prepare")
    ledger.jobs.cancel("ann", things.waiting, time.time())
    ledger.jobs.retry("ann", things.waiting, time.time())
    api.complete_next_job("draw:studio", count=3)
    return {name: str(getattr(things, name)) for name in ("person", "webhook", "waiting")}


def test_an_unchanged_answer_is_not_sent_again(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    for path in ("/people", f"/people/{things.person}", f"/jobs/{things.drawn}", "/styles", "/me", "/webhooks"):
        first = client.get(path)
        tag = first.headers["etag"]
        for header in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            again = client.get(path, headers={"If-None-Match": header})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), (path, header)
            assert "content-type" not in again.headers
        assert client.get(path, headers={"If-None-Match": '"other"'}).content == first.content


def test_a_changed_answer_has_another_tag(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    path = f"/people/{things.person}"
    tag = client.get(path).headers["etag"]
    client.patch(path, json={"name": "Anna"})
    changed = client.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["name"]) == (200, "Anna")
    assert changed.headers["etag"] != tag
    tag = client.get(f"/jobs/{things.waiting}").headers["etag"]
    client.post(f"/jobs/{things.waiting}/cancel")
    assert client.get(f"/jobs/{things.waiting}", headers={"If-None-Match": tag}).json()["state"] == "cancelled"


def test_problems_and_what_is_done_have_no_tag(api: ApiHarness) -> None:
    client = api.client()
    assert "etag" not in client.get("/people/none", headers={"If-None-Match": "*"}).headers
    body = {"name": "Ann", "consent": {"agreed": True, "text_version": "2026-11", "given_by": "Ann"}}
    assert client.post("/people", json=body, headers={"If-None-Match": "*"}).status_code == 201


def test_a_file_is_not_sent_again_and_can_be_had_in_parts(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    path, everything = f"/portraits/{things.portrait}/file", picture(101, format="JPEG")
    first = client.get(path)
    assert first.content == everything
    assert first.headers["cache-control"] == "no-store"
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for header, part in (("bytes=0-9", everything[:10]), ("bytes=10-", everything[10:]), ("bytes=-5", everything[-5:])):
        answer = client.get(path, headers={"Range": header})
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["content-range"].endswith(f"/{len(everything)}")
    for header in ("bytes=999999-", "bytes=9-1", "lines=1-2"):
        refused = client.get(path, headers={"Range": header})
        assert (refused.status_code, refused.json()["code"]) == (416, "bad_range")
    changed = client.get(path, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, everything)


def test_small_pictures_are_small_and_upright(api: ApiHarness) -> None:
    from io import BytesIO

    import PIL.Image

    person, client = api.prepared_person(), api.client()
    content, exif = BytesIO(), PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (400, 200)).save(content, "JPEG", exif=exif)
    added = client.post(f"/people/{person}/selfies", files=[("files", ("a.jpg", content.getvalue()))]).json()["added"][
        0
    ]
    assert (added["width"], added["height"]) == (200, 400)
    small = client.get(f"/selfies/{added['id']}/file", params={"side": 100})  # 96 is made
    assert small.headers["content-type"] == "image/jpeg"
    assert PIL.Image.open(BytesIO(small.content)).size == (48, 96)
    assert client.get(f"/selfies/{added['id']}/file").content == content.getvalue()
    for side in (63, 2049, "big"):
        assert client.get(f"/selfies/{added['id']}/file", params={"side": side}).status_code == 422


def test_ids_sort_by_age() -> None:
    now = time.time()
    assert new_id("job", now) < new_id("job", now + 0.01)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", new_id("delivery", now))
