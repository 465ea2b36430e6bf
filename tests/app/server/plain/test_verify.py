"""The page that says where a picture comes from: open to everybody, in plain sentences, and nothing of the picture stays."""

import re
from collections.abc import Iterator
from html import unescape

import pytest
from starlette.testclient import TestClient

from app.server.plain import verify
from app.server.plain.pages import render_page
from app.server.uploads import MOST_FILE_BYTES
from app.words import provenance, translation
from tests.app.pages import app_client, sign_in
from tests.tasks.api.harness import ApiServer, picture
from tests.tasks.api.test_verify import signed_here

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def stranger(server: ApiServer) -> TestClient:
    """Somebody who has not signed in, with the API running."""
    return app_client()


def text_of(page: str) -> str:
    """What a page says, without its tags."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)))


def ask(client: TestClient, content: bytes, **headers: str) -> tuple[int, str]:
    """Status and text of the page that answers a form."""
    answer = client.post("/verify", files={"file": ("me.jpg", content)}, headers=headers)
    return answer.status_code, text_of(answer.text)


def test_the_form_is_open_to_strangers_in_their_language() -> None:
    client = app_client()
    for locale, code in (("de", "en"), ("zh-CN", "zh")):
        page = client.get("/verify", headers={"Accept-Language": locale})
        assert page.status_code == 200
        assert f'<html lang="{code}">' in page.text
        assert translation.translate(code, "verify.title") in text_of(page.text)
        assert "<script" not in page.text
        assert 'enctype="multipart/form-data"' in page.text
    assert 'href="/language/zh?back=/verify"' in client.get("/verify").text
    assert 'href="/verify"' in client.get("/sign-in").text


def test_a_strangers_picture_is_answered_in_plain_sentences(server: ApiServer, stranger: TestClient) -> None:
    status, text = ask(stranger, signed_here(server.api))
    assert status == 200
    for key in ("made_yes", "reason_signed", "changed_no", "credentials_whole", "source_compositeSynthetic"):
        assert translation.translate("en", f"verify.{key}") in text
    assert translation.translate("en", "verify.show") not in text
    status, text = ask(stranger, picture(1, side=400), **{"Accept-Language": "zh"})
    assert status == 200
    assert translation.translate("zh", "verify.made_no") in text
    assert translation.translate("zh", "verify.reason_nothing") in text


def test_whoever_is_signed_in_is_led_to_their_portrait(server: ApiServer, stranger: TestClient) -> None:
    portrait = server.api.one_of_each().portrait
    content = signed_here(server.api, portrait)
    link = f'<a href="/portrait?id={portrait}">'
    assert link in sign_in(app_client(), server.api).post("/verify", files={"file": ("a.jpg", content)}).text
    assert link not in sign_in(app_client(), server.api, "eve").post("/verify", files={"file": ("a.jpg", content)}).text
    stranger.cookies.set("portrait_key", "ps_" + "x" * 43)  # an ended session is a stranger's
    status, text = ask(stranger, content)
    assert (status, translation.translate("en", "verify.made_yes") in text) == (200, True)


@pytest.mark.parametrize(
    ("content", "status", "key"),
    [
        (b"", 422, "not_unreadable"),
        (b"GIF89a no picture", 422, "not_unreadable"),
        (picture(1)[:99], 422, "not_unreadable"),
    ],
    ids=["empty", "GIF", "cut off"],
)
def test_what_cannot_be_looked_at_is_said(
    server: ApiServer, stranger: TestClient, content: bytes, status: int, key: str
) -> None:
    found, text = ask(stranger, content)
    assert (found, translation.translate("en", f"verify.{key}") in text) == (status, True)
    assert server.api.stored_files() == []


def test_a_form_without_a_picture_asks_for_one(stranger: TestClient) -> None:
    answer = stranger.post("/verify", files={"file": ("", b"")})
    assert answer.status_code == 422
    assert translation.translate("en", "verify.not_bad_request") in text_of(answer.text)


def test_what_is_too_large_or_comes_from_elsewhere_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_API_URL", "http://127.0.0.1:9")
    client = app_client()
    assert ask(client, picture(), Origin="https://elsewhere.example")[0] == 403
    monkeypatch.setattr(verify, "MOST_FILE_BYTES", 1000)
    assert MOST_FILE_BYTES > 1000
    status, text = ask(client, bytes(verify.FORM_BYTES + 2000))
    assert (status, translation.translate("en", "verify.not_too_large") in text) == (413, True)
    assert client.post("/verify", content=_pieces(), headers={"Content-Type": "multipart/form-data"}).status_code == 411


def _pieces() -> Iterator[bytes]:
    yield b"x" * 100


def test_a_service_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_API_URL", "http://127.0.0.1:9")
    status, text = ask(app_client(), picture())
    assert (status, translation.translate("en", "error.api_unreachable") in text) == (503, True)


def test_names_that_others_wrote_are_shown_as_text() -> None:
    known = {
        "made_here": "no",
        "reason": "other_signer",
        "altered": "no",
        "credentials": "foreign",
        "mark": "none",
        "source": "<b>",
        "signer": "<script>alert(1)</script>",
        "generator": "",
        "short_id": "",
    }
    told = provenance.describe("en", known)
    page = render_page("verify", "en", back="/verify", message="", told=told, made_here="no", portrait="")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "“&lt;b&gt;”" in page
