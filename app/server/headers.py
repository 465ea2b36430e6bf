"""Security headers of every response of the app."""

import base64
import hashlib
import re
from pathlib import Path

import streamlit

from app.session import LEAVE_SCRIPT, language_script
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
    own = [LEAVE_SCRIPT, *(language_script(code) for code in translation.LANGUAGES)]
    hashes = [_hash(each) for each in (*_INLINE_SCRIPT.findall(page), *own)]
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


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
