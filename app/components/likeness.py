"""How alike a portrait is, in words and as a number."""

from app.session import say
from tasks import schemas

STEPS = {"dlib": (0.35, 0.5, 0.6)}
"""Distances up to which a portrait is very like, like, or somewhat like the person. For dlib 0.6 is the published limit of
one person, and photos of one person were measured 0.26 to 0.48 apart."""
ARCFACE = (0.35, 0.5, 0.65)
"""The same for spaces of ArcFace, as 1 − cosine."""
_MOODS = ("good", "good", "fair", "poor")


def distance(portrait: schemas.Portrait) -> float | None:
    """The distance of the face that is least alike; None when none was measured."""
    return max((each.distance for each in portrait.likeness.values()), default=None)


def order(portrait: schemas.Portrait) -> tuple[float, str]:
    """Sorts the most alike first; what was not measured comes last."""
    found = distance(portrait)
    return (float("inf") if found is None else found, portrait.id)


def told(portrait: schemas.Portrait) -> tuple[str, str]:
    """Words with the number, and the mood of their chip."""
    found = distance(portrait)
    if found is None:
        return say("likeness.none"), "plain"
    space = next(iter(portrait.likeness.values())).space
    steps = STEPS.get(space, ARCFACE)
    place = sum(found > each for each in steps)
    return f"{say(f'likeness.step{place}')} · {found:.2f}", _MOODS[place]
