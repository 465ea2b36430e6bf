"""A person uses the app in a real browser, from consent to erasure."""

import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests import selfies
from tests.browser.conftest import Installation
from tests.browser.page_checks import check_page, serious_violations, wait_until_idle

STUDIOS = ("studio-warm", "studio-office", "studio-outdoors", "studio-white")
PATIENCE = 90_000
"""Milliseconds a job may take on a busy machine."""


@pytest.fixture(scope="module")
def context(chromium: Browser) -> BrowserContext:
    return chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", accept_downloads=True)


def test_a_person_from_consent_to_erasure(
    installation: Installation, context: BrowserContext, photos: list[Path], shots: Path, tmp_path: Path
) -> None:
    before = _stored_pictures(installation)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if "Security Policy" in message.text else None)
    _sign_in(page, installation, shots)
    _consent(page, shots)
    _add_photos(page, photos, shots)
    _order_portraits(page, shots, tmp_path)
    _wait_for_portraits(page, shots)
    _download_portraits(page, shots, tmp_path)
    _visit_operators_pages(page, installation, shots)
    _erase(page, installation, shots)
    assert _stored_pictures(installation) <= before, "pictures of other people stay, and nothing else"
    assert failures == []


def _sign_in(page: Page, installation: Installation, shots: Path) -> None:
    page.goto(installation.app)
    expect(page).to_have_url(f"{installation.app}/sign-in")
    assert serious_violations(page) == {}
    page.screenshot(path=shots / "sign-in-1280-light.png")
    page.get_by_label("Your key").fill("pk_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("opens nothing")
    _come_from_a_mail(page, installation.link)
    expect(page.get_by_text("This link signs you in")).to_be_visible()
    assert serious_violations(page) == {}
    page.screenshot(path=shots / "link-1280-light.png")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{installation.app}/")
    expect(page.get_by_role("heading", name="Portraits from your selfies")).to_be_visible(timeout=30_000)
    page.reload()
    expect(page.get_by_text("Signed in as me")).to_be_visible(timeout=30_000)
    stranger = page.context.browser
    assert stranger is not None
    second = stranger.new_page()
    second.goto(installation.link)
    second.get_by_role("button", name="Sign in").click()
    expect(second.get_by_role("alert")).to_contain_text("used already")
    second.context.close()
    _come_from_a_mail(page, installation.link)
    page.get_by_role("link", name="Go on as me").click()
    expect(page.get_by_text("Signed in as me")).to_be_visible(timeout=30_000)


def _come_from_a_mail(page: Page, link: str) -> None:
    """Follow a link on a page of another site, as webmail and chats show it."""
    page.goto(f"data:text/html,<a href='{link}'>Your portraits</a>")
    page.get_by_role("link", name="Your portraits").click()


def _consent(page: Page, shots: Path) -> None:
    check_page(page, shots, "welcome")
    page.get_by_role("button", name="Agree and continue").click()
    expect(page.get_by_text("Please write a name")).to_be_visible()
    page.get_by_label("Whose photos are they?").fill("Eileen")
    page.get_by_text("The photos show me.", exact=True).click()
    for box in ("I am 18 or older", "I agree that the photos"):
        page.locator("label", has_text=box).click()
    page.get_by_role("button", name="Agree and continue").click()
    expect(page.get_by_role("heading", name="Photos")).to_be_visible(timeout=20_000)


def _add_photos(page: Page, photos: list[Path], shots: Path) -> None:
    page.locator('input[type="file"]').set_input_files(photos)
    expect(page.get_by_text("6 of 8 good photos")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("This photo is blurred")).to_be_visible()
    expect(page.get_by_text("No face was found")).to_be_visible()
    expect(page.get_by_text(re.compile("2 more .*photos would help"))).to_be_visible()
    check_page(page, shots, "photos")
    page.get_by_role("button", name="Choose a style").click()


def _order_portraits(page: Page, shots: Path, folder: Path) -> None:
    expect(page.get_by_role("heading", name="Choose a style")).to_be_visible(timeout=20_000)
    wait_until_idle(page)
    for id in STUDIOS:
        card = page.locator(f'button.card[data-id="{id}"]')
        card.click()
        expect(card).to_have_attribute("aria-pressed", "true")
    picture = folder / "friend.jpg"
    picture.write_bytes(selfies.jpeg(selfies.player("player 3")))
    page.get_by_text("Use a picture of your own").click()
    page.locator("label", has_text="Whoever this picture shows").click()
    wait_until_idle(page)
    expect(page.locator('input[type="file"]')).to_be_enabled(timeout=20_000)
    page.locator('input[type="file"]').set_input_files(picture)
    expect(page.get_by_text("1 face", exact=True)).to_be_visible(timeout=PATIENCE)
    page.get_by_role("radio", name="1", exact=True).click()
    wait_until_idle(page)
    check_page(page, shots, "create")
    page.get_by_role("button", name="Make 5 portraits").click()


def _wait_for_portraits(page: Page, shots: Path) -> None:
    expect(page.get_by_role("heading", name="In progress")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("button", name="Stop").first).to_be_visible(timeout=20_000)
    page.reload()
    expect(page.get_by_role("heading", name="In progress")).to_be_visible(timeout=20_000)
    page.set_viewport_size({"width": 390, "height": 900})
    page.screenshot(path=shots / "progress-running-390-light.png")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.screenshot(path=shots / "progress-running-1280-light.png")
    expect(page.get_by_text("Done", exact=True)).to_have_count(5, timeout=2 * PATIENCE)
    expect(page.locator(".p-thumbs img")).to_have_count(5)
    expect(page.get_by_role("link", name="See the portraits")).to_have_count(1)
    check_page(page, shots, "progress")


def _download_portraits(page: Page, shots: Path, folder: Path) -> None:
    page.get_by_role("link", name="Portraits").click()
    page.get_by_role("button", name="Select these 5").click()
    expect(page.get_by_text("5 selected")).to_be_visible(timeout=20_000)
    wait_until_idle(page)
    check_page(page, shots, "results")
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as begun:
        page.get_by_role("link", name="Download 5 as a zip").click()
    archive = folder / "portraits.zip"
    begun.value.save_as(archive)
    assert len(zipfile.ZipFile(archive).namelist()) == 5
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Mark").first.click()
    expect(page.get_by_role("button", name="Remove").first).to_be_visible(timeout=20_000)
    page.locator("label", has_text="Favourites only").click()
    expect(page.get_by_text("1 portrait", exact=True)).to_be_visible(timeout=20_000)
    page.locator("a.p-open").click()
    expect(page.get_by_role("button", name="More like this")).to_be_visible(timeout=20_000)
    check_page(page, shots, "portrait")
    page.locator("label", has_text="Compare with the original").click()
    slider = page.get_by_role("slider", name="How much of the original is shown")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    expect(slider).to_have_value("40")
    check_page(page, shots, "compare")
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as begun:
        page.get_by_role("link", name="Download this file").click()
    assert begun.value.suggested_filename.endswith(".jpg")


def _visit_operators_pages(page: Page, installation: Installation, shots: Path) -> None:
    headings = {
        "board": "Jobs",
        "machinery": "Workers",
        "models": "Models",
        "quality": "Quality",
    }
    for address, heading in {**headings, "styles": "Styles"}.items():
        page.goto(f"{installation.app}/{address}")
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible(timeout=30_000)
        check_page(page, shots, address)


def _erase(page: Page, installation: Installation, shots: Path) -> None:
    page.goto(f"{installation.app}/privacy")
    expect(page.get_by_text("5 portraits")).to_be_visible(timeout=30_000)
    check_page(page, shots, "privacy")
    page.get_by_role("button", name="Erase Eileen").click()
    page.get_by_role("button", name="Erase for good").click()
    expect(page.get_by_text("Erased. This is what went:")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("8 photos")).to_be_visible()
    check_page(page, shots, "erased")
    page.get_by_role("button", name="Erase everything").click()
    page.get_by_role("button", name="Erase for good").click()
    expect(page.get_by_text("Nothing is kept of you.")).to_be_visible(timeout=20_000)


def _stored_pictures(installation: Installation) -> set[Path]:
    """Every picture in the installation's data folder."""
    return {path for path in (installation.home / "data").rglob("*") if path.suffix in {".jpg", ".png"}}
