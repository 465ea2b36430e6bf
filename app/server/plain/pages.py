"""Pages for whoever is not signed in: one HTML file each, without scripts, and with all that it needs in it."""

from functools import cache
from pathlib import Path

import jinja2

from app.server.start_page import icon
from app.words import translation

_SERVER = Path(__file__).parent.parent


def render_page(name: str, language: str, *, back: str, **values: object) -> str:
    """The page of the template `name` in a language; `back` is its own address, for the links to other languages."""
    return _template(name).render(
        words=translation.messages(language),
        language=language,
        languages=translation.LANGUAGES,
        icon=icon(),
        back=back,
        **values,
    )


@cache
def _template(name: str) -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_SERVER)
    return jinja2.Environment(loader=loader, autoescape=True).get_template(f"{name}.html.j2")
