"""Draws a person in a style."""

from portrait.types import PortraitRequest


def numbers_drawn(request: PortraitRequest, total: int) -> list[int]:
    """Numbers of the candidates that are drawn, of `total` that there are: all, or the one that a recipe names."""
    return [number for number in range(total) if request.only in (None, number)]
