"""Sign-in with an OpenID provider: authorization code with PKCE, and the check of the ID token.

Nothing is stored for a sign-in that was begun: `state`, `nonce` and the PKCE verifier are derived from the `binding`, a secret
of the one browser that began it. Whoever has no such cookie can neither finish the sign-in nor be signed in by a foreign link.
"""

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from portrait.errors import OperatorError, UserError
from tasks.ledger.rows import Role
from tasks.settings import OidcSettings

BEGUN_LIFETIME = 15 * 60.0
"""Seconds within which a sign-in that was begun must be finished."""
DOCUMENT_LIFETIME = 3600.0
"""Seconds for which the provider's addresses and keys are kept."""
KEYS_INTERVAL = 60.0
"""Seconds between two looks for a key that is not among the kept ones."""
LEEWAY = 60
"""Seconds by which the provider's clock may differ."""
RETRY_INTERVAL = 10.0
"""Seconds for which a provider that failed is not asked again."""
TIMEOUT = 5.0
PATIENCE = 2.0
"""Seconds for which a request waits for another one that asks the provider."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures of ID tokens that are accepted; none of them uses a shared secret."""
_DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Authorization:
    """A sign-in that was begun."""

    url: str
    """Where to send the browser."""
    state: str
    binding: str = field(repr=False)
    """What the browser must keep."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the provider signed in, as an owner here."""

    owner: str
    role: Role


