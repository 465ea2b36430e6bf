"""Photos of several people in a real browser: a face is pressed in the picture, and the answer is taken back."""

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from portrait.images.resize import resize
from tasks.client.client import Client
from tests import selfies
from tests.browser.conftest import Installation
from tests.browser.page_checks import wait_for, wait_until_idle
from tests.browser.visitors import signed_in
from tests.tasks.stand import wait_until

SIDE = 360
"""Pixels of each half of the photo: enough for a face, and little work."""
JUDGING = 60_000
"""Milliseconds that a check may take on a busy machine."""
SQUARE = """(square) => {
    const { x, y, width, height } = square.getBoundingClientRect();
    const image = square.querySelector("img"), laid = image.getBoundingClientRect();
    return [(laid.x - x) / width, (laid.y - y) / height, laid.width / width, laid.height / height];
}"""
"""Where the picture of a card lies in its square, in shares of it."""


@pytest.fixture
def visit(installation: Installation, chromium: Browser) -> Iterator[tuple[Page, Client, str]]:
    """The page of photos of somebody with one photo, on which somebody else is, too."""
    with signed_in(installation, "gina") as (api, secret):
        person = api.add_person("Gina", "2026-12", "Gina", language="en", given_for="self", adult=True).id
        halves = [
            np.ascontiguousarray(each[:512, :512]) for each in (selfies.astronaut(), selfies.astronaut()[:, ::-1])
        ]
        both = np.concatenate([resize(each, (SIDE, SIDE)) for each in halves], axis=1)
        api.add_selfies(person, [("both.jpg", selfies.jpeg(both))])
        context = chromium.new_context(locale="en-GB", viewport={"width": 390, "height": 844})
        context.add_cookies([{"name": "portrait_key", "value": secret, "url": installation.app}])
        page = context.new_page()
        page.goto(f"{installation.app}/photos?person={person}")
        yield page, api, person
        context.close()


def test_a_face_is_pressed_in_the_picture_and_the_answer_taken_back(visit: tuple[Page, Client, str]) -> None:
    page, api, person = visit
    faces = page.locator(".faces button")
    expect(faces).to_have_count(2, timeout=JUDGING)
    wait_until_idle(page)
    faces.nth(1).click()
    wait_until(lambda: api.selfies(person)[0].face is not None)
    chosen = api.selfies(person)[0].face
    assert chosen is not None
    assert chosen.x > 0.5, "the one that was pressed"
    other = page.get_by_role("button", name="Another face")
    expect(other).to_be_visible(timeout=JUDGING)
    wait_until_idle(page)
    other.click()
    expect(faces.nth(1)).to_have_attribute("aria-pressed", "true", timeout=JUDGING)
    _check_card(page, api, person)
    page.get_by_role("button", name="Take my answer back").click()
    wait_until(lambda: api.selfies(person)[0].face is None)
    expect(page.get_by_role("button", name="Take my answer back")).to_have_count(0, timeout=JUDGING)
    expect(faces.nth(1)).to_have_attribute("aria-pressed", "false", timeout=JUDGING)


def _check_card(page: Page, api: Client, person: str) -> None:
    """Check that the card of the one photo shows the whole face that was chosen, with room around it, and not distorted."""
    [photo] = api.selfies(person)
    chosen = max(photo.faces, key=lambda each: each.left)
    square = page.locator(f".st-key-photo-{photo.id} .p-selfie")
    square.scroll_into_view_if_needed()
    wait_for(page, "[...document.querySelectorAll('.p-selfie img')].every((each) => each.complete)")
    left, top, width, height = square.evaluate(SQUARE)
    assert width / height == pytest.approx(photo.width / photo.height, rel=0.02)
    face = [
        left + chosen.left * width,
        top + chosen.top * height,
        left + chosen.right * width,
        top + chosen.bottom * height,
    ]
    assert min(face) > 0.05, face
    assert max(face) < 0.95, face
    assert face[2] - face[0] > 0.25, "large enough to be known again"
