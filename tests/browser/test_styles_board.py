"""An operator's day in a real browser: a pack comes in with faults, is mended, tried out, published; old portraits stay."""

import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, expect

from portrait.arrays import Image
from tasks import auth, schemas
from tasks.client.client import Client
from tasks.ledger.ledger import open_store
from tasks.settings import load_installation
from tests import packs, selfies
from tests.browser.conftest import House
from tests.browser.looking import look, settled

PATIENCE = 90_000
"""Milliseconds a job may take on a busy machine."""


def test_an_operator_leads_a_style_from_a_faulty_pack_to_its_second_version(
    house: House, chromium: Browser, shots: Path, tmp_path: Path
) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", accept_downloads=True)
    key = _key(house)
    context.add_cookies([{"name": "portrait_key", "value": key, "url": house.app}])
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    with Client(house.api, key) as asking:
        _brings_it_in(page, house, shots, tmp_path)
        _mends_it(page, shots, tmp_path)
        _tries_it_out_and_publishes(page, shots)
        order = schemas.GenerationOrder.model_validate(
            {"people": {"1": _somebody(asking)}, "style": "launch", "seed": 3}
        )
        first = _drawn(asking, asking.generate(order))
        before = _pixels(asking, first)
        _publishes_the_next(page, house, shots, tmp_path)
        second = _drawn(asking, asking.generate(order))
        again = _drawn(asking, asking.remake(first.id))
        assert (first.style_version, second.style_version, again.style_version) == (1, 2, 1)
        assert np.array_equal(_pixels(asking, again), before)
        assert not np.array_equal(_pixels(asking, second), before)
    _looks_back(page, house, shots, tmp_path)
    assert failures == []
    context.close()


def test_somebody_who_is_no_operator_sees_nothing_of_it(house: House, chromium: Browser) -> None:
    context = chromium.new_context(locale="en-GB")
    context.add_cookies([{"name": "portrait_key", "value": _key(house, "person", "ann"), "url": house.app}])
    page = context.new_page()
    page.goto(f"{house.app}/style?id=studio-warm")
    settled(page)
    expect(page.get_by_role("link", name="Operation")).to_have_count(0)
    expect(page.get_by_role("button", name="Begin the next version")).to_have_count(0)
    assert page.request.get(f"{house.app}/take/styles.zip?id=studio-warm").status == 403
    assert page.request.get(f"{house.app}/picture/draft/launch").status == 403
    context.close()


def _brings_it_in(page: Page, house: House, shots: Path, folder: Path) -> None:
    place = folder / "launch.zip"
    place.write_bytes(packs.faulty())
    page.goto(f"{house.app}/styles")
    expect(page.get_by_role("heading", name="Styles", exact=True)).to_be_visible(timeout=30_000)
    page.get_by_text("Bring styles in").click()
    page.locator('input[type="file"]').first.set_input_files(place)
    _press(page, "Bring in")
    expect(page.get_by_text("1 style came in as a draft.").first).to_be_visible(timeout=30_000)
    _press(page, "Launch with Taylor Swift")
    expect(page.get_by_text("2 errors").first).to_be_visible(timeout=30_000)
    _press(page, "Check the picture")
    expect(page.get_by_text("3 errors").first).to_be_visible(timeout=PATIENCE)
    for fault in ("Licence: No licence", "Name in English: Real person named", "Picture: No face"):
        expect(page.get_by_text(fault)).to_be_visible()
    expect(page.get_by_role("button", name="Publish", exact=True)).to_be_disabled()
    look(page, shots, "style-faults")


