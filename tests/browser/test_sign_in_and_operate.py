"""The first visit with the link that `portrait serve` prints, and the pages of operators and admins."""

from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Installation
from tests.browser.page_checks import check_page, serious_violations
from tests.tasks.servers import need


def test_the_link_signs_in_once_and_opens_every_page_of_operators(
    installation: Installation, chromium: Browser, shots: Path
) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page, failures = context.new_page(), []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if "Security Policy" in message.text else None)
    _sign_in(page, installation, shots)
    _visit_operators_pages(page, installation, shots)
    assert failures == []
    context.close()


def test_a_phone_opens_the_link_that_serve_prints_for_the_network(
    installation: Installation, chromium: Browser
) -> None:
    assert installation.link.startswith(installation.app)
    need("a network", bool(installation.phones), "this machine has no address but its own")
    context = chromium.new_context(viewport={"width": 390, "height": 844}, locale="en-GB", has_touch=True)
    page = context.new_page()
    page.goto(installation.phones[0])
    assert "//127.0.0.1" not in page.url, "no other device would come here"
    page.get_by_role("button", name="Sign in").tap()
    expect(page.get_by_role("heading", name="Portraits from your selfies")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Signed in as me")).to_be_visible()
    expect(page.get_by_role("link", name="Operation")).to_have_count(0)  # a phone is lost more easily than this machine
    context.close()


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


def _visit_operators_pages(page: Page, installation: Installation, shots: Path) -> None:
    headings = {
        "board": "Jobs",
        "machinery": "Workers",
        "models": "Models",
        "quality": "Quality",
        "accounts": "Accounts",
        "audit": "Audit log",
    }
    for address, heading in {**headings, "styles": "Style board"}.items():
        page.goto(f"{installation.app}/{address}")
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible(timeout=30_000)
        check_page(page, shots, address)
