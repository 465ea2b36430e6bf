"""The page that starts Streamlit: its own `index.html` with language, title, icon, our styles, and our script before its own.

Without the address in it, Streamlit's script looks for its server below the path of each page first, and gets 404. With the
host's settings in it, the script opens its websocket at once and need not ask for them before.
"""

import re
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import quote

import streamlit
from starlette.requests import HTTPConnection

from app.components import widgets
from app.components.page_script import page_script
from app.session import LANGUAGE_COOKIE
from app.words import translation

INDEX = Path(streamlit.__file__).parent / "static" / "index.html"
BASE_SCRIPT = (
    "window.__streamlit = { BACKEND_BASE_URL: window.location.origin, "
    "HOST_CONFIG: { allowedOrigins: [window.location.origin], useExternalAuthToken: false } }"
)
_SOON = ("Html", "purify.es", "WidgetLabel", "useBasicWidgetState", "TextInput", "Checkbox")
"""Beginnings of the names of scripts that most pages load one after the other; Streamlit's own page names the rest."""
_OF_AGENTS = re.compile(r"<!--.*?-->\s*|<link rel=\"service-desc\"[^>]*>\s*", re.DOTALL)


def page_language(connection: HTTPConnection) -> str:
    """The language of a request: the one that was chosen, or else the first that the browser asks for."""
    chosen = connection.cookies.get(LANGUAGE_COOKIE)
    asked = connection.headers.get("accept-language", "").partition(",")[0].partition(";")[0]
    return chosen if chosen in translation.LANGUAGES else translation.language_from_locale(asked)


@cache
def icon() -> str:
    """The app's icon, as an address that holds it: nothing else is open to who is not signed in."""
    return "data:image/svg+xml," + quote((Path(__file__).parents[1] / "icon.svg").read_text("utf-8"))


def original_page() -> bytes:
    """Streamlit's own page."""
    return INDEX.read_bytes()


@cache
def start_page(language: str) -> bytes:
    """The page in a language."""
    page = _OF_AGENTS.sub("", original_page().decode())
    code = str(translation.locale(language)).replace("_", "-")
    page = page.replace('<html lang="en">', f'<html lang="{code}">')
    title = translation.translate(language, "app.name")
    page = page.replace("<title>Streamlit</title>", f"<title>{escape(title)}</title>")
    page = page.replace('href="./favicon.png"', f'href="{icon()}"')
    scripts = INDEX.parent / "static" / "js"
    soon = sorted(each.name for name in _SOON for each in scripts.glob(f"{name}.*.js"))
    links = "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{name}">' for name in soon)
    page = page.replace("</head>", f"<script>{BASE_SCRIPT}</script>{links}</head>")
    # Behind the page's content, so that they hold before those that Streamlit's scripts add to the head.
    ours = f"<style>{widgets.stylesheet()}</style><script>{page_script(language)}</script>"
    return page.replace("</body>", f"{ours}</body>").encode()
