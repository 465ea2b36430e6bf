"""Photos from the camera, in a real browser: at its full size, looked at before they are sent; or told why there are none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tasks.client.client import Client
from tests.browser.conftest import CHROMIUM, Installation
from tests.browser.page_checks import wait_for
from tests.browser.visitors import signed_in

FAKE = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
"""Chromium draws a picture of its own in place of a camera's."""
LAN = "http://portrait.lan"
"""An address of a home network: without https, and not of this very machine."""

KEEP_TRACKS = """() => {
    window.tracks = [];
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await ask(wanted);
        window.tracks.push(...stream.getTracks());
        return stream;
    };
}"""
"""Remembers what the camera gives, to see whether it is let go of."""


@contextmanager
def visit(
    chromium: Browser, installation: Installation, address: str = "", arguments: list[str] | None = None, **options: Any
) -> Iterator[tuple[Page, Client, str]]:
    """The page of photos of a new person, in a browser with these arguments; with the API and the person's id."""
    with signed_in(installation, "dora") as (api, secret):
        person = api.add_person("Dora", "2026-12", "Dora", language="en", given_for="self", adult=True)
        started = ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP portrait.lan 127.0.0.1"]
        browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=[*started, *(arguments or [])])
        url = address or installation.app
        context = browser.new_context(locale="en-GB", **options)
        context.add_cookies([{"name": "portrait_key", "value": secret, "url": url}])
        page = context.new_page()
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text) if "Security Policy" in message.text else None)
        page.goto(f"{url}/photos?person={person.id}")
        expect(page.get_by_role("button", name="Use the camera")).to_be_visible(timeout=30_000)
        try:
            yield page, api, person.id
            assert refused == []
        finally:
            browser.close()


def largest_size(page: Page) -> list[int]:
    """Width and height of the largest picture that the camera gives."""
    return page.evaluate(
        """async () => {
            const stream = await navigator.mediaDevices.getUserMedia({ video: true });
            const [track] = stream.getVideoTracks(), { width, height } = track.getCapabilities();
            track.stop();
            return [width.max, height.max];
        }"""
    )


def test_a_photo_has_the_cameras_full_size_and_is_looked_at_first(
    installation: Installation, chromium: Browser
) -> None:
    options = {"viewport": {"width": 390, "height": 844}, "permissions": ["camera"]}
    with visit(chromium, installation, arguments=FAKE, **options) as (page, api, person):
        full = largest_size(page)
        page.evaluate(KEEP_TRACKS)
        page.get_by_role("button", name="Use the camera").click()
        take = page.get_by_role("button", name="Take a photo")
        expect(take).to_be_focused(timeout=20_000)
        mirrored = page.locator("video").evaluate("(video) => getComputedStyle(video).transform")
        assert mirrored.startswith("matrix(-1"), "who looks at themselves expects a mirror"
        page.keyboard.press("Enter")
        again = page.get_by_role("button", name="Take it again")
        expect(again).to_be_visible(timeout=15_000)
        assert api.selfies(person) == []
        again.click()
        expect(take).to_be_visible()
        take.click()
        use = page.get_by_role("button", name="Use this photo")
        expect(use).to_be_visible(timeout=15_000)
        use.click()
        expect(page.get_by_title("Camera ").first).to_be_visible(timeout=30_000)
        [photo] = api.selfies(person)
        assert [photo.width, photo.height] == full
        assert full[0] >= 1280
        assert page.evaluate("window.tracks.map((each) => each.readyState)") == ["ended"], "the camera is off"


@pytest.mark.parametrize(
    ("arguments", "address", "told"),
    [(FAKE, LAN, "gives the camera to pages with https alone"), ([], "", "No camera was found")],
)
def test_why_there_is_no_camera_is_told(
    installation: Installation, chromium: Browser, arguments: list[str], address: str, told: str
) -> None:
    url = f"{address}:{installation.app.rsplit(':', 1)[1]}" if address else ""
    with visit(chromium, installation, url, arguments) as (page, _, _person):
        page.get_by_role("button", name="Use the camera").click()
        expect(page.get_by_role("alert").filter(has_text=told)).to_be_visible(timeout=15_000)
        page.keyboard.press("Tab")
        page.get_by_role("button", name="Close the camera").click()
        expect(page.get_by_text(told)).to_be_hidden()


def test_a_phone_without_https_takes_the_photo_with_its_own_program(
    installation: Installation, chromium: Browser, photos: list[Any]
) -> None:
    port = installation.app.rsplit(":", 1)[1]
    options = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with visit(chromium, installation, f"{LAN}:{port}", **options) as (page, api, person):
        with page.expect_file_chooser() as opened:
            page.get_by_role("button", name="Use the camera").tap()
        opened.value.set_files(photos[0])
        expect(page.get_by_title(photos[0].name)).to_be_visible(timeout=20_000)
        assert len(api.selfies(person)) == 1
        wait_for(page, "document.documentElement.scrollWidth <= innerWidth")
