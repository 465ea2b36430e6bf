"""Two people in two tabs, and an app that is killed between the clicks: nothing is ever done for the other one."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from portrait.errors import UserError
from tasks import schemas
from tasks.client.client import Client
from tests.browser.conftest import Installation
from tests.browser.killed_app import KilledApp, told_on_failure
from tests.browser.page_checks import wait_until_idle
from tests.browser.visitors import signed_in

COLORS = {"Ann": "red", "Bea": "blue"}
"""The background that each of the two asks for, by which her orders are told apart."""
MAKE, RESTARTED = "Make the ID photo", "The app was restarted"
PATIENCE = 30_000
BACK_DURING_A_RUN = """async (page) => {
    const stepped = new Promise((resolve) => addEventListener("popstate", resolve, { once: true }));
    history.back();
    await stepped;
    history.pushState({}, "", page);
}"""
"""A step back, upon which the run of the page that was left begins: Streamlit pushes the page of each run."""


@dataclass(frozen=True)
class Household:
    """One visitor with two people, and the secret of their session."""

    api: Client
    secret: str
    people: dict[str, str]
    """Ids by name."""

    def mixed_up(self) -> list[str]:
        """Orders with the background of one and the photos of the other."""
        whose = {COLORS[name]: id for name, id in self.people.items()}
        return [
            job.id
            for job in self.api.jobs(kind="generate")
            if job.wants["people"] != {"1": whose[job.wants["idphoto"]["background"]]}
        ]

    def cancel_orders(self) -> None:
        """Stop what is not drawn yet."""
        for job in self.api.jobs(states=["queued", "running"], kind="generate"):
            with suppress(UserError):  # it has ended meanwhile
                self.api.cancel(job.id)


@pytest.fixture(scope="module")
def household(installation: Installation, photos: list[Path]) -> Iterator[Household]:
    with signed_in(installation, "household") as (api, secret):
        yield Household(api, secret, {name: _add_person(api, name, photos[0]) for name in COLORS})


@pytest.fixture(scope="module")
def app(installation: Installation) -> Iterator[KilledApp]:
    app = KilledApp(installation.api)
    app.start()
    yield app
    app.kill()


def _add_person(api: Client, name: str, photo: Path) -> str:
    """Somebody with a photo that was judged."""
    version = api.consent_text("en").version
    person = api.add_person(name, version, name, given_for="self", adult=True, language="en").id
    with photo.open("rb") as content:
        api.add_selfies(person, [(photo.name, content)])
    job = api.wait(api.train(schemas.TrainingRequest.model_validate({"person": person})).id)
    assert job.state == "succeeded"
    return person


def test_a_person_stays_through_menu_back_forward_reload_and_language(
    chromium: Browser, household: Household, app: KilledApp
) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, locale="en-GB")
    context.add_cookies([{"name": "portrait_key", "value": household.secret, "url": app.url}])
    tab, person = context.new_page(), household.people["Ann"]
    addresses = [f"{app.url}/{page}?person={person}" for page in ("photos", "create", "results")]
    tab.goto(addresses[0])
    tab.evaluate("window.loaded = 'once'")
    for address, name in zip(addresses[1:], ("Styles", "Portraits"), strict=True):
        tab.get_by_role("navigation", name="Menu").get_by_role("link", name=name, exact=True).click()
        tab.wait_for_url(address, timeout=PATIENCE)
        expect(tab.locator(".p-menu [aria-current]")).to_have_text(name, timeout=PATIENCE)
    steps = ((tab.go_back, addresses[1]), (tab.go_back, addresses[0]), (tab.go_forward, addresses[1]))
    for step, address in steps:
        step()
        assert tab.url == address, "each page is one step in the history"
    tab.evaluate(BACK_DURING_A_RUN, addresses[1])
    assert tab.url == addresses[0], "the run of a page that was left is no step"
    tab.go_forward()
    assert tab.url == addresses[1], "and cuts off nothing that lies ahead"
    assert tab.evaluate("window.loaded") == "once", "links and steps load no page anew"
    expect(tab.locator(".p-menu [aria-current]")).to_have_text("Styles", timeout=PATIENCE)
    tab.reload()
    tab.locator(".p-menu summary").click()
    tab.locator(".p-menu a[data-language]").click()
    expect(tab.locator(".p-menu [aria-current]")).to_have_text("风格", timeout=PATIENCE)
    assert tab.url == addresses[1]
    expect(tab.get_by_role("combobox", name="人物")).to_have_value("Ann", timeout=PATIENCE)
    context.close()


def test_an_app_that_is_killed_between_clicks(chromium: Browser, household: Household, app: KilledApp) -> None:
    _order_through_restarts(chromium, household, app, 5)


@pytest.mark.chaos
def test_an_app_that_is_killed_many_times(chromium: Browser, household: Household, app: KilledApp) -> None:
    _order_through_restarts(chromium, household, app, 30)


def _order_through_restarts(chromium: Browser, household: Household, app: KilledApp, times: int) -> None:
    """Order in both tabs at once; kill the app between the clicks, `times` times."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.add_cookies([{"name": "portrait_key", "value": household.secret, "url": app.url}])
    tabs = {name: context.new_page() for name in COLORS}
    known = {job.id for job in household.api.jobs(kind="generate")}
    with told_on_failure(tabs):
        for name, tab in tabs.items():
            tab.goto(f"{app.url}/idphoto?person={household.people[name]}&background={COLORS[name]}")
            expect(tab.get_by_role("button", name=MAKE)).to_be_enabled(timeout=PATIENCE)
            wait_until_idle(tab)
        for _ in range(times):
            app.kill()
            app.start()
            _press_twice(tabs, household)
            assert household.mixed_up() == []
            household.cancel_orders()
            for tab in tabs.values():
                _wait_for_end(tab, household)
        orders = {job.id for job in household.api.jobs(kind="generate")} - known
        assert len(orders) == times * len(tabs), "each click that was followed is one order"
    context.close()


def _press_twice(tabs: Mapping[str, Page], household: Household) -> None:
    """Press the button of each page, which the app has forgotten, and again once the page says so."""
    before = {name: tab.url for name, tab in tabs.items()}
    for tab in tabs.values():
        tab.locator('[data-test-connection-state="CONNECTED"]').wait_for(timeout=PATIENCE)
        tab.get_by_role("button", name=MAKE).click()
    for name, tab in tabs.items():
        expect(tab.get_by_text(RESTARTED)).to_be_visible(timeout=PATIENCE)
        wait_until_idle(tab)
        assert tab.url == before[name]
    for tab in tabs.values():
        tab.get_by_role("button", name=MAKE).click()
    for name, tab in tabs.items():
        tab.wait_for_url(lambda url, name=name: url != before[name], timeout=PATIENCE)
        assert f"person={household.people[name]}" in tab.url
        expect(tab.get_by_text(RESTARTED)).to_have_count(0, timeout=PATIENCE)


def _wait_for_end(tab: Page, household: Household) -> None:
    """Wait until a page shows how its order has ended: before, it is drawn again by itself, which a restart would meet."""
    [id] = parse_qs(urlsplit(tab.url).query)["job"]
    job = household.api.wait(id)
    shown = f".st-key-retry-{id}"
    if job.state == "succeeded":
        shown = f'a[href^="/take/portrait/{job.portrait_ids[0]}"]'
    tab.locator(shown).wait_for(timeout=PATIENCE)
    wait_until_idle(tab)