class ProviderDocuments:
    """The documents of a provider that one process keeps; one request at a time fetches them, others do not wait long."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}
        self._failures: dict[str, tuple[float, str]] = {}

    @cached_property
    def _client(self) -> httpx.Client:
        """Made when a provider is asked: it reads all certificates of the system, and most installations have no provider."""
        return httpx.Client(timeout=TIMEOUT, transport=self._transport)

    def get(self, url: str, now: float, age: float = DOCUMENT_LIFETIME) -> dict[str, Any]:
        """The JSON object at an address, fetched if the kept one is older than `age` seconds.

        Raises `OperatorError` (`oidc_failed`).
        """
        if not self._lock.acquire(timeout=PATIENCE):
            raise _failed("it takes long to answer")
        try:
            at, document = self._kept.get(url, (0.0, {}))
            if document and now - at <= age:
                return document
            failed_at, sentence = self._failures.get(url, (0.0, ""))
            if sentence and now - failed_at <= RETRY_INTERVAL:
                raise OperatorError("oidc_failed", sentence)
            try:
                document = _json(self._send(httpx.Request("GET", url, headers={"Accept": "application/json"})))
            except OperatorError as error:
                self._failures[url] = (now, error.message)
                raise
            self._kept[url] = (now, document)
            return document
        finally:
            self._lock.release()

    def post(self, url: str, headers: Mapping[str, str], body: str) -> httpx.Response:
        """The answer to a form; raises `OperatorError` (`oidc_failed`)."""
        form = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", **headers}
        return self._send(httpx.Request("POST", url, headers=form, content=body))

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._client.send(request)
        except httpx.HTTPError as error:
            raise _failed(f"it does not answer ({type(error).__name__})") from error


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """The OpenID provider of an installation."""

    settings: OidcSettings
    documents: ProviderDocuments

    def authorize(self, redirect_uri: str, now: float) -> Authorization:
        """Begin a sign-in; raises `UserError` (`no_oidc`), `OperatorError` (`oidc_failed`, `bad_settings`)."""
        endpoint = self._metadata(now)["authorization_endpoint"]
        place = base64.urlsafe_b64encode(redirect_uri.encode()).decode()
        binding = f"{int(now)}.{secrets.token_urlsafe(32)}.{place}"
        url = prepare_grant_uri(
            endpoint,
            client_id=self.settings.client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=self.settings.scope,
            state=_derive(binding, "state"),
            nonce=_derive(binding, "nonce"),
            code_challenge=create_s256_code_challenge(_derive(binding, "verifier")),
            code_challenge_method="S256",
        )
        return Authorization(url, _derive(binding, "state"), binding)

    def account(self, state: str, code: str, binding: str, now: float) -> Account:
        """Finish a sign-in; raises `UserError` (`bad_oidc`, `forbidden`, `no_oidc`) and as `authorize`."""
        metadata = self._metadata(now)
        redirect_uri = _redirect_uri(binding, state, now)
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=_derive(binding, "verifier")
        )
        uri, headers, body = self._client_auth(metadata).prepare("POST", metadata["token_endpoint"], {}, body)
        answer = self.documents.post(uri, headers, body)
        if answer.status_code == 401:
            raise _failed("it does not know this installation: check client_id and client_secret")
        if answer.status_code == 400:
            raise _bad_sign_in()
        tokens = _json(answer)
        return self._account(self._claims(tokens, metadata, _derive(binding, "nonce"), now))

    def _client_auth(self, metadata: Mapping[str, Any]) -> ClientAuth:
        if not self.settings.client_secret:
            return ClientAuth(self.settings.client_id, "", "none")
        known = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = "client_secret_basic" if "client_secret_basic" in known else "client_secret_post"
        return ClientAuth(self.settings.client_id, self.settings.client_secret, method)

    def _metadata(self, now: float) -> dict[str, Any]:
        """What the provider says of itself: each address that is used is https, or on this machine."""
        if not self.settings.issuer:
            raise UserError("no_oidc", "Sign-in with a provider is not set up here.")
        if not self.settings.client_id or not _is_safe(self.settings.issuer):
            sentence = "tasks.oidc needs an issuer with https and the client_id that it gave."
            raise OperatorError("bad_settings", sentence)
        issuer = self.settings.issuer.rstrip("/")
        metadata = self.documents.get(f"{issuer}{_DISCOVERY}", now)
        if str(metadata.get("issuer", "")).rstrip("/") != issuer:
            raise _failed("it names another issuer than the settings")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not _is_safe(str(metadata.get(name, ""))):
                raise _failed(f"its {name} is not an address with https")
        return metadata

    def _claims(
        self, tokens: Mapping[str, Any], metadata: Mapping[str, Any], nonce: str, now: float
    ) -> Mapping[str, Any]:
        """The claims of the ID token, whose signature, issuer, audience, times and nonce hold."""
        options: dict[str, Any] = {
            "iss": {"essential": True, "value": metadata["issuer"]},
            "aud": {"essential": True, "value": self.settings.client_id},
        }
        params = {
            "nonce": nonce,
            "client_id": self.settings.client_id,
            "access_token": tokens.get("access_token"),
        }
        try:
            token = self._decode(str(tokens.get("id_token", "")), metadata["jwks_uri"], now)
            claims = CodeIDToken(token.claims, token.header, options, params)
            claims.validate(now=int(now), leeway=LEEWAY)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _bad_sign_in() from error
        return claims

    def _decode(self, id_token: str, address: str, now: float) -> jwt.Token:
        try:
            return jwt.decode(id_token, KeySet.import_key_set(self._keys(address, now)), algorithms=ALGORITHMS)
        except InvalidKeyIdError:  # the provider may sign with a new key
            keys = self._keys(address, now, KEYS_INTERVAL)
            return jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=ALGORITHMS)

    def _keys(self, address: str, now: float, age: float = DOCUMENT_LIFETIME) -> Any:
        return self.documents.get(address, now, age)

    def _account(self, claims: Mapping[str, Any]) -> Account:
        given = claims.get(self.settings.group_claim)
        groups = {each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str)}
        role: Role = "person"
        if groups & set(self.settings.admins):
            role = "admin"
        elif groups & set(self.settings.operators):
            role = "operator"
        elif self.settings.people and not groups & set(self.settings.people):
            raise UserError(
                "forbidden", "The provider knows you, but you are not let in here. Ask whoever runs this installation."
            )
        return Account(self._owner(claims), role)

    def _owner(self, claims: Mapping[str, Any]) -> str:
        if self.settings.owner_claim:
            return str(claims.get(self.settings.owner_claim, ""))
        digest = hashlib.sha256(f"{claims['iss']}\n{claims['sub']}".encode()).digest()
        return f"oidc-{base64.b32encode(digest[:20]).decode().lower()}"


def _redirect_uri(binding: str, state: str, now: float) -> str:
    """The address that a sign-in was begun for; raises `UserError` (`bad_oidc`) for another browser's or an old one."""
    try:
        at, _, place = binding.split(".")
        begun, redirect_uri = int(at), base64.urlsafe_b64decode(place).decode()
        known = hmac.compare_digest(_derive(binding, "state").encode(), state.encode())
    except ValueError as error:  # of a binding or state that was made up
        raise _bad_sign_in() from error
    if not known or not begun <= now + LEEWAY or now - begun > BEGUN_LIFETIME:
        raise _bad_sign_in()
    return redirect_uri


def _derive(binding: str, label: str) -> str:
    digest = hmac.new(binding.encode(), label.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _is_safe(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"})


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json() if answer.status_code == 200 else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _failed(f"it answers {answer.status_code} at {answer.url.path}, without the document that belongs there")
    return document


def _failed(why: str) -> OperatorError:
    return OperatorError("oidc_failed", f"The sign-in provider cannot be used: {why}.")


def _bad_sign_in() -> UserError:
    return UserError("bad_oidc", "This sign-in took too long, or began in another browser. Begin again.")
