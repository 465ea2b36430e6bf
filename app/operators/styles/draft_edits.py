"""What an operator is typing into a draft: where they began, and how it goes together with what others changed meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.session import recall, remember
from tasks import schemas


@dataclass(frozen=True, slots=True)
class Desk:
    """One draft under one operator's hands; kept for the visit, so that leaving the page loses nothing."""

    style: str
    edition: str
    """The edition that they began with."""
    begun: Mapping[str, Any]
    """What that edition said."""
    typed: Mapping[str, Any]
    """What it says now."""
    turn: int
    """Raised whenever the fields are laid out anew."""

    @property
    def changed(self) -> list[str]:
        """Fields that say something else than they did."""
        return [name for name, value in self.typed.items() if value != self.begun.get(name)]

    def over(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        """What was typed, over what a newer edition says in the other fields."""
        return {**theirs, **{name: self.typed[name] for name in self.changed}}

    def clashes(self, theirs: Mapping[str, Any]) -> list[str]:
        """Fields that both changed, each in another way."""
        both = [name for name in self.changed if theirs.get(name) != self.begun.get(name)]
        return [name for name in both if theirs.get(name) != self.typed[name]]


def at(style: schemas.OwnStyle) -> Desk | None:
    """The desk of a style: as it was left while something is typed on it, else with the draft as it is; None without one."""
    kept: Desk | None = recall(_key(style.id))
    draft = style.draft
    if kept is not None and (kept.changed or (draft is not None and kept.edition == draft.edition)):
        return kept
    if draft is None:
        forget(style.id)
        return None
    turn = recall("desk-turn", 0) + 1
    remember("desk-turn", turn)
    return _kept(Desk(style.id, draft.edition, draft.content, draft.content, turn))


def take(desk: Desk, values: Mapping[str, Any]) -> Desk:
    """Keep what the fields say."""
    typed = {**desk.typed, **values}
    return desk if typed == desk.typed else _kept(replace(desk, typed=typed))


def carry(desk: Desk, draft: schemas.StyleDraft) -> Desk:
    """Go on typing on a newer edition of one's own: a picture was hung, and the fields are what they were."""
    return _kept(replace(desk, edition=draft.edition, begun=draft.content, typed=desk.over(draft.content)))


def forget(style: str) -> None:
    """Lay the draft out as it is the next time; what the API said of what was typed goes too."""
    remember(_key(style), None)
    refused(style, [])


def refused(style: str, errors: list[dict[str, str]]) -> None:
    """Keep what the API did not take, field by field, to be told beside the fields."""
    remember(f"refused-{style}", errors)


def wrong(style: str) -> list[dict[str, str]]:
    """What the API did not take when it was saved last."""
    return recall(f"refused-{style}", [])


def _kept(desk: Desk) -> Desk:
    remember(_key(desk.style), desk)
    return desk


def _key(style: str) -> str:
    return f"desk-{style}"
