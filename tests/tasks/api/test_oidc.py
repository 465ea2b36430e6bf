"""Sign-in with an OpenID provider that runs on this machine."""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.api.harness import ApiHarness, environment, new_home, open_api
from tests.tasks.oidc_provider import CLIENT, SECRET, OidcStub, oidc_provider

BACK = "https://portraits.example.org/sign-in/oidc"


@pytest.fixture(scope="module")
def running() -> Iterator[OidcStub]:
    with oidc_provider() as provider:
        yield provider


@pytest.fixture
def provider(running: OidcStub) -> OidcStub:
    running.reset()
    return running


@pytest.fixture
def signed(provider: OidcStub, tmp_path: Path) -> Iterator[ApiHarness]:
    """An API whose people sign in with the provider."""
    home = new_home(tmp_path / "home")
    (home / "portrait.toml").write_text(
        f'[tasks.oidc]\nissuer = "{provider.issuer}"\nclient_id = "{CLIENT}"\nname = "Example"\n'
        'operators = ["makers"]\nadmins = ["rulers"]\npeople = ["guests"]\n'
    )
    with open_api(environment(home, oidc__client_secret=SECRET)) as api:
        yield api


def begin(api: ApiHarness) -> dict[str, str]:
    begun = api.anonymous().post("/oidc/authorizations", json={"redirect_uri": BACK})
    assert begun.status_code == 201, begun.text
    return begun.json()


def finish(api: ApiHarness, answer: dict[str, str], binding: str) -> tuple[int, dict[str, Any]]:
    ended = api.anonymous().post("/sessions", json={"oidc": {**answer, "binding": binding}})
    return ended.status_code, ended.json()


def sign_in(api: ApiHarness, provider: OidcStub, **claims: Any) -> tuple[int, dict[str, Any]]:
    provider.claims = {"sub": "248289761001", "groups": ["guests"], **claims}
    begun = begin(api)
    return finish(api, provider.visit(begun["url"]), begun["binding"])


def test_the_provider_signs_in_and_is_the_same_owner_each_time(signed: ApiHarness, provider: OidcStub) -> None:
    assert signed.anonymous().get("/oidc").json() == {"enabled": True, "name": "Example"}
    status, session = sign_in(signed, provider)
    assert (status, session["role"]) == (201, "person")
    assert signed.anonymous(f"Bearer {session['secret']}").get("/me").json()["owner"] == session["owner"]
    assert "248289761001" not in session["owner"]
    assert sign_in(signed, provider)[1]["owner"] == session["owner"]
    assert sign_in(signed, provider, sub="another")[1]["owner"] != session["owner"]


def test_groups_of_the_provider_are_roles(signed: ApiHarness, provider: OidcStub) -> None:
    for groups, role in ((["guests"], "person"), (["makers", "x"], "operator"), ("rulers", "admin")):
        assert sign_in(signed, provider, groups=groups)[1]["role"] == role
    for groups in ([{"name": "rulers"}], {"rulers": 1}, None, 7):
        assert sign_in(signed, provider, groups=groups)[1]["code"] == "forbidden"
    status, problem = sign_in(signed, provider, groups=["x"])
    assert (status, problem["code"]) == (403, "forbidden")


def test_another_browser_cannot_finish_a_sign_in(signed: ApiHarness, provider: OidcStub) -> None:
    provider.claims = {"sub": "eve", "groups": ["guests"]}
    eves, anns = begin(signed), begin(signed)
    link = provider.visit(eves["url"])  # which eve gives to ann
    for binding in (anns["binding"], "", "x", "1.x.y", f"{int(time.time())}.x.x"):
        status, problem = finish(signed, link, binding) if binding else (401, {"code": "bad_oidc"})
        assert (status, problem["code"]) == (401, "bad_oidc")
    assert "/token" not in provider.asked, "the code is not used up by them"
    assert finish(signed, link, eves["binding"])[0] == 201
    assert finish(signed, link, eves["binding"])[1]["code"] == "bad_oidc", "a code works once"


def test_a_sign_in_that_took_too_long_is_begun_again(signed: ApiHarness, provider: OidcStub) -> None:
    begun = signed.context.oidc.authorize(BACK, time.time() - 16 * 60)
    assert finish(signed, provider.visit(begun.url), begun.binding)[1]["code"] == "bad_oidc"


SPOILT: list[dict[str, Any]] = [
    {"nonce": "another"},
    {"nonce": None},
    {"aud": "another"},
    {"aud": None},
    {"aud": [CLIENT, "another"]},
    {"azp": "another"},
    {"iss": "https://another.example"},
    {"exp": 1},
    {"iat": 4_000_000_000},
    {"sub": None},
    {"at_hash": "another"},
]


def test_a_token_that_is_for_somebody_else_opens_nothing(signed: ApiHarness, provider: OidcStub) -> None:
    answers = [(claims, sign_in(signed, provider, **claims)) for claims in SPOILT]
    assert [(claims, problem) for claims, (_, problem) in answers if problem["code"] != "bad_oidc"] == []


def test_a_token_without_the_providers_signature_opens_nothing(signed: ApiHarness, provider: OidcStub) -> None:
    for algorithm in ("none", "HS256"):
        provider.algorithm = algorithm
        assert sign_in(signed, provider)[1]["code"] == "bad_oidc"


def test_a_new_key_of_the_provider_is_fetched(signed: ApiHarness, provider: OidcStub) -> None:
    assert sign_in(signed, provider)[0] == 201
    provider.renew_key()
    assert sign_in(signed, provider)[1]["code"] == "bad_oidc", "not looked for twice within a minute"
    documents = signed.context.provider_documents
    documents.get(f"{provider.issuer}/jwks", time.time() + 61, 60)
    assert sign_in(signed, provider)[0] == 201


def test_a_provider_that_fails_is_not_asked_again_and_again(signed: ApiHarness, provider: OidcStub) -> None:
    provider.down = True
    answers = [signed.anonymous().post("/oidc/authorizations", json={"redirect_uri": BACK}) for _ in range(5)]
    assert {(each.status_code, each.json()["code"]) for each in answers} == {(503, "oidc_failed")}
    assert len(provider.asked) == 1


def test_without_a_provider_there_is_no_such_sign_in(api: ApiHarness) -> None:
    assert api.anonymous().get("/oidc").json() == {"enabled": False, "name": ""}
    begun = api.anonymous().post("/oidc/authorizations", json={"redirect_uri": BACK})
    assert (begun.status_code, begun.json()["code"]) == (404, "no_oidc")
    ended = api.anonymous().post("/sessions", json={"oidc": {"state": "s", "code": "c", "binding": "1.x.eA=="}})
    assert (ended.status_code, ended.json()["code"]) == (404, "no_oidc")


def test_without_a_provider_no_certificates_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ssl, "create_default_context", lambda *given, **more: asked.append(given))
    with open_api(environment(new_home(tmp_path / "home"))) as api:
        assert api.anonymous().get("/oidc").json()["enabled"] is False
    assert asked == []


def test_an_account_that_is_disabled_is_not_let_in_by_the_provider(signed: ApiHarness, provider: OidcStub) -> None:
    owner = sign_in(signed, provider)[1]["owner"]
    assert signed.client("root", "admin").post(f"/operator/owners/{owner}/disable").status_code == 200
    status, problem = sign_in(signed, provider)
    assert (status, problem["code"]) == (403, "owner_disabled")
