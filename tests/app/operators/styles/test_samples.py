"""Trying a draft out: it waits, it fails, it shows three people and says who could not be drawn."""

import time

import pytest

from portrait.errors import UserError
from tasks.client.client import Client
from tasks.ledger.rows import DraftNews
from tests.app.operators.styles.drafts import at, drafted, made
from tests.app.pages import press, words
from tests.tasks.api.desk import Desk

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


def test_a_trial_that_no_worker_can_do_says_what_it_waits_for_and_is_stopped(desk: Desk, olga: Client) -> None:
    made(olga)
    app = press(at(olga, "garden"), "Try it out")
    seen = words(app)
    assert "Trying a style out" in seen
    assert "This waits for something that only an operator can mend" in seen
    assert app.button(key="style-test").disabled
    press(app, "Stop")
    assert [job.state for job in olga.jobs(kind="test")] == ["cancelled"]


def test_a_trial_that_failed_says_why(desk: Desk, olga: Client) -> None:
    made(olga)
    olga.test_style("garden")
    able = {"prepare", "draw:text"}
    job = desk.office.store.queue.claim("w", "gpu.generate", able, time.time(), 60)
    assert job is not None
    desk.office.store.queue.refuse(job, time.time(), UserError("out_of_memory", "No memory."))
    assert "Trying a style out · There was not enough memory" in words(at(olga, "garden"))


def test_three_people_stand_side_by_side_and_who_could_not_be_drawn_is_said(desk: Desk, olga: Client) -> None:
    edition = made(olga).edition
    samples = [
        {"number": 1, "sitter": "astronaut", "distance": 0.41, "fault": ""},
        {"number": 2, "sitter": "third player", "distance": 0.58, "fault": ""},
        {"number": 3, "sitter": "fourth player", "distance": None, "fault": "No photo shows the shoulders."},
    ]
    told = {"job": "job_1", "edition": edition, "at": time.time(), "samples": samples}
    desk.office.store.drafts.hear(DraftNews("garden", edition, tested=told))
    seen = words(at(olga, "garden"))
    assert "/picture/sample/garden.1?side=480&amp;job=job_1" in seen
    assert "Distance 0.41" in seen
    assert "Player four" in seen
    assert "No photo shows the shoulders." in seen
    assert "Ready: look at the drawings" in seen
    olga.write_style("garden", {**drafted(olga).content, "mood": "calm"}, edition)
    seen = words(at(olga, "garden"))
    assert "Drawn before the last change" in seen
    assert "Try the style out before you publish it." in seen
