"""Portraits in a real browser: from the list and back, zoom, comparison, a painted mask, another shape."""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from portrait.generation.edit_masks import polygon_mask
from tasks.client.client import Client
from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.ledger import open_ledger
from tasks.ledger.tables import job_people, jobs, portraits
from tests.browser.conftest import Installation
from tests.browser.page_checks import serious_violations, wait_for, wait_until_idle
from tests.browser.visitors import signed_in
from tests.tasks.api.harness import picture, portrait_row

OWNER = "petra"
COUNT = 20
EYES = {"portrait": [0.4, 0.4, 0.6, 0.4], "photo": [0.2, 0.3, 0.3, 0.4], "photo_aspect": 1.0}
PLACE = "document.querySelector('[data-testid=stMain]').scrollTop"
HEIGHT = "document.querySelector('[data-testid=stMain]').scrollHeight"
LAID = """() => {
    const over = document.querySelector('[data-testid=stMain]');
    const find = (root) => root.querySelector('.over') ?? [...root.querySelectorAll('*')].map((each) => each.shadowRoot
        && find(each.shadowRoot)).find(Boolean);
    const img = find(over), frame = img.closest('.frame').getBoundingClientRect();
    const matrix = new DOMMatrix(getComputedStyle(img).transform), [x1, y1, x2, y2] = EYES;
    return [[x1, y1], [x2, y2]].flatMap(([x, y]) => {
        const at = matrix.transformPoint(new DOMPoint(x * img.naturalWidth, y * img.naturalHeight));
        return [at.x / frame.width, at.y / frame.height];
    });
}"""

CUT = """() => {
    window.cut = 0;
    const watch = () => {
        for (const each of document.querySelectorAll('[data-testid=stExpander] details[open]'))
            window.cut = Math.max(window.cut, each.scrollHeight - each.clientHeight);
        requestAnimationFrame(watch);
    };
    watch();
}"""
"""Watches from frame to frame how many pixels an open expander cuts off of what is in it."""

SHARING = """
    navigator.canShare = ({ files }) => files.every((each) => each.type === "image/jpeg");
    navigator.share = async ({ title, files }) => {
        window.shared = [title, files.map((each) => [each.name, each.type, each.size])];
        if (window.refusal) throw new DOMException("", window.refusal);
    };
"""
"""A browser that hands files to other apps; `refusal` names what goes wrong."""


@pytest.fixture(scope="module")
def api(installation: Installation) -> Iterator[Client]:
    with signed_in(installation, OWNER) as (api, secret):
        api.secret = secret  # pyrefly: ignore[missing-attribute] -- kept beside it
        yield api


@pytest.fixture(scope="module")
def page(installation: Installation, chromium: Browser, api: Client) -> Iterator[Page]:
    """A visitor's page, who has portraits that were drawn of words."""
    person = api.add_person("Petra", "2026-12", "Petra", language="en", given_for="self", adult=True).id
    photo = api.add_selfies(person, [("me.png", picture(3, side=400))]).added[0].id
    _deliver(installation.home, person, photo)
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB", has_touch=True)
    secret: str = api.secret  # pyrefly: ignore[missing-attribute] -- kept beside it
    context.add_cookies([{"name": "portrait_key", "value": secret, "url": installation.app}])
    yield context.new_page()
    context.close()


