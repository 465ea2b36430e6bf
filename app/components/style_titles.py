"""Titles of styles in the visitor's language."""

from app.session import client, language, translate
from tasks import schemas


def localized_title(style: schemas.Style | schemas.OperatorStyle) -> str:
    """The title of a style in the visitor's language, or in English where it has none."""
    return style.titles.get(language(), style.title)


def localized_titles() -> dict[str, str]:
    """The titles of all styles by id."""
    return {each.id: localized_title(each) for each in client().styles()}


def display_name(style: str, titles: dict[str, str]) -> str:
    """The title of the style with this id, or "own picture" for the id of a template.

    `titles` are those of `localized_titles`; a style that is no longer there is named by its id.
    """
    return translate("results.own_picture") if style.startswith("template_") else titles.get(style, style)
