"""Short displays of a style: its picture's address, its states and findings as chips, its statistics as lines."""

from collections.abc import Sequence

from app.components import likeness, widgets
from app.session import translate, translate_or
from tasks import schemas

_VARIANTS = {"draft": "fair", "published": "good", "retired": "plain", "built-in": "plain"}


def picture_url(style: schemas.OperatorStyle, side: int = widgets.CARD) -> str:
    """The address of a style's picture: of the version that people get, or else of the draft."""
    draft = style.draft
    if style.offered is None and draft is not None:
        samples = draft.test.samples if draft.test is not None else []
        first = next((each.number for each in samples if not each.fault), None)
        if draft.test is not None and first is not None:
            return sample_url(style.id, first, draft.test, side)
        if draft.picture:
            return draft_picture_url(style.id, draft, side)
    # Another version is another picture under the same name.
    return f"{widgets.picture_url('style', style.id, side)}&version={style.offered or 0}"


def draft_picture_url(id: str, draft: schemas.StyleDraft, side: int = widgets.CARD) -> str:
    """The address of a draft's picture; the edition makes it another address for another picture."""
    return f"{widgets.picture_url('draft', id, side)}&edition={draft.edition}"


def sample_url(id: str, number: int, test: schemas.StyleTest, side: int = widgets.CARD) -> str:
    """The address of one sample of a test."""
    return f"{widgets.picture_url('sample', f'{id}.{number}', side)}&job={test.job}"


def state_chips(style: schemas.OperatorStyle) -> list[str]:
    """The states of a style as chips."""
    return [
        widgets.chip(translate_or(f"style_state.{each}", each), _VARIANTS.get(each, "plain")) for each in style.status
    ]


def findings_chip(findings: Sequence[schemas.StyleFinding]) -> str:
    """The number of errors, or else of warnings, as a chip."""
    errors = sum(each.level == "error" for each in findings)
    if errors:
        return widgets.chip(translate("style_board.errors", count=errors), "poor")
    if findings:
        return widgets.chip(translate("style_board.warnings", count=len(findings)), "fair")
    return widgets.chip(translate("style_board.clean"), "good")


def distance_chip(sample: schemas.StyleSample) -> str:
    """The distance between a sample's face and the person as a chip."""
    if sample.distance is None:
        return widgets.chip(translate("likeness.none"))
    variant = "plain" if sample.step is None else likeness.VARIANTS[sample.step]
    return widgets.chip(translate("style_board.distance", distance=f"{sample.distance:.2f}"), variant)


def statistics_lines(found: schemas.VersionStatistics) -> list[str]:
    """The statistics of a version, one line each."""
    lines = [translate("style_board.uses", count=found.uses), translate("style_board.portraits", count=found.portraits)]
    if found.likeness_median is not None and found.likeness_worst_tenth is not None:
        median, worst = f"{found.likeness_median:.2f}", f"{found.likeness_worst_tenth:.2f}"
        lines.append(translate("style_board.likeness", median=median, worst=worst))
    lines.append(translate("style_board.favourites", count=found.favourites))
    lines.append(translate("style_board.failures", count=found.failures))
    return lines


def field_label(field: str) -> str:
    """The label of a style's field, or of the field that `field.part` belongs to."""
    first = field.split(".", 1)[0]
    return translate_or(f"style_field.{first}", first)
