"""A small OpenID provider on a port of this machine: discovery, keys, and tokens that a test may spoil."""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

CLIENT, SECRET = "portrait", "a secret that is long enough to sign with"


@dataclass
class OidcStub:
    """What the provider knows and answers; a test changes it while the provider runs."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "248289761001"})
    """On top of those that every token has; a value of None takes one away."""
    algorithm: str = "RS256"
    down: bool = False
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first"}))
    begun: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """By code: the query with which the browser came."""
    asked: list[str] = field(default_factory=list)
    """Paths that were requested."""

    def reset(self) -> None:
        """Answer as at the beginning."""
        self.claims, self.algorithm, self.down = {"sub": "248289761001"}, "RS256", False
        self.asked.clear()

    def renew_key(self) -> None:
        """Sign with another key from now on."""
        self.key = RSAKey.generate_key(2048, {"kid": "second"})

    def visit(self, url: str) -> dict[str, str]:
        """What the browser brings back when its user has signed in there."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert (query["client_id"], query["response_type"]) == (CLIENT, "code")
        code = f"code{len(self.begun)}"
        self.begun[code] = query
        return {"state": query["state"], "code": code}

    def document(self, path: str) -> tuple[int, dict[str, Any]]:
        """The answer to a GET."""
        if path == "/jwks":
            return 200, dict(KeySet([self.key]).as_dict(private=False))
        if path != "/.well-known/openid-configuration":
            return 404, {}
        return 200, {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }

    def token(self, form: Mapping[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """The answer to the token request: each code once, and only with its verifier."""
        if authorization != f"Basic {base64.b64encode(f'{CLIENT}:{SECRET}'.encode()).decode()}":
            return 401, {"error": "invalid_client"}
        query = self.begun.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        if (
            query is None
            or query["code_challenge"] != create_s256_code_challenge(verifier)
            or query["redirect_uri"] != form.get("redirect_uri")
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        standard = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": query["nonce"]}
        claims = {name: value for name, value in (standard | self.claims).items() if value is not None}
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": self.sign(claims)}

    def sign(self, claims: dict[str, Any]) -> str:
        """An ID token; with `none` without a signature, with `HS256` signed with the client's secret."""
        if self.algorithm == "none":
            body = jwt.encode({"alg": "RS256"}, claims, self.key).split(".")[1]
            return f"{_encoded(json.dumps({'alg': 'none'}).encode())}.{body}."
        if self.algorithm == "HS256":
            return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
        return jwt.encode({"alg": self.algorithm, "kid": str(self.key.kid)}, claims, self.key)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@contextmanager
def oidc_provider() -> Iterator[OidcStub]:
    """A provider on a free port."""
    stub = OidcStub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*stub.document(self._path()))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(*(stub.token(form, self.headers.get("Authorization", "")) if self._path() else (404, {})))

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

        def _path(self) -> str:
            stub.asked.append(self.path)
            return self.path

        def _answer(self, status: int, document: Mapping[str, Any]) -> None:
            content = json.dumps(document).encode()
            self.send_response(500 if stub.down else status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
