"""Signing in, pictures and files to take home: the app's routes, against an API on a port of this machine."""

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tasks import auth
from tests.app.pages import door, office
from tests.tasks.api.desk import Served, picture, served

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with office(tmp_path / "home") as desk, served(desk) as there:
        monkeypatch.setenv("PORTRAIT_API_URL", there.url)
        yield there


@pytest.fixture
def visitor(there: Served) -> TestClient:
    """Somebody who has signed in."""
    came = door()
    came.cookies.set("portrait_key", there.desk.key())
    return came


HTML = {"accept": "text/html,application/xhtml+xml"}


def test_who_has_not_signed_in_is_led_to_the_sign_in_page() -> None:
    for page in ("/", "/results", "/board"):
        answer = door().get(page, headers=HTML)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "Your key" in door().get("/sign-in").text


def test_a_key_is_kept_where_scripts_and_other_sites_cannot_reach_it(there: Served) -> None:
    came = door()
    answer = came.post("/sign-in", data={"key": there.desk.key()})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert came.get("/", headers=HTML).text == "a page"


def test_a_wrong_key_and_a_form_of_another_site_open_nothing(there: Served) -> None:
    assert door().post("/sign-in", data={"key": "pk_wrong"}).status_code == 401
    foreign = door().post("/sign-in", data={"key": there.desk.key()}, headers={"origin": "https://evil.example"})
    assert foreign.status_code == 400
    assert "set-cookie" not in foreign.headers


def test_a_one_time_link_opens_once_and_its_code_stands_in_no_address_after(there: Served) -> None:
    code = auth.new_code(there.desk.office.store, "ann", "person", time.time())
    answer = door().get(f"/sign-in?code={code}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "portrait_key=pk_" in answer.headers["set-cookie"]
    again = door().get(f"/sign-in?code={code}")
    assert again.status_code == 401
    assert "used already" in again.text


def test_an_api_that_is_away_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_API_URL", "http://127.0.0.1:9")
    answer = door().get("/sign-in?code=abc")
    assert answer.status_code == 503
    assert "not answering" in answer.text


def test_signing_out_forgets_the_key(visitor: TestClient) -> None:
    answer = visitor.post("/sign-out")
    assert answer.headers["location"] == "/sign-in"
    assert 'portrait_key=""' in answer.headers["set-cookie"]


def test_a_language_is_remembered_and_leads_back_to_pages_of_ours_alone() -> None:
    answer = door().get("/language/zh?back=/photos")
    assert (answer.headers["location"], "portrait_language=zh" in answer.headers["set-cookie"]) == ("/photos", True)
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example"):
        assert door().get("/language/zh", params={"back": elsewhere}).headers["location"] == "/"
    assert "set-cookie" not in door().get("/language/xx").headers
    came = door()
    came.cookies.set("portrait_language", "zh")
    assert "您的密钥" in came.get("/sign-in").text


def test_pictures_are_served_to_their_owner_alone(there: Served, visitor: TestClient) -> None:
    things = there.desk.things()
    for kind, id in (("selfie", things.selfie), ("crop", things.selfie), ("portrait", things.portrait)):
        answer = visitor.get(f"/picture/{kind}/{id}?side=64")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert "private" in answer.headers["cache-control"]
        stranger = door()
        stranger.cookies.set("portrait_key", there.desk.key("ben"))
        assert stranger.get(f"/picture/{kind}/{id}?side=64").status_code == 404
        assert door().get(f"/picture/{kind}/{id}").status_code == 401
    assert visitor.get("/picture/style/studio-warm?side=320").status_code == 200
    assert visitor.get("/picture/secret/studio-warm").status_code == 404
    assert visitor.get("/picture/style/a%20b").status_code == 404


def test_portraits_and_everything_kept_are_taken_home(there: Served, visitor: TestClient) -> None:
    things = there.desk.things()
    one = visitor.get(f"/take/portrait/{things.portrait}")
    assert one.headers["content-disposition"].startswith('attachment; filename="studio-warm-')
    many = visitor.get("/take/portraits.zip", params={"id": [things.portrait]})
    assert len(zipfile.ZipFile(io.BytesIO(many.content)).namelist()) == 1
    export = visitor.get("/take/export.zip")
    assert "records.json" in zipfile.ZipFile(io.BytesIO(export.content)).namelist()
    assert visitor.get("/take/portraits.zip", params={"id": "portrait_none"}).status_code == 404


def test_every_answer_carries_the_headers_that_protect_a_page() -> None:
    for address in ("/sign-in", "/picture/style/x", "/"):
        headers = door().get(address, headers=HTML).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["referrer-policy"] == "same-origin"


def test_pictures_and_packs_of_drafts_are_served_to_operators_alone(there: Served, visitor: TestClient) -> None:
    olga = door()
    olga.cookies.set("portrait_key", there.desk.key("olga", "operator"))
    content = {"schema": 1, "id": "hall", "kind": "template", "title": "Hall", "licence": "CC0-1.0"}
    sent = {"content": content | {"picture": {"file": "picture.jpg"}}}
    asking = there.desk.client("olga", "operator")
    assert asking.put("/operator/styles/hall/draft", json=sent).status_code == 200
    file = {"file": ("a.jpg", picture(3, side=600, format="JPEG"))}
    assert asking.post("/operator/styles/hall/picture", files=file).status_code == 200
    shown = olga.get("/picture/draft/hall?side=64")
    assert (shown.status_code, shown.headers["cache-control"]) == (200, "no-store")
    assert visitor.get("/picture/draft/hall").status_code == 403
    taken = olga.get("/take/styles.zip?id=hall")
    assert taken.headers["content-disposition"] == 'attachment; filename="hall.zip"'
    assert "hall/style.toml" in zipfile.ZipFile(io.BytesIO(taken.content)).namelist()
    assert visitor.get("/take/styles.zip?id=hall").status_code == 403
    for nothing in ("/picture/sample/hall.1", "/picture/sample/hall", "/picture/version/hall.1", "/picture/version/.1"):
        assert olga.get(nothing).status_code == 404
    # A style that was never published has a picture of nobody.
    assert visitor.get("/picture/style/hall").headers["content-type"] == "image/svg+xml"
