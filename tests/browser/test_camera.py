"""A photo from the camera, in a real browser: nothing of the pages' security headers stands in its way."""

import time

from playwright.sync_api import Browser, expect

from tasks import auth
from tasks.client.client import Client
from tasks.ledger.ledger import open_ledger
from tests.browser.conftest import CHROMIUM, Installation
from tests.browser.page_checks import wait_for

CAMERA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
"""Chromium draws a picture of its own in place of a camera's."""


def test_a_photo_of_the_camera_is_added(installation: Installation, chromium: Browser) -> None:
    ledger = open_ledger(f"sqlite:///{installation.home / 'ledger.db'}")
    key = auth.create_key(ledger, "dora", "browser", "person", time.time()).secret
    ledger.close()
    with Client(installation.api, key) as api:
        secret = api.open_session(key=key).secret
        person = api.add_person("Dora", "2026-12", "Dora", language="en", given_for="self", adult=True)
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", *CAMERA]
        browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=arguments)
        context = browser.new_context(locale="en-GB", permissions=["camera"])
        context.add_cookies([{"name": "portrait_key", "value": secret, "url": installation.app}])
        page = context.new_page()
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text) if "Security Policy" in message.text else None)
        page.goto(f"{installation.app}/photos")
        page.get_by_text("Use the camera").click(timeout=30_000)
        page.locator("video").wait_for(timeout=30_000)
        wait_for(page, "document.querySelector('video').readyState >= 3")
        page.get_by_role("button", name="Take Photo").click(timeout=30_000)
        expect(page.get_by_text("No face was found").first).to_be_visible(timeout=90_000)
        assert len(api.selfies(person.id)) == 1
        assert refused == []
        browser.close()
