"""An operator imports, corrects, tests and publishes a style in a real browser; portraits of old versions stay."""

import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, expect

from portrait.arrays import Image
from tasks import auth, schemas
from tasks.client.client import Client
from tasks.ledger.ledger import open_ledger
from tasks.settings import load_installation
from tests import packs, selfies
from tests.browser.conftest import Installation
from tests.browser.killed_app import told_on_failure
from tests.browser.page_checks import check_page, wait_until_idle
from tests.tasks.stand import wait_until

PATIENCE = 90_000
"""Milliseconds a job may take on a busy machine."""


def test_a_style_from_a_faulty_pack_to_its_second_version(
    installation: Installation, chromium: Browser, shots: Path, tmp_path: Path
) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", accept_downloads=True)
    key = _key(installation)
    context.add_cookies([{"name": "portrait_key", "value": _session(installation, key), "url": installation.app}])
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    with told_on_failure({"operator": page}), Client(installation.api, key) as client:
        _import_pack(page, installation, shots, tmp_path)
        _correct_draft(page, shots, tmp_path)
        _test_and_publish(page, shots)
        order = schemas.GenerationRequest.model_validate(
            {"people": {"1": _add_person(client)}, "style": "launch", "seed": 3}
        )
        first = _portrait_of(client, client.generate(order))
        before = _pixels(client, first)
        _publish_next_version(page, installation, shots, tmp_path)
        second = _portrait_of(client, client.generate(order))
        again = _portrait_of(client, client.remake(first.id))
        assert (first.style_version, second.style_version, again.style_version) == (1, 2, 1)
        assert np.array_equal(_pixels(client, again), before)
        assert not np.array_equal(_pixels(client, second), before)
    _retire_and_download(page, installation, shots, tmp_path)
    assert failures == []
    context.close()


def test_a_studio_gets_a_colour_and_then_a_picture_of_ones_own(
    installation: Installation, chromium: Browser, tmp_path: Path
) -> None:
    key = _key(installation)
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.add_cookies([{"name": "portrait_key", "value": _session(installation, key), "url": installation.app}])
    page = context.new_page()
    with Client(installation.api, key) as client:
        content = {**client.operator_style("studio-warm").content, "id": "studio-own", "status": "draft"}
        client.write_draft("studio-own", content)
        page.goto(f"{installation.app}/style?id=studio-own")
        _choose(page, "Backdrop", "A colour of your own")
        expect(page.get_by_test_id("stColorPicker")).to_be_visible(timeout=20_000)
        _press(page, "Save the draft")
        expect(page.get_by_text("Saved.").first).to_be_visible(timeout=20_000)
        assert _draft(client)["backdrop"].startswith("#")
        _choose(page, "Backdrop", "A picture of your own")
        place = tmp_path / "wall.jpg"
        place.write_bytes(selfies.jpeg(np.full((640, 640, 3), (90, 120, 140), np.uint8)))
        page.locator('input[type="file"]').set_input_files(place)
        wait_until(lambda: _draft(client)["picture"] is not None)
        assert _draft(client)["backdrop"] == ""
        wait_until_idle(page)
        expect(page.get_by_label("Backdrop", exact=True)).to_have_value("A picture of your own")
        client.delete_draft("studio-own")
    context.close()


def test_people_cannot_see_operators_pages(installation: Installation, chromium: Browser) -> None:
    context = chromium.new_context(locale="en-GB")
    secret = _session(installation, _key(installation, "person", "ann"))
    context.add_cookies([{"name": "portrait_key", "value": secret, "url": installation.app}])
    page = context.new_page()
    page.goto(f"{installation.app}/style?id=studio-warm")
    wait_until_idle(page)
    expect(page.get_by_role("link", name="Operation")).to_have_count(0)
    expect(page.get_by_role("button", name="Begin the next version")).to_have_count(0)
    assert page.request.get(f"{installation.app}/take/styles.zip?id=studio-warm").status == 403
    assert page.request.get(f"{installation.app}/picture/draft/launch").status == 403
    context.close()


def _session(installation: Installation, key: str) -> str:
    """The secret of a session that a key opens."""
    with Client(installation.api) as client:
        return client.open_session(key=key).secret


def _import_pack(page: Page, installation: Installation, shots: Path, folder: Path) -> None:
    place = folder / "launch.zip"
    place.write_bytes(packs.faulty())
    page.goto(f"{installation.app}/styles")
    expect(page.get_by_role("heading", name="Style board", exact=True)).to_be_visible(timeout=30_000)
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
    check_page(page, shots, "style-faults")


