"""The styles of the installation as a visit knows them, and their titles in the visitor's language."""

from collections.abc import Iterable, Mapping

from app.session import client, language, remember, remembered, translate
from tasks import schemas


def list_styles() -> list[schemas.Style]:
    """All styles as they were a moment ago: whether one can be drawn changes with the workers that run."""
    return remembered("styles", lambda: client().styles())


def picture_names() -> Mapping[str, str]:
    """The names of the visitor's own pictures by id, as they are now."""
    return remember("picture_names", {each.id: each.name for each in client().templates()})


def localized_title(style: schemas.Style | schemas.OperatorStyle) -> str:
    """The title of a style in the visitor's language, or in English where it has none."""
    return style.titles.get(language(), style.title)


def titles_of_styles() -> dict[str, str]:
    """The titles of all styles, by id."""
    return {each.id: localized_title(each) for each in list_styles()}


def localized_titles(named: Iterable[str]) -> dict[str, str]:
    """The titles of all styles, by id, and the names of the visitor's own pictures where some are among those `named`."""
    pictures = remembered("picture_names", picture_names) if any(map(is_own_picture, named)) else {}
    return {**pictures, **titles_of_styles()}


def is_own_picture(style: str) -> bool:
    """Whether what a portrait names as its style is a picture of its owner's."""
    return style.startswith("template_")


def display_name(style: str, titles: dict[str, str]) -> str:
    """The title of the style, or the name of the own picture, with this id.

    `titles` are those of `localized_titles`; a picture that is no longer there is "own picture", a style is named by its id.
    """
    return titles.get(style) or (translate("results.own_picture") if is_own_picture(style) else style)
