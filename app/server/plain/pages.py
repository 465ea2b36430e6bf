"""Pages for whoever is not signed in: one HTML file each, without scripts, and with all that it needs in it."""

from functools import cache
from pathlib import Path
from urllib.parse import quote

import jinja2

from app.words import translation

_SERVER = Path(__file__).parent.parent
ICON = _SERVER.parent / "icon.svg"


def render_page(name: str, language: str, *, back: str, **values: object) -> str:
    """The page of the template `name` in a language; `back` is its own address, for the links to other languages."""
    return _template(name).render(
        words=translation.messages(language),
        language=language,
        languages=translation.LANGUAGES,
        icon=_icon(),
        back=back,
        **values,
    )


@cache
def _icon() -> str:
    """The app's icon, as an address that holds it: nothing else is open to who is not signed in."""
    return "data:image/svg+xml," + quote(ICON.read_text("utf-8"))


@cache
def _template(name: str) -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_SERVER)
    return jinja2.Environment(loader=loader, autoescape=True).get_template(f"{name}.html.j2")
