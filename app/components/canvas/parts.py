"""How these components are registered with Streamlit: each is the three files of its name in this folder."""

from functools import cache
from pathlib import Path
from typing import Any

from streamlit.components import v2

SHARED_STYLES = "shared.css"
"""Buttons and focus rings that all of them have."""


@cache
def component(name: str) -> Any:
    """The component of `name.html`, `name.css` and `name.js`; call what is returned to mount it.

    Streamlit knows it as `portrait_NAME`. Its files are read once in each process.
    """
    folder = Path(__file__).parent
    html, css, script = ((folder / f"{name}.{suffix}").read_text("utf-8") for suffix in ("html", "css", "js"))
    shared = (folder / SHARED_STYLES).read_text("utf-8")
    return v2.component(f"portrait_{name}", html=html, css=shared + css, js=script)
