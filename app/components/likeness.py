"""The likeness of a portrait as a label: words and the distance between the face and the person."""

from app.session import translate
from tasks import schemas

DISTANCE_STEPS = {"dlib": (0.35, 0.5, 0.6)}
"""By embedding space: distances up to which a portrait is very like, like, or somewhat like the person.

For dlib 0.6 is the published limit of one person, and photos of one person were measured 0.26 to 0.48 apart.
"""
ARCFACE_STEPS = (0.35, 0.5, 0.65)
"""The same for all other spaces, which are ArcFace's: 1 − cosine."""
_VARIANTS = ("good", "good", "fair", "poor")


def largest_distance(portrait: schemas.Portrait) -> float | None:
    """The distance of the least similar face; None when none was measured."""
    return max((each.distance for each in portrait.likeness.values()), default=None)


def sort_key(portrait: schemas.Portrait) -> tuple[float, str]:
    """Sorts the most similar portraits first, those without a measurement last."""
    distance = largest_distance(portrait)
    return (float("inf") if distance is None else distance, portrait.id)


def label(portrait: schemas.Portrait) -> tuple[str, str]:
    """The likeness in words with the distance, and the variant of its chip."""
    distance = largest_distance(portrait)
    if distance is None:
        return translate("likeness.none"), "plain"
    space = next(iter(portrait.likeness.values())).space
    limits = DISTANCE_STEPS.get(space, ARCFACE_STEPS)
    step = sum(distance > each for each in limits)
    return f"{translate(f'likeness.step{step}')} · {distance:.2f}", _VARIANTS[step]
