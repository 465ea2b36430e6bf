"""Security headers of every response of the app."""

import base64
import hashlib
import re
from pathlib import Path

import streamlit

from app.components.page_script import page_script
from app.server.start_page import BASE_SCRIPT
from app.session import LEAVE_SCRIPT
from app.words import translation

_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_POLICY = {
    "default-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",  # Streamlit styles its elements from its scripts
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data:",  # a photo of the camera comes as an address that holds it
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'self'",
}
"""What pages may load and where they may send; scripts are added by `security_headers`."""


def security_headers() -> dict[str, str]:
    """The headers; scripts are those of this site, and within a page the few that are known, by their hash."""
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text("utf-8")
    own = [LEAVE_SCRIPT, BASE_SCRIPT, *(page_script(code) for code in translation.LANGUAGES)]
    hashes = [hash_of(each) for each in (*_INLINE_SCRIPT.findall(page), *own)]
    # Streamlit runs the scripts of components as blobs, which none but a script that runs already can make.
    policy = {**_POLICY, "script-src": " ".join(["'self'", "blob:", *hashes])}
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def hash_of(script: str) -> str:
    """The source expression that allows an inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
