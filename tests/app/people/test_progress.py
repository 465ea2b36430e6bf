"""The page of progress: failures until they are seen, portraits as they come, whom orders are for, what stopping keeps."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portrait.errors import OperatorError, PortraitError, UserError
from tasks import schemas
from tasks.client.client import Client
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.rows import PortraitRow
from tasks.ledger.tables import jobs
from tests.app.pages import as_client, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import ApiHarness, picture


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def wanted(person: str, **more: Any) -> schemas.GenerationRequest:
    return schemas.GenerationRequest.model_validate({"people": {"1": person}, "style": "studio-warm", **more})


def begin(api: ApiHarness, worker: str = "w") -> Job:
    """Have a worker take the next drawing."""
    job = api.context.ledger.queue.claim(worker, "cpu", {"draw:studio", "draw:template"}, time.time(), 60)
    assert job is not None
    return job


def deliver(api: ApiHarness, job: Job, number: int) -> str:
    """Have the worker deliver a portrait while the job runs; returns its id."""
    context, now = api.context, time.time()
    place = context.files.portraits(job.owner, job.id)

    def publish(row: PortraitRow) -> None:
        place.mkdir(parents=True, exist_ok=True)
        (place / row.file).write_bytes(picture(number))

    size = len(picture(number))
    measured = {"likeness": {}, "scores": {"total": 0.1 * number}, "recipe": {"candidate": number}}
    named = {"style": "studio-warm", "style_version": 1, "file": "", "format": "png", "number": number}
    row = PortraitRow(
        new_id("portrait", now), job.owner, job.id, bytes=size, width=160, height=160, created=now, **named, **measured
    )
    return context.ledger.queue.deliver(job, now, row, publish).id


def fail(api: ApiHarness, error: PortraitError) -> str:
    job = begin(api)
    api.context.ledger.queue.fail(job, time.time(), error)
    return job.id


def progress_text(client: Client, **address: str) -> str:
    return visible_text(open_page(client, "progress", address))


def test_portraits_appear_while_the_order_is_drawn_and_stopping_keeps_them(api: ApiHarness) -> None:
    client, person = as_client(api), api.prepared_person()
    order = client.place_order([wanted(person, count=4), wanted(person, style="studio-black", count=2)])
    job = begin(api)
    assert "0 of 6 portraits are finished" in progress_text(client, order=order.id)
    first, second = (deliver(api, job, number) for number in (1, 2))
    app = open_page(client, "progress", {"order": order.id})
    text = visible_text(app)
    assert "For Ann" in text
    assert "2 of 6 portraits are finished" in text
    assert f"/picture/portrait/{first}?side=192" in text
    assert f"/portrait?person={person}&amp;id={second}&amp;order={order.id}" in text.replace("\\", "") or second in text
    assert "Next in line" in text, "the other style of the order stands beside it"
    press(app, "Stop and keep 2 finished")
    assert client.job(job.id).state == "cancelling"
    api.context.ledger.queue.release(job, time.time())
    ended = client.job(job.id)
    assert (ended.state, ended.portraits, ended.result) == ("cancelled", 2, {"portraits": [second, first]})
    text = progress_text(client, order=order.id)
    assert "Stopped. 2 of 4 are finished and kept." in text
    assert "Draw the rest" in text
    assert f"/picture/portrait/{second}" in text


def test_every_failure_stays_until_it_is_seen_however_many_come_after(api: ApiHarness) -> None:
    client, person = as_client(api), api.prepared_person()
    failed = []
    for at in range(3):
        client.generate(wanted(person, seed=at))
        failed.append(fail(api, UserError("no_shoulders", "These photos end too close to the face.")))
    for at in range(12):
        client.generate(wanted(person, seed=10 + at, style="studio-black"))
        api.complete_next_job("draw:studio")
    app = open_page(client, "progress")
    assert "3 did not work" in visible_text(app)
    assert {each.id for each in client.unseen_failures()} == set(failed)
    labels = [button.label for button in app.button]
    assert "Try again" not in labels, "it must fail again"
    assert labels.count("OK, seen") == 3
    next(button for button in app.button if button.key == f"seen-{failed[0]}").click().run()
    assert client.job(failed[0]).seen
    assert "2 did not work" in visible_text(app)
    press(app, "OK, all seen")
    assert client.unseen_failures() == []
    assert "did not work" not in visible_text(open_page(client, "progress"))
    assert "Show more" in [button.label for button in app.button]
    press(app, "Show more")
    assert app.query_params["shown"] in ("20", ["20"])
    assert "too close to the face" in visible_text(app), "it is the oldest of those that have ended"


def test_what_an_operator_can_mend_may_be_tried_again(api: ApiHarness) -> None:
    client, person = as_client(api), api.prepared_person()
    client.generate(wanted(person))
    failed = fail(api, OperatorError("missing_model", "A model is missing."))
    press(open_page(client, "progress"), "Try again")
    assert (client.job(failed).state, client.unseen_failures()) == ("queued", [])


def test_orders_of_several_people_and_pictures_say_which(api: ApiHarness) -> None:
    client, things = as_client(api), api.one_of_each()
    eve = api.prepared_person(name="Eve")
    client.cancel(things.waiting)
    client.generate(wanted(things.person, style=None, template=things.template))
    client.generate(wanted(eve))
    text = progress_text(client)
    assert "1 portrait: beach.png" in text
    assert f"/picture/template/{things.template}" in text
    assert "For Ann" in text
    assert "For Eve" in text
    alone = progress_text(client, order=client.jobs(kind="generate")[0].id)
    assert "For Eve" in alone
    assert "beach.png" not in alone
    assert "Show everything" in alone


def test_a_job_whose_worker_was_lost_tells_no_time(api: ApiHarness) -> None:
    client, person, ledger = as_client(api), api.prepared_person(), api.context.ledger
    client.generate(wanted(person, count=4))
    job = begin(api)
    ledger.queue.report(job, time.time(), "drawing", 0.5, "Drawing")
    with ledger.database.write() as connection:
        connection.execute(jobs.update().values(started=time.time() - 40))
    assert "about" in progress_text(client)
    with ledger.database.write() as connection:
        connection.execute(jobs.update().where(jobs.c.id == job.id).values(lease_until=time.time() - 1))
    text = progress_text(client)
    assert "Drawing · 50%" in text
    assert "about" not in text
