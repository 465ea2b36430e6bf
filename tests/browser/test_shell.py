"""What is around every page: the visitor's language in Streamlit's own words too, the sign of work, a lost connection."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, WebSocketRoute, expect

from tasks.client.client import Client
from tests.browser.conftest import Installation
from tests.browser.page_checks import english_words, serious_violations, wait_until_idle
from tests.browser.visitors import signed_in

BAR = "Number(getComputedStyle(document.querySelector('.stApp'), '::before').opacity)"


@pytest.fixture(scope="module")
def admin(installation: Installation) -> Iterator[tuple[Client, str]]:
    """The API as an admin, and the secret of a session of theirs."""
    with signed_in(installation, "shell", "admin") as found:
        yield found


@pytest.fixture(scope="module")
def chinese(chromium: Browser, installation: Installation, admin: tuple[Client, str]) -> Iterator[BrowserContext]:
    """A browser in Chinese, signed in as an admin."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="zh-CN")
    context.add_cookies([{"name": "portrait_key", "value": admin[1], "url": installation.app}])
    yield context
    context.close()


def test_pages_speak_the_visitors_language(
    chinese: BrowserContext, installation: Installation, admin: tuple[Client, str]
) -> None:
    page = chinese.new_page()
    problems: list[str] = []
    fonts: set[str] = set()
    page.on("response", lambda response: fonts.add(response.url) if ".woff2" in response.url else None)
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    found, titles = {}, []
    names = ("Portrait", "studio-warm", *re.findall(r"[A-Za-z]+", " ".join(each.id for each in admin[0].owners())))
    # The page of models is mostly names; labels of charts on the page of quality are Vega's, which has English alone.
    operators = ("board", "machinery", "styles", "style?id=studio-warm", "accounts", "audit")
    for path in ("", "create", "idphoto", "privacy", *operators):
        page.goto(f"{installation.app}/{path}")
        wait_until_idle(page)
        assert page.evaluate("document.documentElement.lang") == "zh-Hans-CN"
        assert page.evaluate("document.querySelector('link[rel~=icon]').href").startswith("data:image/svg+xml"), (
            "our icon"
        )
        titles.append(page.title())
        found |= {f"{path}: {text}": words for text, words in english_words(page, names).items()}
    assert found == {}
    assert problems == []
    assert not [each for each in fonts if "Italic" in each], (
        "nothing is slanted, also not before the style is there: that font is 139 KB"
    )
    assert len(set(titles)) == len(titles)
    assert all(title.endswith(" · 写真") for title in titles)
    page.evaluate("document.body.append('Left over'), document.querySelector('h1').setAttribute('aria-label', 'Close')")
    assert list(english_words(page).values()) == [["Left", "over"]], "what Streamlit writes is translated at once"


def test_a_slow_service_is_told(chinese: BrowserContext, installation: Installation) -> None:
    page = chinese.new_page()
    page.goto(f"{installation.app}/photos")
    wait_until_idle(page)
    with stopped_api(installation):
        page.locator(".stButton button").first.click()
        expect(page.get_by_role("status").filter(has_text="正在处理")).to_have_count(1)
        assert page.evaluate(BAR) > 0
    wait_until_idle(page)
    expect(page.get_by_role("status").filter(has_text="正在处理")).to_have_count(0)


def test_a_lost_connection_is_told_in_words_of_ours(chinese: BrowserContext, installation: Installation) -> None:
    page = chinese.new_page()
    sockets: list[WebSocketRoute] = []

    def connect(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    page.route_web_socket("**/_stcore/stream", connect)
    page.goto(f"{installation.app}/photos")
    wait_until_idle(page)
    chinese.set_offline(True)
    sockets[-1].close()
    expect(page.get_by_role("alert").filter(has_text="连接已断开")).to_be_visible(timeout=15_000)
    expect(page.get_by_text("Connection error")).to_have_count(0)
    assert serious_violations(page) == {}
    chinese.set_offline(False)
    page.get_by_role("button", name="重新加载页面").click()
    wait_until_idle(page)
    expect(page.get_by_role("alert").filter(has_text="连接已断开")).to_have_count(0)


@contextmanager
def stopped_api(installation: Installation) -> Iterator[None]:
    """The process of the API, stopped meanwhile."""
    port = str(urlsplit(installation.api).port).encode()
    commands = ((path.parent, set(path.read_bytes().split(b"\0"))) for path in Path("/proc").glob("[0-9]*/cmdline"))
    # A fork of `serve` has its words, and a name of its own.
    served = [(folder, words) for folder, words in commands if port in words]
    [process] = [
        int(folder.name)
        for folder, words in served
        if b"api" in words or (folder / "comm").read_text() == "portrait-api\n"
    ]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)
