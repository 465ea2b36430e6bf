"""The whole story in one form of browser: width, theme, language, and hands that touch or a keyboard alone."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from playwright.sync_api import Browser, Locator, Page, expect

from app.words import translation
from tasks.client.client import Client
from tests.browser import page_checks
from tests.browser.conftest import Installation
from tests.browser.visitors import signed_in
from tests.tasks.stand import wait_until

PATIENCE = 90_000
"""Milliseconds a job may take on a busy machine."""
STYLES = ("studio-warm", "studio-black")
Width: TypeAlias = Literal[390, 768, 1280]
Theme: TypeAlias = Literal["light", "dark"]
Language: TypeAlias = Literal["en", "zh"]
Hands: TypeAlias = Literal["touch", "keyboard"]


@dataclass(frozen=True)
class Form:
    """One form of browser."""

    width: Width
    theme: Theme
    language: Language
    hands: Hands

    def __str__(self) -> str:
        return f"{self.width}-{self.theme}-{self.language}-{self.hands}"


ALL = [Form(*each) for each in product(get_args(Width), get_args(Theme), get_args(Language), get_args(Hands))]
PAIRWISE = [
    Form(390, "light", "en", "touch"),
    Form(390, "dark", "zh", "keyboard"),
    Form(768, "light", "en", "keyboard"),
    Form(768, "dark", "zh", "touch"),
    Form(1280, "light", "zh", "keyboard"),
    Form(1280, "dark", "en", "touch"),
]
"""Every value of one dimension meets every value of each other."""
FURTHER = Form(1280, "light", "zh", "keyboard")
"""The form that walks on through comparison, edits and ID photos."""


@dataclass(frozen=True)
class Walk:
    """A walk of one person, from consent to erasure."""

    page: Page
    form: Form
    folder: Path
    """For screenshots."""
    api: Client
    kept: Path
    """Where the installation stores what is theirs."""
    refused: list[str]
    """What the pages' security policy refused, and scripts that failed."""
    names: list[str] = field(default_factory=list)
    """Of files, and of who is signed in: they are of no language."""

    def word(self, key: str, **values: object) -> str:
        """A text of the app in the walk's language."""
        return translation.translate(self.form.language, key, **values)

    def press(self, target: Locator) -> None:
        """Press what can be pressed, as this form's hands do."""
        if self.form.hands == "touch":
            target.tap()
            return
        target.focus()
        assert target.evaluate("(each) => each.matches(':focus')"), "it can be reached"
        boxes = target.evaluate("(each) => each.matches('input[type=checkbox], input[type=radio]')")
        self.page.keyboard.press("Space" if boxes else "Enter")

    def button(self, key: str, within: Locator | None = None, **values: object) -> Locator:
        """The first button with a text of the app."""
        return (within or self.page).get_by_role("button", name=self.word(key, **values)).first

    def choose(self, option: Locator) -> None:
        """Choose a checkbox or radio, whose own element the label covers."""
        if self.form.hands == "touch":
            option.locator("xpath=ancestor::label").tap()
        else:
            option.focus()
            self.page.keyboard.press("Space")
        expect(option).to_be_checked()

    def look(self, name: str) -> None:
        """Check the page: every picture came, nothing is cut off, nobody is shut out, no word is of another language."""
        page, name = self.page, f"{name}-{self.form}"
        page_checks.wait_until_idle(page)
        if os.environ.get("SHOTS"):
            page.screenshot(path=self.folder / f"{name}.png", full_page=True)
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"{name} scrolls sideways"
        broken = page.evaluate(
            f"{page_checks.VISIBLE_IMAGES}.filter((each) => each.complete && !each.naturalWidth).map((each) => each.src)"
        )
        assert broken == [], f"{name}: pictures that did not come"
        violations = page_checks.serious_violations(page)
        assert violations == {}, f"{name}: {violations}"
        if self.form.language == "zh":
            found = page_checks.english_words(page, ("Eileen", *re.findall(r"[a-z]+", " ".join(self.names))))
            assert found == {}, f"{name}: {found}"

    def all(self, photos: Sequence[Path], app: str) -> None:
        """Walk all of it: with one photo, or with two where one of them is chosen for an ID photo."""
        photos = photos[: 2 if self.form == FURTHER else 1]
        self.names.extend([f"walker-{self.form}", *(each.name for each in photos)])
        self.page.goto(app)
        self.consent()
        self.add_photos(photos)
        self.order()
        self.see_portraits()
        if self.form == FURTHER:
            self.compare_and_edit()
            self.make_id_photo(app)
        self.erase()
        assert self.refused == []

    def consent(self) -> None:
        """Add a person with their consent."""
        self.page.get_by_label(self.word("consent.name")).wait_for(timeout=30_000)
        self.look("welcome")
        self.page.get_by_label(self.word("consent.name")).fill("Eileen")
        self.choose(self.page.get_by_role("radio").first)
        for box in self.page.get_by_role("checkbox").all():
            self.choose(box)
        self.press(self.button("consent.start"))

    def add_photos(self, photos: Sequence[Path]) -> None:
        """Send photos and wait for the verdicts."""
        files = self.page.locator('input[type="file"]').first
        files.wait_for(state="attached", timeout=30_000)
        page_checks.wait_until_idle(self.page)
        files.set_input_files(photos)
        go_on = self.button("photos.go_on")
        expect(go_on).to_be_visible(timeout=PATIENCE)
        self.look("photos")
        self.press(go_on)

    def order(self) -> None:
        """Choose styles and order one portrait of each."""
        for style in STYLES:
            card = self.page.locator(f'button.card[data-id="{style}"]')
            card.wait_for(timeout=30_000)
            page_checks.wait_until_idle(self.page)
            self.press(card)
            expect(self.page.locator(f".st-key-chosen-{style}")).to_be_visible(timeout=20_000)
        page_checks.wait_until_idle(self.page)
        one = self.page.get_by_role("radio", name="1", exact=True)
        self.press(one)
        draw = self.button("create.draw", count=len(STYLES))
        expect(draw).to_be_visible(timeout=20_000)
        self.look("create")
        self.press(draw)

    def see_portraits(self) -> None:
        """Wait for the portraits, open one, mark it, compare it, and go through to the next."""
        self.page.wait_for_url("**/progress?**", timeout=30_000)
        wait_until(lambda: [job.state for job in self.api.jobs(kind="generate")] == ["succeeded"] * len(STYLES))
        self.page.reload()
        self.look("progress")
        self.press(self.page.get_by_role("navigation").get_by_role("link", name=self.word("nav.results"), exact=True))
        cards = self.page.locator('[class*="st-key-portrait-"]')
        expect(cards.nth(len(STYLES) - 1)).to_be_visible(timeout=30_000)
        self.look("results")
        self.press(cards.first.get_by_role("link").first)
        self.page.wait_for_url("**/portrait?**", timeout=30_000)
        self.page.locator(".viewer[aria-label]").wait_for(timeout=20_000)  # its buttons get their names by its script
        self.look("portrait")
        self.press(self.button("portrait.take"))
        take = self.page.locator('a[href^="/take/portrait/"]').first
        take.wait_for(timeout=20_000)
        with self.page.expect_download() as begun:
            self.press(take)
        assert re.fullmatch(r"Eileen-.+-1\.jpg", begun.value.suggested_filename)

    def compare_and_edit(self) -> None:
        """Lay the portrait over its photo by the eyes, and read why nothing of it is drawn anew."""
        self.page.reload()
        page_checks.wait_until_idle(self.page)
        self.choose(self.page.locator("label", has_text=self.word("portrait.compare")).locator("input"))
        self.page.locator(".over.laid").wait_for(timeout=20_000)
        slider = self.page.get_by_role("slider", name=self.word("compare.label"))
        slider.press("ArrowRight")
        expect(slider).to_have_value("51")
        self.press(self.page.locator("summary", has_text=self.word("edit.title")))
        expect(self.page.get_by_text(self.word("edit.not_studio"))).to_be_visible(timeout=20_000)
        self.look("compared")

    def make_id_photo(self, app: str) -> None:
        """Choose the photo that an ID photo is made of, and make it."""
        self.page.goto(f"{app}/idphoto")
        photo = self.page.locator(".p-strip > a").nth(1)
        photo.wait_for(timeout=30_000)
        self.press(photo)
        expect(photo).to_have_attribute("aria-current", "true", timeout=20_000)
        page_checks.wait_until_idle(self.page)
        chosen = re.search(r"photo=([\w.-]+)", self.page.url)
        assert chosen is not None
        self.press(self.button("idphotos.make"))
        expect(self.page.locator(f'.p-chosen img[src*="{chosen[1]}"]')).to_be_visible(timeout=PATIENCE)
        made = re.search(r"job=([\w.-]+)", self.page.url)
        assert made is not None
        [id_photo] = self.api.portraits(job=made[1])
        assert len(id_photo.rules) > 5
        expect(self.page.locator(".p-rules tbody tr")).to_have_count(len(id_photo.rules))
        self.look("idphoto")

    def erase(self) -> None:
        """Erase everything."""
        self.page.goto(re.sub(r"/(portrait|idphoto)\b.*", "/privacy", self.page.url))
        erase = self.button("privacy.erase_all")
        erase.wait_for(timeout=30_000)
        self.look("privacy")
        self.press(erase)
        sure = self.button("privacy.erase_now")
        sure.wait_for(timeout=20_000)
        self.press(sure)
        expect(self.page.get_by_text(self.word("privacy.nothing"))).to_be_visible(timeout=30_000)
        assert self.api.people() == []
        wait_until(lambda: [path for path in self.kept.rglob("*") if path.suffix in {".jpg", ".png", ".webp"}] == [])


@contextmanager
def open_walk(installation: Installation, chromium: Browser, form: Form, folder: Path) -> Iterator[Walk]:
    """A walk in a browser of this form, signed in as an owner of its own."""
    context = chromium.new_context(
        viewport={"width": form.width, "height": 900},
        color_scheme=form.theme,
        locale={"en": "en-GB", "zh": "zh-CN"}[form.language],
        has_touch=form.hands == "touch",
    )
    with signed_in(installation, f"walker-{form}") as (api, secret):
        context.add_cookies([{"name": "portrait_key", "value": secret, "url": installation.app}])
        page, refused = context.new_page(), []
        page.on("pageerror", lambda error: refused.append(str(error)))
        page.on("console", lambda message: refused.append(message.text) if "Security Policy" in message.text else None)
        yield Walk(page, form, folder, api, installation.home / "data" / "owners" / f"walker-{form}", refused)
    context.close()