def test_one_comes_back_from_a_portrait_to_the_place_in_the_list(page: Page, installation: Installation) -> None:
    page.goto(f"{installation.app}/results?sort=likeness")
    wait_until_idle(page)
    assert serious_violations(page) == {}
    card = page.locator("a.p-open").nth(12)
    card.hover()
    place = page.evaluate(PLACE)
    assert place > 300
    card.click()
    expect(page.get_by_text("13 of 20")).to_be_visible(timeout=20_000)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("14 of 20")).to_be_visible(timeout=20_000)
    page.keyboard.press("Escape")
    page.wait_for_url("**/results?sort=likeness")
    _wait_for_place(page, place)
    card.click()
    expect(page.get_by_text("13 of 20")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Next portrait").click()
    expect(page.get_by_text("14 of 20")).to_be_visible(timeout=20_000)
    page.go_back()
    page.wait_for_url("**/results?sort=likeness")
    _wait_for_place(page, place)
    page.go_forward()
    expect(page.get_by_text("14 of 20")).to_be_visible(timeout=20_000)


def _wait_for_place(page: Page, place: float) -> None:
    """Wait until the page is scrolled to a place."""
    until = time.monotonic() + 30
    while (now := page.evaluate(PLACE)) != place:
        assert time.monotonic() < until, f"{now} in place of {place} of {page.evaluate(HEIGHT)}"
        page.wait_for_timeout(50)


def test_a_portrait_is_zoomed_moved_and_compared_by_its_eyes(
    page: Page, installation: Installation, api: Client
) -> None:
    page.goto(f"{installation.app}/portrait?id={api.portrait_page().items[0].id}")
    stage, scale = page.locator(".stage"), page.locator("output.scale")
    expect(scale).to_have_text("100 %", timeout=20_000)
    stage.click(position={"x": 40, "y": 40})
    expect(scale).to_have_text("250 %")
    page.keyboard.press("+")
    expect(scale).to_have_text("350 %")
    page.keyboard.press("Escape")
    expect(scale).to_have_text("100 %")  # and not the list yet
    page.locator("label", has_text="Compare with the original").click()
    slider = page.get_by_role("slider", name="How much of the original is shown")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_value("49")
    page.locator(".over.laid").wait_for()
    laid = page.evaluate(LAID.replace("EYES", str(EYES["photo"])))
    assert laid == pytest.approx(EYES["portrait"], abs=0.005)


def test_a_portrait_is_handed_to_another_app_where_the_browser_can(
    page: Page, installation: Installation, api: Client
) -> None:
    portrait = api.portrait_page().items[0]
    page.goto(f"{installation.app}/portrait?id={portrait.id}")
    expect(page.locator("output.scale")).to_have_text("100 %", timeout=20_000)
    expect(page.locator("button.share")).to_be_hidden()
    able = page.context.new_page()
    able.add_init_script(SHARING)
    able.goto(f"{installation.app}/portrait?id={portrait.id}")
    share, told = able.locator("button.share"), able.locator("p.told")
    share.click(timeout=20_000)
    wait_for(able, "window.shared")
    size = len(api.portrait_file(portrait.id))
    title = able.locator("h2").first.inner_text()
    assert able.evaluate("window.shared") == [title, [[f"{title}.jpg", "image/jpeg", size]]]
    expect(told).to_be_hidden()
    for refusal, visible in (("AbortError", False), ("NotAllowedError", True), ("DataError", True)):
        able.evaluate("(name) => Object.assign(window, { shared: null, refusal: name })", refusal)
        share.click()
        wait_for(able, "window.shared")
        expect(told).to_be_visible(visible=visible)
    able.close()


def test_a_part_is_painted_and_another_shape_dragged_with_keys_alone(
    page: Page, installation: Installation, api: Client
) -> None:
    id = api.portrait_page().items[0].id
    page.goto(f"{installation.app}/portrait?id={id}")
    page.evaluate(CUT)
    page.get_by_text("Change this portrait").click()
    page.get_by_role("radio", name="Another shape").click()
    edge = page.get_by_role("slider", name="Width").last
    edge.press("PageUp")
    page.get_by_role("button", name="Draw the rest").hover()
    assert page.evaluate("window.cut") == 0, "no button moves away below whoever presses it"
    page.get_by_role("button", name="Draw the rest").click()
    page.wait_for_url("**/progress**")
    extended = api.jobs(kind="generate")[0]
    assert extended.wants["edit"]["shape"] == [528, 500]
    api.cancel(extended.id)
    page.goto(f"{installation.app}/portrait?id={id}")
    page.get_by_text("Change this portrait").click()
    page.get_by_role("radio", name="A part of it").click()
    canvas = page.locator("canvas")
    canvas.focus()
    for key in ("ArrowUp", "ArrowUp", " "):
        canvas.press(key)
    page.get_by_role("button", name="Draw this part anew").click()
    page.wait_for_url("**/progress**")
    painted = api.jobs(kind="generate")[0]
    mask = polygon_mask(painted.wants["edit"]["area"], 400, 500)
    rows, columns = np.nonzero(mask)
    assert (columns.mean() / 400, rows.mean() / 500) == pytest.approx((0.5, 0.46), abs=0.01)
    api.cancel(painted.id)


def test_a_failure_stays_until_it_was_seen_however_much_is_done_since(page: Page, installation: Installation) -> None:
    failed = _fail(installation.home)
    card = page.locator(f".st-key-failed-{failed}")
    page.goto(f"{installation.app}/progress")
    expect(card).to_contain_text("Warm paper", timeout=20_000)
    expect(page.get_by_role("heading", name="This did not work")).to_be_visible()
    page.reload()
    wait_until_idle(page)
    expect(card).to_contain_text("Your photos end too close to the face")
    card.get_by_role("button", name="OK, seen").click()
    expect(card).to_have_count(0, timeout=20_000)
    page.reload()
    wait_until_idle(page)
    expect(page.get_by_role("heading", name="Finished")).to_be_visible()
    expect(card).to_have_count(0)


def _deliver(home: Path, person: str, photo: str) -> None:
    """Portraits of a person, as if they had been drawn of words from one of their photos."""
    ledger, files, now = open_ledger(f"sqlite:///{home / 'ledger.db'}"), Files(home / "data"), time.time()
    wants = {"people": {"1": person}, "identities": {"1": "none"}, "style": "studio-warm"}
    job = Job(new_id("job", now), OWNER, "generate", "cpu", wants, now, needs=frozenset({"draw:nothing"}))
    recipe: dict[str, Any] = {"seed": 1, "count": 1, "style": {"id": "studio-warm", "version": 1, "kind": "text"}}
    recipe |= {"photos": {"1": photo}, "drawn": {"eyes": {"1": EYES}}}
    folder = files.portraits(OWNER, job.id)
    folder.mkdir(parents=True)
    rows = []
    for number in range(1, COUNT + 1):
        (folder / f"{number:02}.jpg").write_bytes(picture(number, side=500, format="JPEG"))
        plain = replace(portrait_row(job, number, now), width=400, height=500, recipe=recipe, distance=0.4)
        rows.append(asdict(plain))
    with ledger.database.write() as connection:
        connection.execute(sa.insert(jobs), [_ended(job)])
        connection.execute(sa.insert(job_people).values(job=job.id, person=person))
        connection.execute(sa.insert(portraits), rows)
    ledger.close()


def _fail(home: Path) -> str:
    """An order that failed some time ago, and more that were drawn since than a page lists; returns its id."""
    ledger, now = open_ledger(f"sqlite:///{home / 'ledger.db'}"), time.time()
    wants = {"people": {}, "style": "studio-warm"}
    made = [
        Job(new_id("job", at), OWNER, "generate", "cpu", wants, at) for at in (now - 60 + each for each in range(15))
    ]
    fault = {"branch": "UserError", "code": "no_shoulders", "message": "No photo shows enough of the shoulders."}
    rows = [_ended(made[0], state="failed", fault=fault), *(_ended(each, fault=None) for each in made[1:])]
    with ledger.database.write() as connection:
        connection.execute(sa.insert(jobs), rows)
    ledger.close()
    return made[0].id


def _ended(job: Job, **values: Any) -> dict[str, Any]:
    """The row of a job that has ended; `values` are others than those of one that was drawn at once."""
    row: dict[str, Any] = {"id": job.id, "owner": OWNER, "kind": job.kind, "queue": job.queue, "state": "succeeded"}
    row |= {
        "wants": dict(job.params),
        "needs": "draw:nothing",
        "phase": "",
        "message": "",
        "result": {},
        "units": COUNT,
    }
    row |= dict.fromkeys(("priority", "preview", "losses", "failures"), 0) | {"progress": 1.0}
    return row | dict.fromkeys(("created", "started", "finished"), job.created) | values
