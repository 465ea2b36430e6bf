"""Takes photos and pictures: a zone for files and folders, a camera, and a line for each file that was not taken.

The browser sends the files itself to the app's routes of `app.server.sending`, so that none passes through Streamlit.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

from app.components.canvas import parts
from app.session import language, translate, translate_or

Kind = Literal["selfies", "template"]
MOST_BYTES = 80_000_000
"""Of one file, as many as the task API takes."""
KINDS = ("jpg", "jpeg", "png", "webp", "heic", "heif", "avif", "tif", "tiff", "gif", "bmp", "jxl", "dng")
"""What names of pictures end in."""
COUNTDOWN = 3
"""Seconds between the press and the photo."""
MOST_SHOTS = 12
"""Photos of the camera that are sent together."""
_FOLDER = Path(__file__).parent / "picker"
_SCRIPTS = ("sending", "camera", "picker")
_WORDS = (
    *("note", "use_camera", "close_camera", "sending", "sending_label", "retry", "refused"),
    *("dismiss", "dismiss_all", "dash", "take", "again", "keep", "switch_camera", "preview", "shot_alt", "shot_name"),
    *("remove_shot", "camera_insecure", "camera_denied", "camera_taken", "camera_none"),
)
_CODES = (
    *("unreadable", "too_large", "not_a_photo", "known", "offline", "unauthenticated", "foreign", "busy", "too_slow"),
    *("api_unreachable", "bad_answer", "database_unreachable", "consent_withdrawn", "consent_outdated", "not_found"),
    *(
        "erased",
        "storage_unreachable",
        "quota_photos",
        "quota_jobs",
        "quota_bytes",
        "quota_pixels",
        "storage_full",
        "too_many_photos",
    ),
    *("too_many_templates", "too_many_requests", "too_many_at_once", "statement_missing", "disk_full"),
    *("format_missing", "no_permission", "owner_disabled", "blocked", "guard_missing"),
)
"""What may be wrong with a file, by the task API's codes and those of the browser's side."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that was sent, or refused."""

    name: str
    id: str
    """Of the photo or picture; empty for one that was refused."""
    code: str = ""
    """Why it was refused; the page has said so already."""
    known: bool = False
    """Whether the photo was there before."""


def pick(
    kind: Kind = "selfies",
    target: str = "",
    key: str = "photos",
    known: Collection[str] = (),
    statement: str = "",
) -> list[Sent]:
    """Show the zone, and return the files of a batch that has just ended.

    kind: `selfies` go to the person `target`; a `template` is a picture of the visitor's own, with the version of the
    `statement` that was made about the people on it. known: ids of photos that are there, to tell which came twice.
    """
    address = f"/send/selfies/{quote(target)}" if kind == "selfies" else "/send/templates"
    if statement:
        address += f"?{urlencode({'statement': statement})}"
    data = {**_texts(language(), kind), "address": address, "known": sorted(known), "camera": kind == "selfies"}
    result = _component()(data=data, key=f"picker-{key}", on_sent_change=lambda: None)
    return [Sent(each["name"], each["id"], each["code"], each["known"]) for each in result.get("sent") or ()]


def _texts(code: str, kind: Kind) -> dict[str, Any]:
    """What the component shows in the visitor's language, and what it needs to know besides."""
    words = {name: translate(f"picker.{name}") for name in _WORDS} | {
        name: translate(f"picker.{kind}_{name}") for name in ("drop", "choose")
    }
    words["note"] = words["note"].format(megabytes=MOST_BYTES // 1_000_000)
    return {
        "language": code,
        "words": words,
        "refusals": refusals(),
        "sendLabels": [translate("picker.send", count=count) for count in range(1, MOST_SHOTS + 1)],
        "most": MOST_BYTES,
        "kinds": list(KINDS),
        "accept": ",".join(["image/*", *(f".{each}" for each in KINDS)]),
        "countdown": COUNTDOWN,
        "repeat": kind == "selfies",
    }


def refusals() -> Mapping[str, str]:
    """Why a file was not taken, one sentence a code, in the visitor's language."""
    general = translate("picker.refused")
    return {
        each: translate_or(f"picker.code_{each}", translate_or(f"error.{each}", translate_or(f"tip.{each}", general)))
        for each in _CODES
    }


@cache
def _component() -> Any:
    script = "\n".join((_FOLDER / f"{each}.js").read_text("utf-8") for each in _SCRIPTS)
    html, css = ((_FOLDER / f"picker.{kind}").read_text("utf-8") for kind in ("html", "css"))
    return parts.register("picker", html, css, script)
