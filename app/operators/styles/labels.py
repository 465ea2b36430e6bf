"""How styles look in small: their picture, their states as chips, their figures, what is wrong with them."""

from collections.abc import Sequence

from app.components import widgets
from app.session import language, say, say_or
from tasks import schemas

_MOODS = {"draft": "fair", "published": "good", "retired": "plain", "built-in": "plain"}
GOOD, FAIR = 0.5, 0.6
"""Distances up to which a drawing is like the person, and up to which it counts as the same;
as in `app.components.likeness`."""


def title(style: schemas.OwnStyle) -> str:
    """What a style is called in the visitor's language."""
    return style.titles.get(language(), style.title)


def picture(style: schemas.OwnStyle, side: int = widgets.CARD) -> str:
    """Where a style's picture is: of what people get, else of what is worked on."""
    draft = style.draft
    if style.offered is None and draft is not None:
        drawn = draft.test.samples if draft.test is not None else []
        first = next((each.number for each in drawn if not each.fault), None)
        if draft.test is not None and first is not None:
            return sample(style.id, first, draft.test, side)
        if draft.picture:
            return hung(style.id, draft, side)
    # Another version is another picture under the same name.
    return f"{widgets.source('style', style.id, side)}&version={style.offered or 0}"


def hung(id: str, draft: schemas.StyleDraft, side: int = widgets.CARD) -> str:
    """Where the picture of a draft is."""
    return f"{widgets.source('draft', id, side)}&edition={draft.edition}"


def sample(id: str, number: int, test: schemas.StyleTest, side: int = widgets.CARD) -> str:
    """Where one drawing of a test is."""
    return f"{widgets.source('sample', f'{id}.{number}', side)}&job={test.job}"


def states(style: schemas.OwnStyle) -> list[str]:
    """Where a style stands, as chips."""
    return [widgets.chip(say_or(f"style_state.{each}", each), _MOODS.get(each, "plain")) for each in style.status]


def faults(found: Sequence[schemas.StyleFinding]) -> str:
    """How many errors and warnings there are, as a chip."""
    errors = sum(each.level == "error" for each in found)
    if errors:
        return widgets.chip(say("style_board.errors", count=errors), "poor")
    if found:
        return widgets.chip(say("style_board.warnings", count=len(found)), "fair")
    return widgets.chip(say("style_board.clean"), "good")


def distance(value: float | None) -> str:
    """How far a drawn face is from the person, as a chip."""
    if value is None:
        return widgets.chip(say("likeness.none"))
    mood = "good" if value <= GOOD else "fair" if value <= FAIR else "poor"
    return widgets.chip(say("style_board.distance", distance=f"{value:.2f}"), mood)


def figures(found: schemas.VersionFigures) -> list[str]:
    """How a version did, a line each."""
    lines = [say("style_board.uses", count=found.uses), say("style_board.portraits", count=found.portraits)]
    if found.likeness_median is not None and found.likeness_worst_tenth is not None:
        median, worst = f"{found.likeness_median:.2f}", f"{found.likeness_worst_tenth:.2f}"
        lines.append(say("style_board.likeness", median=median, worst=worst))
    lines.append(say("style_board.favourites", count=found.favourites))
    lines.append(say("style_board.failures", count=found.failures))
    return lines


def label(field: str) -> str:
    """What a field of a style is called."""
    first = field.split(".", 1)[0]
    return say_or(f"style_field.{first}", first)
