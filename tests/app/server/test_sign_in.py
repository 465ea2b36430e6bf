"""Signing in and out, against an API on a port of this machine."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from app.server.attempts import MOST
from tasks import auth
from tests.app.pages import HTML, app_client, open_test_api, session_secret, sign_in
from tests.tasks.api.harness import ApiHarness, ApiServer, api_server, environment, new_home, open_api
from tests.tasks.oidc_provider import CLIENT, SECRET, OidcStub, oidc_provider

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with open_test_api(tmp_path_factory.mktemp("api") / "home") as api, api_server(api) as server:
        yield server


@pytest.fixture
def server(running: ApiServer, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    """An API where nobody is signed in."""
    monkeypatch.setenv("PORTRAIT_API_URL", running.url)
    for owner in ("ann", "ben", "eve"):
        running.api.context.ledger.sessions.end_all(owner)
    return running


def make_code(api: ApiHarness, owner: str = "ann") -> str:
    return auth.create_code(api.context.ledger, owner, "person", time.time())


def owners_of(api: ApiHarness, owner: str = "ann") -> int:
    """How many sessions an owner has."""
    return len(api.context.ledger.sessions.list(owner, time.time()))


def secret_of(response: Any) -> str:
    """The secret in the cookie that a response sets; empty for none."""
    cookie = next((each for each in response.headers.get_list("set-cookie") if "portrait_key=" in each), "")
    return cookie.split("portrait_key=")[-1].split(";")[0].strip('"')


def test_pages_redirect_to_the_sign_in_page_without_a_session() -> None:
    for page in ("/", "/results", "/board"):
        response = app_client().get(page, headers=HTML)
        assert (response.status_code, response.headers["location"]) == (303, "/sign-in")


def test_a_link_shows_a_page_and_its_button_signs_in_once(server: ApiServer) -> None:
    code = make_code(server.api)
    for method in ("GET", "HEAD", "GET"):  # as mail filters and previews of chats do
        shown = app_client().request(method, f"/sign-in?code={code}")
        assert (shown.status_code, "set-cookie" in shown.headers) == (200, False)
    assert code in shown.text
    response = app_client().post("/sign-in", data={"code": code})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    again = app_client().post("/sign-in", data={"code": code})
    assert again.status_code == 401
    assert "used already" in again.text


def test_the_cookie_holds_a_session_and_goes_along_with_links(server: ApiServer) -> None:
    client = app_client()
    response = client.post("/sign-in", data={"key": server.api.key()})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert secret_of(response).startswith("ps_"), "never the key itself"
    assert server.api.key() not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert client.get("/", headers=HTML).text == "a page"


@pytest.mark.parametrize("scheme", ["url", "proxy"])
def test_over_https_the_cookie_is_secure_and_of_this_host_alone(server: ApiServer, scheme: str) -> None:
    client = app_client("https://portraits.example" if scheme == "url" else "")
    client.base_url = "http://portraits.example" if scheme == "url" else "https://portraits.example"
    cookie = client.post("/sign-in", data={"key": server.api.key()}).headers["set-cookie"]
    assert cookie.startswith("__Host-portrait_key=ps_")
    assert "Secure" in cookie
    assert "Path=/;" in cookie
    assert "Domain" not in cookie


def test_a_code_or_a_whole_link_can_be_typed(server: ApiServer) -> None:
    for typed in (make_code(server.api), f" http://app/sign-in?code={make_code(server.api)} "):
        assert secret_of(app_client().post("/sign-in", data={"key": typed})).startswith("ps_")


def test_what_opens_nothing_is_refused(server: ApiServer) -> None:
    for typed in ("pk_wrong", "wrong", "", "é", "x" * 3000, "http://app/sign-in?code="):
        response = app_client().post("/sign-in", data={"key": typed})
        assert (response.status_code, "set-cookie" in response.headers) == (401, False), typed
    assert app_client().post("/sign-in", content=iter([b"x" * 1000] * 100)).status_code == 401


def test_a_form_of_another_site_signs_nobody_in_or_out(server: ApiServer) -> None:
    visitor = sign_in(app_client(), server.api)
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        foreign = app_client().post("/sign-in", data={"key": server.api.key()}, headers=headers)
        assert (foreign.status_code, "set-cookie" in foreign.headers) == (400, False)
        for address in ("/sign-out", "/sign-out/everywhere"):
            assert "set-cookie" not in visitor.post(address, headers=headers).headers
    assert owners_of(server.api) == 1
    own = app_client().post("/sign-in", data={"key": server.api.key()}, headers={"origin": "http://app"})
    assert own.status_code == 303


def test_a_link_leads_in_whoever_is_signed_in_and_changes_nothing_by_itself(server: ApiServer) -> None:
    visitor = sign_in(app_client(), server.api)
    assert visitor.get("/sign-in").headers["location"] == "/"
    code = make_code(server.api, "eve")
    shown = visitor.get(f"/sign-in?code={code}")
    assert "Go on as ann" in shown.text
    assert "set-cookie" not in shown.headers
    assert app_client().post("/sign-in", data={"code": code}).status_code == 303
    used = visitor.post("/sign-in", data={"code": code})
    assert (used.status_code, used.headers["location"], "set-cookie" in used.headers) == (303, "/", False)


def test_signing_in_anew_ends_the_session_before(server: ApiServer) -> None:
    visitor = sign_in(app_client(), server.api)
    former = visitor.cookies["portrait_key"]
    assert visitor.post("/sign-in", data={"code": make_code(server.api)}).status_code == 303
    assert server.api.anonymous(f"Bearer {former}").get("/me").status_code == 401
    assert owners_of(server.api) == 1


def test_signing_out_ends_the_session(server: ApiServer) -> None:
    visitor, other = sign_in(app_client(), server.api), sign_in(app_client(), server.api)
    secret = visitor.cookies["portrait_key"]
    assert visitor.get("/").text == "a page"
    response = visitor.post("/sign-out")
    assert response.headers["location"] == "/sign-in"
    assert 'portrait_key=""' in response.headers["set-cookie"]
    assert server.api.anonymous(f"Bearer {secret}").get("/me").status_code == 401
    stolen = app_client()
    stolen.cookies.set("portrait_key", secret)
    assert stolen.get("/").status_code == 401
    assert other.get("/").text == "a page"


def test_a_copy_of_the_cookie_is_refused_at_once_after_signing_out(server: ApiServer) -> None:
    visitor = sign_in(app_client(), server.api)
    assert visitor.get("/").status_code == 200
    cookie = {"cookie": f"portrait_key={visitor.cookies['portrait_key']}"}
    visitor.post("/sign-out")
    assert visitor.get("/", headers=cookie).status_code == 401


def test_signing_out_everywhere_ends_every_session_of_the_owner(server: ApiServer) -> None:
    visitor, ben = sign_in(app_client(), server.api), sign_in(app_client(), server.api, "ben")
    session_secret(server.api)
    assert owners_of(server.api) == 2
    assert visitor.post("/sign-out/everywhere").headers["location"] == "/sign-in"
    assert owners_of(server.api) == 0
    assert ben.get("/").status_code == 200


def test_a_page_that_says_its_session_ended_is_believed(server: ApiServer) -> None:
    visitor = sign_in(app_client(), server.api)
    assert visitor.get("/").status_code == 200
    assert visitor.get("/sign-in?ended=1").headers["location"] == "/"
    server.api.context.ledger.sessions.end_all("ann")
    assert visitor.get("/sign-in").headers["location"] == "/", "the app does not know it yet"
    assert "You were signed out" in visitor.get("/sign-in?ended=1").text


def test_signing_out_while_the_api_does_not_answer_says_so(server: ApiServer) -> None:
    visitor = sign_in(app_client(), server.api)
    assert visitor.get("/").status_code == 200
    server.stop()
    response = visitor.post("/sign-out")
    assert response.status_code == 503
    assert "did not answer" in response.text
    assert 'portrait_key=""' in response.headers["set-cookie"]
    assert owners_of(server.api) == 1
    server.start()


def test_an_unreachable_api_gives_an_error_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_API_URL", "http://127.0.0.1:9")
    for response in (
        app_client().post("/sign-in", data={"code": "abc"}),
        sign_with(app_client(), "ps_" + "a" * 43).get("/sign-in"),
    ):
        assert response.status_code == 503
        assert "not answering" in response.text


def test_guessing_codes_is_bounded(server: ApiServer) -> None:
    client = app_client()
    for _ in range(MOST.amount):
        assert client.post("/sign-in", data={"code": "wrong"}).status_code == 401
    assert client.post("/sign-in", data={"code": make_code(server.api)}).status_code == 429


def test_a_key_that_a_browser_kept_from_before_is_exchanged_by_a_button(server: ApiServer) -> None:
    visitor = sign_with(app_client(), server.api.key())
    assert visitor.get("/", headers=HTML).headers["location"] == "/sign-in"
    visitor = sign_with(app_client(), server.api.key())
    assert "Stay signed in" in visitor.get("/sign-in").text
    assert secret_of(visitor.post("/sign-in", data={"kept": "1"})).startswith("ps_")


def test_the_language_is_stored_and_redirects_only_within_the_site() -> None:
    response = app_client().get("/language/zh?back=/photos")
    assert (response.headers["location"], "portrait_language=zh" in response.headers["set-cookie"]) == ("/photos", True)
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example"):
        assert app_client().get("/language/zh", params={"back": elsewhere}).headers["location"] == "/"
    assert "set-cookie" not in app_client().get("/language/xx").headers
    client = app_client()
    client.cookies.set("portrait_language", "zh")
    assert "您的密钥" in client.get("/sign-in").text
    assert "/language/en?back=/sign-in%3Fcode%3Dabc" in client.get("/sign-in?code=abc").text


@pytest.fixture
def provider() -> Iterator[OidcStub]:
    with oidc_provider() as provider:
        yield provider


@pytest.fixture
def with_provider(provider: OidcStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API whose people sign in with the provider."""
    home = new_home(tmp_path / "home")
    settings = f'[tasks.oidc]\nissuer = "{provider.issuer}"\nclient_id = "{CLIENT}"\nname = "Example"\n'
    (home / "portrait.toml").write_text(settings)
    with open_api(environment(home, oidc__client_secret=SECRET)) as api, api_server(api) as server:
        monkeypatch.setenv("PORTRAIT_API_URL", server.url)
        yield server