def _correct_draft(page: Page, shots: Path, folder: Path) -> None:
    _type(page, "Name in English", "Launch")
    expect(page.get_by_text("Not saved").first).to_be_visible(timeout=20_000)
    _type(page, "Licence", "LicenseRef-public-domain")
    # A picture is sent on at once, and what was typed stays.
    _upload_picture(page, _larger(selfies.astronaut()), folder)
    expect(page.get_by_label("Name in English", exact=True)).to_have_value("Launch")
    _press(page, "Save the draft")
    expect(page.get_by_text("Saved.").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Nothing found").first).to_be_visible()


def _test_and_publish(page: Page, shots: Path) -> None:
    _press(page, "Try it out")
    expect(page.get_by_role("button", name="Stop")).to_be_visible(timeout=20_000)
    page.screenshot(path=shots / "style-trying-1280-light.png")
    expect(page.get_by_role("img", name="Test drawing: ")).to_have_count(3, timeout=PATIENCE)
    expect(page.get_by_text("Ready: look at the drawings").first).to_be_visible(timeout=20_000)
    _press(page, "Publish")
    expect(page.get_by_text("Version 1 is published.").first).to_be_visible(timeout=20_000)


def _publish_next_version(page: Page, installation: Installation, shots: Path, folder: Path) -> None:
    """Another picture and a mood, while a second operator changes the credit."""
    _press(page, "Begin the next version")
    expect(page.get_by_text("Changed by olga").first).to_be_visible(timeout=20_000)
    _upload_picture(page, _larger(selfies.astronaut()[:, ::-1]), folder)
    _type(page, "Mood", "proud")
    with Client(installation.api, _key(installation, "operator", "otto")) as other:
        draft = other.operator_style("launch").draft
        assert draft is not None
        other.write_draft("launch", {**draft.content, "credit": "NASA, 1993"}, draft.edition)
    _press(page, "Save the draft")
    expect(page.get_by_text("otto changed this draft").first).to_be_visible(timeout=20_000)
    page.screenshot(path=shots / "style-conflict-1280-light.png")
    _press(page, "Save my changes over theirs")
    expect(page.get_by_text("Saved.").first).to_be_visible(timeout=20_000)
    wait_until_idle(page)
    expect(page.get_by_label("Credit", exact=True)).to_have_value("NASA, 1993")
    expect(page.get_by_label("Mood", exact=True)).to_have_value("proud")
    _press(page, "Try it out")
    expect(page.get_by_role("img", name="Test drawing: ")).to_have_count(3, timeout=PATIENCE)
    expect(page.get_by_role("img", name="The style as it is published, version 1")).to_be_visible()
    check_page(page, shots, "style-beside")
    page.get_by_role("button", name="Publish", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Version 2 is published.").first).to_be_visible(timeout=20_000)


def _retire_and_download(page: Page, installation: Installation, shots: Path, folder: Path) -> None:
    """Statistics by version, retiring one, downloading the style as a pack, and the list."""
    page.goto(f"{installation.app}/style?id=launch")
    wait_until_idle(page)
    _press(page, "Retire version 1")
    _press(page, "Retire it")
    expect(page.get_by_text("Retired on").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Asked for 2 times").first).to_be_visible()
    check_page(page, shots, "style-versions")
    with page.expect_download() as begun:
        page.get_by_role("link", name="Download as a pack").click()
    assert begun.value.suggested_filename == "launch.zip"
    pack = folder / "pack.zip"
    begun.value.save_as(pack)
    assert {"launch/style.toml", "launch/picture.jpg"} <= set(zipfile.ZipFile(pack).namelist())
    page.goto(f"{installation.app}/styles")
    expect(page.locator(".st-key-listed-launch").get_by_text("Published")).to_be_visible(timeout=30_000)
    wait_until_idle(page)
    page.screenshot(path=shots / "styles-list-1280-light.png")


def _key(installation: Installation, role: auth.Role = "operator", owner: str = "olga") -> str:
    store = open_ledger(load_installation({"PORTRAIT_HOME": str(installation.home)}).tasks.database)
    return auth.create_key(store, owner, "browser", role, time.time()).secret


def _press(page: Page, name: str) -> None:
    """Press the button of that name once the page is idle: before, old elements may stand beside new ones."""
    wait_until_idle(page)
    page.get_by_role("button", name=name, exact=True).click()


def _choose(page: Page, field: str, option: str) -> None:
    """Choose from a list once the page is idle."""
    wait_until_idle(page)
    shown = page.get_by_label(field, exact=True)
    shown.click()
    shown.press("Control+a")
    shown.press_sequentially(option)  # of a long list only a part is there
    page.get_by_role("option", name=option).click()
    wait_until_idle(page)


def _draft(client: Client) -> dict[str, Any]:
    """The content of the draft of the studio style of one's own."""
    draft = client.operator_style("studio-own").draft
    assert draft is not None
    return dict(draft.content)


def _type(page: Page, field: str, words: str) -> None:
    """Type into a field, leave it, and wait until the page has run."""
    page.get_by_label(field, exact=True).fill(words)
    page.keyboard.press("Tab")
    wait_until_idle(page)


def _upload_picture(page: Page, picture: Image, folder: Path) -> None:
    """Upload another picture for the draft."""
    place = folder / "astronaut.jpg"
    place.write_bytes(selfies.jpeg(picture))
    wait_until_idle(page)
    draft_image = page.locator(".st-key-style-look").get_by_role("img")
    before = draft_image.get_attribute("src") or ""
    page.locator('input[type="file"]').set_input_files(place)
    expect(draft_image).not_to_have_attribute("src", before, timeout=30_000)
    wait_until_idle(page)


def _larger(image: Image) -> Image:
    """At 640 px, where the face is wide enough for lint to be quiet."""
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (640, 640), interpolation=cv2.INTER_CUBIC), np.uint8)


def _add_person(client: Client) -> str:
    """Add a person with one checked photo."""
    id = client.add_person("Ann", "2026-11", "Ann").id
    client.add_selfies(id, [("me.jpg", selfies.jpeg(selfies.player("player 3")))])
    assert client.wait(client.train(schemas.TrainingRequest.model_validate({"person": id})).id).state == "succeeded"
    return id


def _portrait_of(client: Client, job: schemas.Job) -> schemas.Portrait:
    """The one portrait of a job."""
    ended = client.wait(job.id)
    assert ended.state == "succeeded", ended.fault
    [portrait] = client.portraits(job=job.id)
    return portrait


def _pixels(client: Client, portrait: schemas.Portrait) -> Image:
    content = np.frombuffer(client.portrait_file(portrait.id), np.uint8)
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
