"""The likeness of portraits in words, for each face with whose it is; the number behind them stands on a portrait's page."""

from collections.abc import Mapping

from app.session import translate
from tasks import schemas

VARIANTS = ("good", "good", "fair", "poor")
"""Of the chip, by the step of the likeness; the API says which step a distance is."""


def texts(portrait: schemas.Portrait, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """The likeness of each face in words, from face 1, and the variant of its chip; `names` are those of people by id."""
    faces = sorted(portrait.likeness.items(), key=lambda item: int(item[0]))
    found = [(_text(portrait, face, each.step, names), VARIANTS[each.step]) for face, each in faces]
    return found or [(translate("likeness.none"), "plain")]


def _text(portrait: schemas.Portrait, face: str, step: int, names: Mapping[str, str]) -> str:
    """Whom a face is like: the person by name, or where they are not known any more the number of the face."""
    name = names.get(portrait.people.get(face, ""), "")
    if name:
        return translate(f"likeness.step{step}", name=name)
    words = translate(f"likeness.nobody{step}")
    return words if len(portrait.likeness) == 1 else translate("likeness.face", number=face, likeness=words)