def _mends_it(page: Page, shots: Path, folder: Path) -> None:
    _type(page, "Name in English", "Launch")
    expect(page.get_by_text("Not saved").first).to_be_visible(timeout=20_000)
    _type(page, "Licence", "LicenseRef-public-domain")
    # A picture is sent on at once, and what was typed stays.
    _hang(page, _larger(selfies.astronaut()), folder)
    expect(page.get_by_label("Name in English", exact=True)).to_have_value("Launch")
    _press(page, "Save the draft")
    expect(page.get_by_text("Saved.").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Nothing found").first).to_be_visible()


def _tries_it_out_and_publishes(page: Page, shots: Path) -> None:
    _press(page, "Try it out")
    expect(page.get_by_role("button", name="Stop")).to_be_visible(timeout=20_000)
    page.screenshot(path=shots / "style-trying-1280-light.png")
    expect(page.get_by_role("img", name="Test drawing: ")).to_have_count(3, timeout=PATIENCE)
    expect(page.get_by_text("Ready: look at the drawings").first).to_be_visible(timeout=20_000)
    _press(page, "Publish")
    expect(page.get_by_text("Version 1 is published.").first).to_be_visible(timeout=20_000)


def _publishes_the_next(page: Page, house: House, shots: Path, folder: Path) -> None:
    """Another picture and a mood, while a second operator changes the credit."""
    _press(page, "Begin the next version")
    expect(page.get_by_text("Changed by olga").first).to_be_visible(timeout=20_000)
    _hang(page, _larger(selfies.astronaut()[:, ::-1]), folder)
    _type(page, "Mood", "proud")
    with Client(house.api, _key(house, "operator", "otto")) as other:
        draft = other.own_style("launch").draft
        assert draft is not None
        other.write_style("launch", {**draft.content, "credit": "NASA, 1993"}, draft.edition)
    _press(page, "Save the draft")
    expect(page.get_by_text("otto changed this draft").first).to_be_visible(timeout=20_000)
    page.screenshot(path=shots / "style-conflict-1280-light.png")
    _press(page, "Save my changes over theirs")
    expect(page.get_by_text("Saved.").first).to_be_visible(timeout=20_000)
    settled(page)
    expect(page.get_by_label("Credit", exact=True)).to_have_value("NASA, 1993")
    expect(page.get_by_label("Mood", exact=True)).to_have_value("proud")
    _press(page, "Try it out")
    expect(page.get_by_role("img", name="Test drawing: ")).to_have_count(3, timeout=PATIENCE)
    expect(page.get_by_role("img", name="The style as it is published, version 1")).to_be_visible()
    look(page, shots, "style-beside")
    page.get_by_role("button", name="Publish", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Version 2 is published.").first).to_be_visible(timeout=20_000)


def _looks_back(page: Page, house: House, shots: Path, folder: Path) -> None:
    """Figures by version, one version retired, the style taken home, and the list."""
    page.goto(f"{house.app}/style?id=launch")
    settled(page)
    _press(page, "Retire version 1")
    _press(page, "Retire it")
    expect(page.get_by_text("Retired on").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Asked for 2 times").first).to_be_visible()
    look(page, shots, "style-versions")
    with page.expect_download() as begun:
        page.get_by_role("link", name="Download as a pack").click()
    assert begun.value.suggested_filename == "launch.zip"
    taken = folder / "taken.zip"
    begun.value.save_as(taken)
    assert {"launch/style.toml", "launch/picture.jpg"} <= set(zipfile.ZipFile(taken).namelist())
    page.goto(f"{house.app}/styles")
    expect(page.locator(".st-key-listed-launch").get_by_text("Published")).to_be_visible(timeout=30_000)
    settled(page)
    page.screenshot(path=shots / "styles-list-1280-light.png")


def _key(house: House, role: auth.Role = "operator", owner: str = "olga") -> str:
    store = open_store(load_installation({"PORTRAIT_HOME": str(house.home)}).tasks.database)
    return auth.new_key(store, owner, "browser", role, time.time()).secret


def _press(page: Page, name: str) -> None:
    """Press the button of that name, on a page that is drawn to its end: before, what goes may stand beside what comes."""
    settled(page)
    page.get_by_role("button", name=name, exact=True).click()


def _type(page: Page, field: str, words: str) -> None:
    """Type into a field and leave it, and wait until the page knows."""
    page.get_by_label(field, exact=True).fill(words)
    page.keyboard.press("Tab")
    settled(page)


def _hang(page: Page, picture: Image, folder: Path) -> None:
    """Another picture for the draft."""
    place = folder / "astronaut.jpg"
    place.write_bytes(selfies.jpeg(picture))
    hung = page.locator(".st-key-style-look").get_by_role("img")
    before = hung.get_attribute("src") or ""
    page.locator('input[type="file"]').set_input_files(place)
    expect(hung).not_to_have_attribute("src", before, timeout=30_000)
    settled(page)


def _larger(image: Image) -> Image:
    """At 640 px, where the face is wide enough for lint to be quiet."""
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (640, 640), interpolation=cv2.INTER_CUBIC), np.uint8)


def _somebody(asking: Client) -> str:
    """A person of whom one photo was judged."""
    id = asking.add_person("Ann", "1", "Ann").id
    asking.add_selfies(id, [("me.jpg", selfies.jpeg(selfies.player("player 3")))])
    assert asking.wait(asking.train(schemas.TrainingOrder.model_validate({"person": id})).id).state == "succeeded"
    return id


def _drawn(asking: Client, job: schemas.Job) -> schemas.Portrait:
    """The one portrait of a job."""
    ended = asking.wait(job.id)
    assert ended.state == "succeeded", ended.fault
    [portrait] = asking.portraits(job=job.id)
    return portrait


def _pixels(asking: Client, portrait: schemas.Portrait) -> Image:
    content = np.frombuffer(asking.portrait_file(portrait.id), np.uint8)
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
