"""Keeps how far a list was scrolled, and scrolls there again when somebody comes back to it."""

from app.components.canvas import parts
from app.session import get_state, set_state

_RETURNED = "returned_to_list"


def mark_return() -> None:
    """Note that a page goes back to the list that led to it."""
    set_state(_RETURNED, True)


def keep(address: str) -> None:
    """Keep the place in the list that this page shows, by its address.

    It is scrolled to again after `mark_return`, and after a step back in the browser's history; links lead to its beginning.
    """
    returned = bool(get_state(_RETURNED))
    set_state(_RETURNED, False)
    parts.component("place_keeper")(data={"address": address, "returned": returned}, key="place-keeper", height=1)
