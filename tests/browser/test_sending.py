"""Files that a person drops or chooses, in a real browser: sent by the page itself, and each that is refused told in a line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tasks.client.client import Client
from tests import selfies
from tests.browser.conftest import Installation
from tests.browser.page_checks import serious_violations, wait_for
from tests.browser.visitors import signed_in

DROP = """
(files) => {
    const find = (root) => {
        for (const each of root.querySelectorAll("*")) {
            const found = each.matches(".zone") ? each : each.shadowRoot && find(each.shadowRoot);
            if (found) return found;
        }
    };
    const transfer = new DataTransfer();
    for (const [name, content] of files) transfer.items.add(new File([Uint8Array.from(content)], name));
    const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer });
    find(document).dispatchEvent(event);
}
"""


@pytest.fixture
def visit(installation: Installation, chromium: Browser) -> Iterator[tuple[Page, Client, str]]:
    """The page of photos of a new person, in Chinese."""
    with signed_in(installation, "eva") as (api, secret):
        person = api.add_person("小文", "2026-12", "小文", language="zh", given_for="self", adult=True)
        context = chromium.new_context(locale="zh-CN", viewport={"width": 390, "height": 844})
        context.add_cookies([{"name": "portrait_key", "value": secret, "url": installation.app}])
        page = context.new_page()
        page.goto(f"{installation.app}/photos?person={person.id}")
        expect(page.get_by_role("button", name="选择照片")).to_be_visible(timeout=30_000)
        yield page, api, person.id
        context.close()


def test_refused_files_of_a_mixed_batch_are_told_in_the_pages_language(
    visit: tuple[Page, Client, str], photos: list[Path], tmp_path: Path
) -> None:
    page, api, person = visit
    expect(page.get_by_text("把照片拖到这里")).to_be_visible()
    expect(page.get_by_text("每个不超过 80 MB")).to_be_visible()
    (tmp_path / "cv.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "fake.jpg").write_bytes(b"no picture at all")
    (tmp_path / "huge.jpg").touch()
    with (tmp_path / "huge.jpg").open("r+b") as file:
        file.truncate(80_000_001)
    twice = tmp_path / "twice.jpg"
    twice.write_bytes(photos[0].read_bytes())
    page.locator('input[type="file"]').set_input_files(
        [photos[0], *(tmp_path / name for name in ("cv.pdf", "fake.jpg", "huge.jpg"))]
    )
    told = {"cv.pdf": "这不是照片", "fake.jpg": "不是可读取的照片", "huge.jpg": "过大"}
    for name, text in told.items():
        expect(page.get_by_role("listitem").filter(has_text=name)).to_contain_text(text, timeout=20_000)
    expect(page.get_by_title(photos[0].name, exact=True)).to_be_visible(timeout=20_000)
    assert [each.name for each in api.selfies(person)] == [photos[0].name]
    page.locator('input[type="file"]').set_input_files(twice)
    expect(page.get_by_role("listitem").filter(has_text="twice.jpg")).to_contain_text("已经在这里", timeout=20_000)
    expect(page.get_by_role("listitem").filter(has_text="cv.pdf")).to_be_visible()
    page.get_by_role("button", name="隐藏关于 cv.pdf 的提示").press("Enter")
    expect(page.get_by_role("listitem").filter(has_text="cv.pdf")).to_have_count(0)
    expect(page.get_by_role("listitem").filter(has_text="fake.jpg")).to_be_visible()
    assert serious_violations(page) == {}
    assert len(api.selfies(person)) == 1


def test_dropped_files_are_sent_again_when_the_connection_breaks(visit: tuple[Page, Client, str]) -> None:
    page, api, person = visit
    tries: list[str] = []

    def break_first(route: Route) -> None:
        tries.append(route.request.headers["x-file-name"])
        if len(tries) == 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/send/selfies/*", break_first)
    files = [(f"{number}.jpg", list(selfies.jpeg(selfies.astronaut()[number:], 40))) for number in range(4)]
    page.evaluate(DROP, files)
    expect(page.get_by_role("progressbar").first).to_be_visible()
    expect(page.get_by_title("3.jpg", exact=True)).to_be_visible(timeout=30_000)
    wait_for(page, "document.documentElement.scrollWidth <= innerWidth")
    assert sorted(each.name for each in api.selfies(person)) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert len(tries) == 5
    expect(page.get_by_role("listitem")).to_have_count(0)


def test_a_photo_is_deleted_without_a_question_and_brought_back_by_one_press(
    visit: tuple[Page, Client, str], photos: list[Path]
) -> None:
    page, api, person = visit
    [photo] = api.add_selfies(person, [(photos[0].name, photos[0].read_bytes())]).added
    page.reload()
    page.locator(f".st-key-delete-{photo.id} button").click(timeout=30_000)
    back = page.get_by_role("button", name="撤销", exact=True)
    expect(back).to_be_visible(timeout=20_000)
    assert api.selfies(person) == []
    back.click()
    # Until the page has run again, it shows what it did before.
    expect(back).to_be_hidden(timeout=20_000)
    expect(page.get_by_title(photo.name, exact=True)).to_be_visible(timeout=20_000)
    assert [each.id for each in api.selfies(person)] == [photo.id]
