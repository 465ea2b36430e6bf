"""Choosing styles in a real browser: cards that are pressed, choices that a reload keeps, places marked in a picture."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from portrait.images.resize import resize
from tasks import schemas
from tasks.client.client import Client
from tests import selfies
from tests.browser.conftest import Installation
from tests.browser.page_checks import check_page, wait_until_idle
from tests.browser.visitors import signed_in


@pytest.fixture(scope="module")
def visitor(installation: Installation, photos: list[Path]) -> Iterator[tuple[Client, str]]:
    """Somebody whose two photos were judged, and the secret of their session."""
    with signed_in(installation, "stella") as (api, secret):
        version = api.consent_text().version
        person = api.add_person("Stella", version, "Stella", given_for="self", adult=True, language="en")
        api.add_selfies(person.id, [(path.name, path.read_bytes()) for path in photos[:2]])
        api.wait(api.train(schemas.TrainingRequest.model_validate({"person": person.id})).id)
        yield api, secret


@pytest.fixture
def page(installation: Installation, chromium: Browser, visitor: tuple[Client, str]) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.add_cookies([{"name": "portrait_key", "value": visitor[1], "url": installation.app}])
    page = context.new_page()
    yield page
    context.close()


def test_choices_survive_a_reload_and_cards_show_ones_own_photo(
    page: Page, installation: Installation, shots: Path
) -> None:
    page.goto(f"{installation.app}/create")
    warm, office = (
        page.get_by_role("button", name=f"Choose {name}", exact=True) for name in ("Warm paper", "Office by the window")
    )
    warm.click()
    office.click()
    expect(page.get_by_text("4 portraits in all.")).to_be_visible(timeout=20_000)
    page.reload()
    for card in (warm, office):
        expect(card).to_have_attribute("aria-pressed", "true", timeout=20_000)
    wait_until_idle(page)
    shown = warm.locator("img")
    assert "/picture/own_style/studio-warm.person_" in str(shown.get_attribute("src"))
    shown.scroll_into_view_if_needed()
    size = shown.evaluate("(each) => each.decode().then(() => [each.naturalWidth, each.naturalHeight])")
    assert size == [384, 480]
    page.get_by_role("button", name="Leave out Warm paper").click()
    expect(warm).to_have_attribute("aria-pressed", "false", timeout=20_000)
    expect(office).to_have_attribute("aria-pressed", "true")
    check_page(page, shots, "create-chosen")


def test_a_place_is_marked_by_a_click_moved_and_removed_by_keys(
    page: Page, installation: Installation, visitor: tuple[Client, str], shots: Path
) -> None:
    api, _ = visitor
    text = api.consent_text()
    template = api.add_template(
        "friend.jpg", selfies.jpeg(selfies.player("player 3")), text.version if text.pictures else ""
    )
    api.wait(template.job)
    page.goto(f"{installation.app}/create?styles={template.id}")
    page.get_by_text("Is a face missing in friend.jpg?").click()
    stage = page.get_by_role("group", name="The picture: press Enter to mark a place")
    expect(stage).to_be_visible(timeout=20_000)
    wait_until_idle(page)
    stage.click(position={"x": 30, "y": 40})
    place = page.get_by_role("button", name="The person at place 2")
    expect(place).to_be_visible()
    expect(page.get_by_text("Who is who in friend.jpg?")).to_be_visible(timeout=20_000)
    wait_until_idle(page)
    before = place.evaluate("(each) => each.style.left")
    place.focus()
    place.press("ArrowRight")
    assert place.evaluate("(each) => each.style.left") != before
    wait_until_idle(page)
    check_page(page, shots, "create-places")
    place.press("Delete")
    expect(place).to_have_count(0)
    expect(page.get_by_text("Who is who in friend.jpg?")).to_have_count(0, timeout=20_000)


def test_one_of_two_refused_is_named_the_other_kept_and_nothing_ordered_twice(
    page: Page, installation: Installation, visitor: tuple[Client, str]
) -> None:
    api, _ = visitor
    text = api.consent_text()
    template = api.add_template("gone.jpg", selfies.jpeg(selfies.player("player 3")), text.version)
    api.wait(template.job)
    page.goto(f"{installation.app}/create?styles=studio-warm,{template.id}")
    order = page.get_by_role("button", name="Make 4 portraits")
    expect(order).to_be_enabled(timeout=20_000)
    wait_until_idle(page)
    api.delete_template(template.id)  # as in another tab
    order.click()
    # On a slow machine the page has looked again meanwhile, and knows no name any more.
    told = page.get_by_role("alert").filter(has_text=re.compile(r"gone\.jpg: |A picture of your own cannot be chosen"))
    expect(told).to_be_visible(timeout=20_000)
    wait_until_idle(page)
    assert "styles=studio-warm" in page.url, "the other stays chosen"
    assert api.jobs(kind="generate") == []
    page.reload()
    rest = page.get_by_role("button", name="Make 2 portraits")
    expect(rest).to_be_enabled(timeout=20_000)
    expect(page.get_by_text("A picture of your own cannot be chosen any more")).to_be_visible()
    wait_until_idle(page)
    rest.click()
    page.wait_for_url("**/progress?**", timeout=20_000)
    [job] = api.jobs(kind="generate")
    assert (job.wants["style"], job.wants["count"]) == ("studio-warm", 2)
    api.cancel(job.id)


def test_a_photo_from_too_near_opens_no_id_photo_and_says_what_would(
    page: Page, installation: Installation, visitor: tuple[Client, str]
) -> None:
    api, _ = visitor
    person = api.add_person(
        "Stella near", api.consent_text().version, "Stella", given_for="self", adult=True, language="en"
    )
    near = np.ascontiguousarray(selfies.astronaut()[40:240, 140:310])
    api.add_selfies(person.id, [("near.jpg", selfies.jpeg(resize(near, (510, 600))))])
    assert api.wait(api.train(schemas.TrainingRequest.model_validate({"person": person.id})).id).state == "succeeded"
    page.goto(f"{installation.app}/create?person={person.id}")
    expect(page.get_by_role("button", name="Choose Warm paper", exact=True)).to_be_visible(timeout=20_000)
    wait_until_idle(page)
    page.get_by_text("more styles, not ready here").click()
    expect(page.get_by_text("both shoulders, would open ID photos")).to_be_visible()
    cards = page.locator("button.card")
    ids = cards.evaluate_all("(all) => all.filter((each) => !each.disabled).map((each) => each.dataset.id)")
    assert "studio-warm" in ids
    assert [each for each in ids if each.startswith("idphoto") or each.endswith("-half")] == []
