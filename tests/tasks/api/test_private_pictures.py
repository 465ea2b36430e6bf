"""Pictures of people are stored by no browser; files of another user and words of people stay where they are."""

import time
import zipfile
from io import BytesIO

import pytest

from portrait.errors import UserError
from tests.foreign_files import forbid_reading
from tests.tasks.api.harness import ApiHarness

pytestmark = pytest.mark.networks  # seconds, as the other sweeps of the API


def test_no_browser_stores_a_picture_of_somebody(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    places = [
        f"/selfies/{things.selfie}/file",
        f"/selfies/{things.selfie}/crop",
        f"/portraits/{things.portrait}/file",
        f"/templates/{things.template}/file",
    ]
    for place in [*places, *(f"{each}?side=320" for each in places), "/portraits/zip", "/me/export"]:
        answer = client.get(place)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), place
    assert "max-age" in client.get("/styles/studio-warm/preview").headers["cache-control"], "nobody's own"


def test_files_that_the_api_may_not_read_are_told(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    things, client = api.one_of_each(), api.client()
    forbid_reading(monkeypatch, api.context.files.root / "owners")
    for place in (f"/portraits/{things.portrait}/file", f"/selfies/{things.selfie}/file?side=320"):
        answer = client.get(place)
        assert (answer.status_code, answer.json()["code"]) == (503, "no_permission"), place
        assert str(api.context.files.root) not in answer.text


def test_operators_see_no_words_of_people(api: ApiHarness) -> None:
    things, ann, olga = api.one_of_each(), api.client(), api.client("olga", "operator")
    order = {
        "people": {"1": things.person},
        "style": "studio-warm",
        "traits": {},
        "technique": {"traits": "with my scar", "steps": 20},
    }
    asked = ann.post("/generations", json=order)
    assert asked.status_code == 202, asked.text
    job = asked.json()["id"]
    assert ann.get(f"/jobs/{job}").json()["wants"]["technique"] == {"traits": "with my scar", "steps": 20}
    seen = {each["id"]: each for each in olga.get("/operator/jobs").json()["items"]}[job]
    assert "scar" not in str(seen)
    assert (seen["wants"]["style"], seen["wants"]["technique"], seen["wants"]["people"]) == (
        "studio-warm",
        {"traits": "", "steps": 20},
        {"1": things.person},
    )


def test_operators_see_no_names_of_photos(api: ApiHarness) -> None:
    person = api.prepared_person()
    api.client().post("/trainings", json={"person": person})
    ledger = api.context.ledger
    job = ledger.queue.claim("w", "cpu", {"prepare"}, time.time(), 60)
    assert job is not None
    details = {"photos": [{"file": "Ann at the clinic.jpg", "reasons": [{"code": "blurred", "tip": "Hold still."}]}]}
    ledger.queue.fail(job, time.time(), UserError("no_usable_photos", "Ann at the clinic.jpg is blurred.", details), {})
    assert "clinic" in api.client().get(f"/jobs/{job.id}").text
    listed = api.client("olga", "operator").get("/operator/jobs")
    assert "clinic" not in listed.text
    [fault] = [each["fault"] for each in listed.json()["items"] if each["id"] == job.id]
    assert fault["code"] == "no_usable_photos"


def test_an_export_of_styles_is_a_whole_pack(api: ApiHarness) -> None:
    answer = api.client("olga", "operator").get("/operator/style-pack", params={"id": ["studio-warm", "studio-grey"]})
    with zipfile.ZipFile(BytesIO(answer.content)) as pack:
        assert pack.testzip() is None
        assert "studio-grey/style.toml" in pack.namelist()
    assert list(api.context.files.incoming.iterdir()) == []