def test_a_provider_signs_in_the_browser_that_began(with_provider: ApiServer, provider: OidcStub) -> None:
    provider.claims = {"sub": "1"}
    ann, eve = app_client(), app_client()
    assert "Sign in with Example" in ann.get("/sign-in").text
    begun = ann.get("/sign-in/provider")
    assert "portrait_binding=" in begun.headers["set-cookie"]
    assert parse_qs(urlsplit(begun.headers["location"]).query)["redirect_uri"] == ["http://app/sign-in/oidc"]
    back = provider.visit(begun.headers["location"])
    for browser in (eve, started(app_client())):
        refused = browser.get("/sign-in/oidc", params=back)
        assert (refused.status_code, secret_of(refused)) == (401, "")
    signed_in = ann.get("/sign-in/oidc", params=back)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/")
    assert secret_of(signed_in).startswith("ps_")
    assert ann.get("/", headers=HTML).text == "a page"
    assert ann.get("/sign-in/oidc", params=back).status_code == 401, "once"


def test_another_site_begins_no_sign_in_with_a_provider(with_provider: ApiServer) -> None:
    response = app_client().get("/sign-in/provider", headers={"sec-fetch-site": "cross-site"})
    assert (response.headers["location"], "set-cookie" in response.headers) == ("/sign-in", False)


def test_a_provider_that_is_away_gives_an_error_message(with_provider: ApiServer, provider: OidcStub) -> None:
    assert app_client().get("/sign-in/oidc?error=access_denied").status_code == 401
    assert "portrait_binding" not in app_client().get("/sign-in/oidc?state=x&code=y").headers.get("set-cookie", "")


def started(client: TestClient) -> TestClient:
    """A browser that has begun a sign-in of its own."""
    client.get("/sign-in/provider")
    return client


def sign_with(client: TestClient, secret: str) -> TestClient:
    client.cookies.set("portrait_key", secret)
    return client
