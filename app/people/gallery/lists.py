"""The list of portraits of a page, as it stands in the address: filters, order and length."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.session import query
from portrait.numbers import read_integer
from tasks.client.portraits import PortraitFilters, PortraitSort

PAGE = 16
"""Portraits that are shown at first, and that are added by "show more": two windows full, because each takes a browser some ten
milliseconds."""
MAX_SHOWN = 200
"""Portraits of a page of the API; what is beyond is reached by filters."""
Arrangement: TypeAlias = Literal["newest", "order", "likeness"]
ARRANGEMENTS: tuple[Arrangement, ...] = ("newest", "order", "likeness")
"""The newest first; these under a heading for each order; the most alike first."""


@dataclass(frozen=True, slots=True)
class PortraitList:
    """What of the portraits is shown, and how."""

    person: str = ""
    order: str = ""
    """Id of an order, or of the job of one that has no order."""
    arrangement: Arrangement = "newest"
    favourites: bool = False
    shown: int = PAGE

    @property
    def filters(self) -> PortraitFilters:
        """The filters as the API has them."""
        job = self.order if self.order.startswith("job_") else ""
        order = "" if job else self.order
        return {"person": self.person, "order": order, "job": job, "favourite": self.favourites}

    @property
    def sort(self) -> PortraitSort:
        """The order as the API has it."""
        return "likeness" if self.arrangement == "likeness" else "newest"

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters of the address; empty where they say what would be shown anyhow."""
        return {
            "person": self.person,
            "order": self.order,
            "sort": "" if self.arrangement == "newest" else self.arrangement,
            "favourites": "1" if self.favourites else "",
            "shown": "" if self.shown == PAGE else str(self.shown),
        }


def list_of_address() -> PortraitList:
    """The list that the address of the page names; what is not understood in it counts as not said."""
    sort, shown = query("sort"), read_integer(query("shown")) or PAGE
    known: Mapping[str, Arrangement] = {each: each for each in ARRANGEMENTS}
    arrangement = known.get(sort, ARRANGEMENTS[0])
    return PortraitList(
        query("person"), query("order"), arrangement, bool(query("favourites")), min(MAX_SHOWN, max(PAGE, shown))
    )
