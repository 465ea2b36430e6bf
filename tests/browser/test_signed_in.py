"""Where somebody is signed in, in a real browser: listed, ended, and left by every tab."""

import time
from pathlib import Path

from playwright.sync_api import Browser, expect

from app.session import LEAVE_SCRIPT
from tasks import auth
from tasks.client.client import Client
from tasks.ledger.ledger import open_ledger
from tests.browser.conftest import Installation
from tests.browser.page_checks import check_page


def test_signing_out_everywhere_leaves_every_tab(installation: Installation, chromium: Browser, shots: Path) -> None:
    ledger = open_ledger(f"sqlite:///{installation.home / 'ledger.db'}")
    key = auth.create_key(ledger, "cleo", "browser", "person", time.time()).secret
    ledger.close()
    with Client(installation.api) as api:
        secret, elsewhere = (api.open_session(key=key).secret for _ in range(2))
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.add_cookies([{"name": "portrait_key", "value": secret, "url": installation.app}])
    page, other = context.new_page(), context.new_page()
    other.goto(f"{installation.app}/create")
    expect(other.get_by_text("Signed in as cleo")).to_be_visible(timeout=30_000)
    page.goto(f"{installation.app}/privacy")
    expect(page.get_by_text("This browser, since")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name="Sign out there")).to_have_count(1)
    check_page(page, shots, "signed-in")
    # The page learns that its session has ended before the answer comes.
    page.evaluate(f"addEventListener('submit', () => setTimeout(() => {{ {LEAVE_SCRIPT} }}, 0))")
    page.get_by_role("button", name="Sign out everywhere").click()
    expect(page).to_have_url(f"{installation.app}/sign-in", timeout=20_000)
    expect(other).to_have_url(f"{installation.app}/sign-in?ended=1", timeout=20_000)
    expect(other.get_by_role("alert")).to_contain_text("You were signed out")
    for ended in (secret, elsewhere):
        context.add_cookies([{"name": "portrait_key", "value": ended, "url": installation.app}])
        page.goto(f"{installation.app}/results")
        expect(page).to_have_url(f"{installation.app}/sign-in")
    context.close()
