"""The app's routes, signing in, pictures and downloads, against an API on a port of this machine."""

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tasks import auth
from tests.app.pages import app_client, open_test_api
from tests.tasks.api.harness import ApiServer, api_server, picture

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with open_test_api(tmp_path / "home") as api, api_server(api) as server:
        monkeypatch.setenv("PORTRAIT_API_URL", server.url)
        yield server


@pytest.fixture
def visitor(server: ApiServer) -> TestClient:
    """Somebody who has signed in."""
    client = app_client()
    client.cookies.set("portrait_key", server.api.key())
    return client


HTML = {"accept": "text/html,application/xhtml+xml"}


def test_pages_redirect_to_the_sign_in_page_without_a_key() -> None:
    for page in ("/", "/results", "/board"):
        response = app_client().get(page, headers=HTML)
        assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    assert "Your key" in app_client().get("/sign-in").text


def test_the_cookie_of_the_key_is_http_only_and_same_site(server: ApiServer) -> None:
    client = app_client()
    response = client.post("/sign-in", data={"key": server.api.key()})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/", headers=HTML).text == "a page"


def test_a_wrong_key_and_a_form_of_another_site_are_refused(server: ApiServer) -> None:
    assert app_client().post("/sign-in", data={"key": "pk_wrong"}).status_code == 401
    foreign = app_client().post("/sign-in", data={"key": server.api.key()}, headers={"origin": "https://evil.example"})
    assert foreign.status_code == 400
    assert "set-cookie" not in foreign.headers


def test_a_one_time_link_signs_in_once(server: ApiServer) -> None:
    code = auth.create_code(server.api.context.ledger, "ann", "person", time.time())
    response = app_client().get(f"/sign-in?code={code}")
    assert (response.status_code, response.headers["location"]) == (303, "/")
    assert "portrait_key=pk_" in response.headers["set-cookie"]
    again = app_client().get(f"/sign-in?code={code}")
    assert again.status_code == 401
    assert "used already" in again.text


def test_an_unreachable_api_gives_an_error_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_API_URL", "http://127.0.0.1:9")
    response = app_client().get("/sign-in?code=abc")
    assert response.status_code == 503
    assert "not answering" in response.text


def test_signing_out_forgets_the_key(visitor: TestClient) -> None:
    response = visitor.post("/sign-out")
    assert response.headers["location"] == "/sign-in"
    assert 'portrait_key=""' in response.headers["set-cookie"]


def test_the_language_is_stored_and_redirects_only_within_the_site() -> None:
    response = app_client().get("/language/zh?back=/photos")
    assert (response.headers["location"], "portrait_language=zh" in response.headers["set-cookie"]) == ("/photos", True)
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example"):
        assert app_client().get("/language/zh", params={"back": elsewhere}).headers["location"] == "/"
    assert "set-cookie" not in app_client().get("/language/xx").headers
    client = app_client()
    client.cookies.set("portrait_language", "zh")
    assert "您的密钥" in client.get("/sign-in").text


def test_pictures_are_served_to_their_owner_alone(server: ApiServer, visitor: TestClient) -> None:
    things = server.api.one_of_each()
    for kind, id in (("selfie", things.selfie), ("crop", things.selfie), ("portrait", things.portrait)):
        response = visitor.get(f"/picture/{kind}/{id}?side=64")
        assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg")
        assert "private" in response.headers["cache-control"]
        stranger = app_client()
        stranger.cookies.set("portrait_key", server.api.key("ben"))
        assert stranger.get(f"/picture/{kind}/{id}?side=64").status_code == 404
        assert app_client().get(f"/picture/{kind}/{id}").status_code == 401
    assert visitor.get("/picture/style/studio-warm?side=320").status_code == 200
    assert visitor.get("/picture/secret/studio-warm").status_code == 404
    assert visitor.get("/picture/style/a%20b").status_code == 404


def test_portraits_and_exports_are_downloaded(server: ApiServer, visitor: TestClient) -> None:
    things = server.api.one_of_each()
    one = visitor.get(f"/take/portrait/{things.portrait}")
    assert one.headers["content-disposition"].startswith('attachment; filename="studio-warm-')
    many = visitor.get("/take/portraits.zip", params={"id": [things.portrait]})
    assert len(zipfile.ZipFile(io.BytesIO(many.content)).namelist()) == 1
    export = visitor.get("/take/export.zip")
    assert "records.json" in zipfile.ZipFile(io.BytesIO(export.content)).namelist()
    assert visitor.get("/take/portraits.zip", params={"id": "portrait_none"}).status_code == 404


def test_every_response_has_security_headers() -> None:
    for address in ("/sign-in", "/picture/style/x", "/"):
        headers = app_client().get(address, headers=HTML).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["referrer-policy"] == "same-origin"


def test_pictures_and_packs_of_drafts_are_served_to_operators_alone(server: ApiServer, visitor: TestClient) -> None:
    olga = app_client()
    olga.cookies.set("portrait_key", server.api.key("olga", "operator"))
    content = {"schema": 1, "id": "hall", "kind": "template", "title": "Hall", "licence": "CC0-1.0"}
    sent = {"content": content | {"picture": {"file": "picture.jpg"}}}
    operator = server.api.client("olga", "operator")
    assert operator.put("/operator/styles/hall/draft", json=sent).status_code == 200
    file = {"file": ("a.jpg", picture(3, side=600, format="JPEG"))}
    assert operator.post("/operator/styles/hall/picture", files=file).status_code == 200
    draft_picture = olga.get("/picture/draft/hall?side=64")
    assert (draft_picture.status_code, draft_picture.headers["cache-control"]) == (200, "no-store")
    assert visitor.get("/picture/draft/hall").status_code == 403
    pack = olga.get("/take/styles.zip?id=hall")
    assert pack.headers["content-disposition"] == 'attachment; filename="hall.zip"'
    assert "hall/style.toml" in zipfile.ZipFile(io.BytesIO(pack.content)).namelist()
    assert visitor.get("/take/styles.zip?id=hall").status_code == 403
    for nothing in ("/picture/sample/hall.1", "/picture/sample/hall", "/picture/version/hall.1", "/picture/version/.1"):
        assert olga.get(nothing).status_code == 404
    # A style that was never published has a picture of nobody.
    assert visitor.get("/picture/style/hall").headers["content-type"] == "image/svg+xml"
