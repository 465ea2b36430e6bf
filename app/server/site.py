"""How the app is reached: over https or not, by which host, and whether a form was sent by one of its own pages."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from app.session import HOST_PREFIX, KEY_COOKIE, LANGUAGE_COOKIE, MAX_SECRET_LENGTH

_YEAR = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Site:
    """The app as browsers see it."""

    url: str = ""
    """The address under which people open it, such as `https://portraits.example.org`; empty where only requests tell."""

    def is_secure(self, connection: HTTPConnection) -> bool:
        """Whether the browser speaks https, to this server or to the proxy before it."""
        return self.url.startswith("https://") or connection.url.scheme in {"https", "wss"}

    def address(self, connection: HTTPConnection) -> str:
        """The address of the app without a slash at its end, as the browser of this request knows it."""
        if self.url:
            return self.url.rstrip("/")
        return f"{'https' if self.is_secure(connection) else 'http'}://{connection.headers.get('host', '')}"

    def is_same_origin(self, connection: HTTPConnection) -> bool:
        """Whether a form was sent by a page of this site.

        By the browser's `Origin`, or else its `Sec-Fetch-Site`; a program that sends neither has no visitor's cookies to abuse.
        """
        origin = connection.headers.get("origin", "")
        if origin:
            hosts = {connection.headers.get("host", ""), urlsplit(self.url).netloc} - {""}
            return urlsplit(origin).netloc in hosts
        return connection.headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}

    def secret(self, connection: HTTPConnection) -> str:
        """The secret of the visitor's session; empty where there is none."""
        return self.cookie(connection, KEY_COOKIE)[:MAX_SECRET_LENGTH]

    def cookie(self, connection: HTTPConnection, name: str) -> str:
        """A cookie that `set_cookie` stored, empty where there is none; over https nobody else can have set it."""
        return connection.cookies.get(self._full_name(connection, name), "")

    def set_cookie(self, response: Response, connection: HTTPConnection, name: str, value: str, seconds: int) -> None:
        """Store a secret in the browser, which links of other sites carry, and no script, form or picture of theirs.

        Over https, browsers take it from this very host alone, and not from its neighbours.
        """
        name, secure = self._full_name(connection, name), self.is_secure(connection)
        response.set_cookie(name, value, max_age=seconds, path="/", httponly=True, samesite="lax", secure=secure)

    def delete_cookie(self, response: Response, connection: HTTPConnection, name: str) -> None:
        """Delete a cookie from the browser, under either name it may have."""
        for full_name in {name, HOST_PREFIX + name} & connection.cookies.keys():
            secure = full_name.startswith(HOST_PREFIX)
            response.delete_cookie(full_name, path="/", httponly=True, samesite="lax", secure=secure)

    def set_language(self, response: Response, connection: HTTPConnection, language: str) -> None:
        """Store the visitor's language in the browser for a year."""
        secure = self.is_secure(connection)
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=_YEAR, httponly=True, samesite="lax", secure=secure)

    def _full_name(self, connection: HTTPConnection, name: str) -> str:
        return HOST_PREFIX + name if self.is_secure(connection) else name
