"""Checks of a page in each form: its screenshots, no horizontal scrolling, and no serious violation in axe-core."""

import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

from playwright.sync_api import Page, expect

Form: TypeAlias = tuple[int, Literal["light", "dark"]]
CHECKED_FORMS: Sequence[Form] = ((1280, "light"), (390, "dark"))
"""Width in pixels and theme of the forms that are checked: both widths and both themes once."""
FORMS: Sequence[Form] = (*CHECKED_FORMS, (1280, "dark"), (390, "light"))
"""Forms of which somebody who named a folder for pictures wants one."""
SERIOUS = {"serious", "critical"}
MAX_HEIGHT = 6000
VISIBLE_IMAGES = "[...document.images].filter((each) => each.checkVisibility())"
"""Images that are not folded away."""


def wait_until_idle(page: Page) -> None:
    """Wait until Streamlit has run the page to its end, and pictures and fonts are there, whose coming moves buttons."""
    # The foot of the page before stays beside the new one for as long as the page runs.
    page.locator(".p-foot").first.wait_for(timeout=30_000)
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for(timeout=30_000)
    expect(page.locator(".p-foot")).to_have_count(1, timeout=30_000)
    wait_for(page, "[...document.images].every((each) => each.complete || each.loading === 'lazy')")
    wait_for(page, "document.fonts.status === 'loaded'")


def wait_for(page: Page, expression: str) -> None:
    """Wait until an expression holds: asked from outside, because the pages' security policy forbids `wait_for_function`."""
    until = time.monotonic() + 30
    while not page.evaluate(expression):
        assert time.monotonic() < until, f"{expression}; the page is at {page.url}"
        page.wait_for_timeout(50)


def check_page(page: Page, folder: Path, name: str) -> None:
    """Check a page in both widths and both themes; with `SHOTS`, take its screenshot in each form."""
    pictures = bool(os.environ.get("SHOTS"))
    for width, theme in FORMS if pictures else CHECKED_FORMS:
        _resize(page, width, theme)
        if pictures:
            page.screenshot(path=folder / f"{name}-{width}-{theme}.png")
        broken = page.evaluate(f"{VISIBLE_IMAGES}.filter((each) => !each.naturalWidth).map((each) => each.src)")
        assert broken == [], f"{name}: pictures that did not come"
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"{name} scrolls sideways at {width} px"
        if (width, theme) in CHECKED_FORMS:
            found = serious_violations(page)
            assert found == {}, f"{name}, {width} px, {theme}: {found}"
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")


def _resize(page: Page, width: int, theme: Literal["light", "dark"]) -> None:
    """Resize the window to a form and to the page's height, and wait for its visible images."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)
    wait_until_idle(page)
    height = page.evaluate("document.querySelector('[data-testid=stMain]')?.scrollHeight ?? document.body.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(MAX_HEIGHT, max(900, height))})
    page.wait_for_timeout(250)
    wait_for(page, f"{VISIBLE_IMAGES}.every((each) => each.complete)")


def serious_violations(page: Page) -> Mapping[str, Any]:
    """Serious and critical violations that axe-core finds: the elements by rule, once nothing fades or moves any more."""
    wait_for(page, f"{PASSING}.every((each) => each.playState !== 'running')")
    if not page.evaluate("typeof window.axe === 'object'"):
        # Evaluated and not added as a tag, which the pages' security policy forbids.
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return {
        each["id"]: [f"{node['target']}: {node['failureSummary']}" for node in each["nodes"]]
        for each in found["violations"]
        if each["impact"] in SERIOUS
    }


PASSING = "document.getAnimations().filter((each) => each.effect?.getComputedTiming().endTime !== Infinity)"
"""Animations and transitions that end: half-faded words would have too little contrast."""
_FORMATS = """
AI AVIF CPU CUDA Esc FaceID GB GPU HEIC ID IP-Adapter InstantID JPEG JPG JSON KB LoRA MB MIT ONNX PDF PNG PhotoMaker Plus QR SD
SDXL SPDX TOML URL UTC WebP XL dpi https kB lora mm px style.toml toml zip
"""
ALLOWED_ENGLISH = frozenset(_FORMATS.split())
"""Latin words on a page in another language that no language translates: formats, units, names of techniques."""
_TEXTS_SCRIPT = """() => {
  const left_out = "script, style, code, pre, body [lang], [data-testid='stIconMaterial'], .p-foot span, [aria-hidden='true']";
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(left_out + ", [hidden]");
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (shown(walker.currentNode.parentElement)) found.push(walker.currentNode.data);
  for (const name of ["alt", "aria-label", "title", "placeholder"])
    for (const each of document.querySelectorAll(`body [${name}]`))
      if (!each.closest(left_out)) found.push(`${name}: ` + each.getAttribute(name));
  return [document.title, ...found].filter((text) => text.trim());
}"""
_LATIN_WORD = re.compile(r"(?<![\w.#/-])[A-Za-z][A-Za-z'’-]{2,}(?![\w/])")


def english_words(page: Page, allowed: Collection[str] = ()) -> Mapping[str, list[str]]:
    """Words of a page in another language that are English: by the text they stand in; `allowed` are names on it.

    Texts are those that are seen, and labels that are read aloud or shown on hovering.
    """
    known = {word.casefold() for word in (*ALLOWED_ENGLISH, *allowed, "alt", "aria-label", "title", "placeholder")}
    words = {text: _LATIN_WORD.findall(text) for text in page.evaluate(_TEXTS_SCRIPT)}
    unknown = {text: [word for word in found if word.casefold() not in known] for text, found in words.items()}
    return {text.strip(): found for text, found in unknown.items() if found}
