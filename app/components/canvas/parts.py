"""How components of ours are registered with Streamlit; those of this folder are the three files of their name."""

from collections.abc import Callable
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
    return register(name, html, shared + css, script)


def register(name: str, html: str, css: str, script: str) -> Callable[..., Any]:
    """Register the component `portrait_NAME`; call what is returned with its `data` to mount it.

    Its script takes them as `{ data: [data] }`: in a mapping Streamlit looks for data frames, for which it imports pandas, and
    with that 64 MB and a third of a second into this process.
    """
    mount = v2.component(f"portrait_{name}", html=html, css=css, js=script)
    return lambda data, **options: mount(data=[data], **options)
