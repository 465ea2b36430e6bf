"""The way from a photo to a portrait in Debian's Firefox, driven by Mozilla's own Marionette."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from marionette_driver.marionette import Marionette

from tests.browser.conftest import Installation
from tests.browser.visitors import signed_in
from tests.tasks.servers import free_port, need
from tests.tasks.stand import wait_until

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox") or ""
DEEP = """
const deep = (selector, root = document) => [
  ...root.querySelectorAll(selector),
  ...[...root.querySelectorAll("*")].flatMap((each) => (each.shadowRoot ? deep(selector, each.shadowRoot) : [])),
];
const visible = (each) => each.checkVisibility();
"""
"""Finds elements in components too."""


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Marionette]:
    need("firefox-esr", bool(FIREFOX), "apt-get install firefox-esr")
    settings = {"headless": True, "prefs": {"intl.accept_languages": "en-GB"}, "gecko_log": str(tmp_path / "gecko.log")}
    driver = Marionette(bin=FIREFOX, port=free_port(), **settings)
    driver.start_session()
    yield driver
    driver.quit()
    driver.cleanup()
    driver.instance = None  # else it is looked for again when the interpreter ends


def find(firefox: Marionette, expression: str, within: float = 90) -> Any:
    """The first element or value of an expression that is not empty, once there is one; else what the page says."""
    found: list[Any] = []

    def look() -> bool:
        found[:] = [firefox.execute_script(f"{DEEP} return ({expression}) ?? null;")]
        return found[0] is not None

    try:
        wait_until(look, within)
    except AssertionError:
        raise AssertionError(f"{expression}\n{firefox.execute_script('return document.body.innerText')}") from None
    return found[0]


def press(firefox: Marionette, words: str, within: float = 90) -> None:
    """Press the button with these words."""
    wanted = f'deep("button").find((each) => visible(each) && each.textContent.includes({words!r}))'
    button = find(firefox, wanted, within)
    firefox.execute_script("arguments[0].scrollIntoView({block: 'center'})", script_args=[button])
    button.click()


def test_from_a_photo_to_a_portrait(installation: Installation, firefox: Marionette, photos: list[Path]) -> None:
    with signed_in(installation, "fox") as (api, secret):
        firefox.navigate(f"{installation.app}/sign-in")
        firefox.add_cookie({"name": "portrait_key", "value": secret, "path": "/"})
        firefox.navigate(installation.app)
        find(firefox, 'deep("input[type=text]").find(visible)').send_keys("Eileen")
        find(firefox, 'deep("label:has(input[type=radio])")[0]').click()
        for number in range(2):
            box = find(firefox, f'deep("label:has(input[type=checkbox])").filter(visible)[{number}]')
            firefox.execute_script("arguments[0].scrollIntoView({block: 'center'})", script_args=[box])
            box.click()
        press(firefox, "Agree and continue")
        find(firefox, 'deep("input[type=file]")[0]').send_keys(str(photos[0]))
        press(firefox, "Choose a style", 400)  # the worker that judges it starts beside all else that does
        card = find(firefox, 'deep("button.card[data-id=studio-warm]").find(visible)')
        firefox.execute_script("arguments[0].scrollIntoView({block: 'center'})", script_args=[card])
        card.click()
        press(firefox, "Make 1 portrait")
        wait_until(lambda: [job.state for job in api.jobs(kind="generate")] == ["succeeded"])
        [portrait] = api.portraits()
        firefox.navigate(f"{installation.app}/portrait?id={portrait.id}")
        shown = f'deep("img").find((each) => visible(each) && each.src.includes("{portrait.id}") && each.naturalWidth > 500)'
        assert find(firefox, f"{shown}?.naturalWidth") > 500
