"""What styles and portraits are called in the visitor's language."""

from app.session import client, language, say
from tasks import schemas


def title_of(style: schemas.Style) -> str:
    """What a style is called."""
    return style.titles.get(language(), style.title)


def titles() -> dict[str, str]:
    """What every style is called, by its id."""
    return {each.id: title_of(each) for each in client().styles()}


def name_of(style: str, known: dict[str, str]) -> str:
    """What is shown of the style or picture with this id."""
    return say("results.own_picture") if style.startswith("template_") else known.get(style, style)
