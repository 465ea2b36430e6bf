"""The consent of a parent or guardian where there is no ledger: commands need it once, and note it beside a set."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipelines.folders import atomic
from pipelines.settings import Settings
from portrait.errors import UserError

ANSWER_FILE = "age.json"
"""Beside the description of a training set, which recipes know by its hash."""
SENTENCE = (
    "Is this a child? A parent or guardian must agree before anything is drawn of these photos: add --guardian NAME with "
    "their name to `portrait prepare`, `portrait make` or `portrait idphoto`. If the person is an adult, add --adult."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered; empty where nobody was asked yet."""

    guardian: str = ""
    """Name of the parent or guardian who agreed."""
    adult: bool = False
    """Whether the person is an adult."""

    def __bool__(self) -> bool:
        """Whether there is an answer."""
        return bool(self.guardian or self.adult)


def parse_answer(guardian: str, adult: bool) -> Answer:
    """The answer of two options; raises `UserError` (`guardian_needed`) for both at once."""
    if guardian.strip() and adult:
        raise UserError("guardian_needed", "Say --guardian NAME for a child, or --adult for an adult, not both.")
    return Answer(guardian.strip(), adult)


def check(settings: Settings, asks_guardian: bool | None, folder: Path | None, answer: Answer | None = None) -> bool:
    """Whether somebody who may be a child is drawn from a set's `folder`, with the consent of a guardian.

    An `answer` is noted in the folder; for a photo by itself, which has none, it is asked for each time. Raises `UserError`
    (`guardian_needed`) where one is needed and was never given.
    """
    if not settings.guards.age:
        return False
    known = answer or Answer()
    if folder is not None:
        note(folder, known)
        known = known or read(folder)
    if not known and (asks_guardian or (asks_guardian is None and settings.guards_closed)):
        raise UserError("guardian_needed", SENTENCE)
    return bool(asks_guardian or known.guardian) and not known.adult


def read(folder: Path) -> Answer:
    """The answer that was noted for a set; an empty one without."""
    try:
        noted = json.loads((folder / ANSWER_FILE).read_text("utf-8"))
        return Answer(str(noted["guardian"]), noted["adult"] is True)
    except (OSError, ValueError, KeyError, TypeError):
        return Answer()


def note(folder: Path, answer: Answer) -> None:
    """Note the answer for a set, if there is one; raises `OperatorError` (`cannot_write`)."""
    if not answer:
        return
    with atomic.reported("The answer cannot be noted"):
        content = json.dumps({"guardian": answer.guardian, "adult": answer.adult}, ensure_ascii=False)
        atomic.write_file(folder / ANSWER_FILE, content)
