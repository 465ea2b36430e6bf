"""Tests of a draft: waiting, failing, and the samples with the reason for a missing one."""

import time

import pytest

from portrait.errors import UserError
from tasks import schemas
from tasks.client.client import Client
from tasks.ledger.rows import DraftFindings
from tests.app.operators.styles.drafts import create_draft, get_draft, open_style
from tests.app.pages import press, visible_text
from tests.tasks.api.harness import ApiHarness

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


def test_a_test_without_a_worker_shows_what_it_waits_for_and_can_be_cancelled(api: ApiHarness, olga: Client) -> None:
    create_draft(olga)
    person = api.prepared_person("olga", "Ann")
    app = open_style(olga, "garden")
    app.multiselect(key="style-people").select(person)
    app = press(app, "Try it out")
    assert olga.jobs(kind="test")[0].wants["people"] == {"1": person}
    text = visible_text(app)
    assert "Trying a style out" in text
    assert "This waits for something that only an operator can mend" in text
    assert app.button(key="style-test").disabled
    press(app, "Stop")
    assert [job.state for job in olga.jobs(kind="test")] == ["cancelled"]


def test_a_failed_test_shows_why(api: ApiHarness, olga: Client) -> None:
    create_draft(olga)
    olga.test_style("garden")
    able = {"prepare", "draw:text"}
    job = api.context.ledger.queue.claim("w", "gpu.generate", able, time.time(), 60)
    assert job is not None
    api.context.ledger.queue.fail(job, time.time(), UserError("out_of_memory", "No memory."))
    assert "Trying a style out · There was not enough memory" in visible_text(open_style(olga, "garden"))


def test_samples_are_side_by_side_with_the_reason_for_a_missing_one(api: ApiHarness, olga: Client) -> None:
    edition = create_draft(olga).edition
    samples = [
        {"number": 1, "sitter": "astronaut", "distance": 0.41, "step": 1, "fault": ""},
        {"number": 2, "sitter": "third player", "distance": 0.58, "step": 2, "fault": ""},
        {"number": 3, "sitter": "fourth player", "distance": None, "fault": "No photo shows the shoulders."},
    ]
    tested = {"job": "job_1", "edition": edition, "at": time.time(), "samples": samples}
    api.context.ledger.drafts.record_findings(DraftFindings("garden", edition, tested=tested))
    text = visible_text(open_style(olga, "garden"))
    assert "/picture/sample/garden.1?side=480&amp;job=job_1" in text
    assert "Distance 0.41" in text
    assert "Player four" in text
    assert "No photo shows the shoulders." in text
    assert "One of 3 samples could not be made. One of 3 samples is not like the person." in text
    assert "they speak against publishing" in text
    who = {"sitter": "", "distance": 0.4, "step": 1, "fault": ""}
    people = [api.prepared_person("olga", "Ann"), api.prepared_person("otto", "Bob")]
    own = [{"number": number, "person": person, **who} for number, person in enumerate(people, 1)]
    api.context.ledger.drafts.record_findings(DraftFindings("garden", edition, tested={**tested, "samples": own}))
    text = visible_text(open_style(olga, "garden"))
    assert "Test drawing: Ann" in text
    assert "Somebody of another account" in text
    assert "garden.2?side" not in text, "whom olga does not know"
    assert "People see on the card" not in text
    olga.write_draft("garden", {**get_draft(olga).content, "mood": "calm"}, edition)
    text = visible_text(open_style(olga, "garden"))
    assert "Drawn before the last change" in text
    assert "Try the style out before you publish it." in text


def test_the_card_is_chosen_and_a_trial_that_came_out_badly_is_published_after_a_question_alone(
    api: ApiHarness, olga: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    edition = create_draft(olga).edition
    published: list[tuple[object, ...]] = []

    def publish(*given: object) -> schemas.StyleVersion:
        published.append(given)
        raise UserError("draft_changed", "Published in name only.")

    monkeypatch.setattr(olga, "publish_style", publish)
    samples = [
        {"number": number, "sitter": sitter, "distance": 0.41, "step": 1, "fault": ""}
        for number, sitter in enumerate(("astronaut", "third player"), 1)
    ]
    tested = {"job": "job_1", "edition": edition, "at": time.time(), "samples": samples}
    api.context.ledger.drafts.record_findings(DraftFindings("garden", edition, tested=tested))
    app = open_style(olga, "garden")
    app.segmented_control(key="card-of-job_1").set_value(2).run()
    press(app, "Publish")
    assert published == [("garden", edition, 2)]
    samples[1] |= {"distance": 0.58, "step": 2}
    api.context.ledger.drafts.record_findings(DraftFindings("garden", edition, tested=tested))
    app = open_style(olga, "garden")
    app.button(key="style-publish").click().run()
    assert len(published) == 1, "asked first"
    assert "One of 2 samples is not like the person." in visible_text(app)
    assert app.button(key="style-publish-anyway").label == "Publish"
    app.button(key="style-publish-anyway").click().run()
    assert len(published) == 2
