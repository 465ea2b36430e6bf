"""Unsaved edits of a draft, and how they merge with what other operators saved meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.session import get_state, set_state
from tasks import schemas


@dataclass(frozen=True, slots=True)
class DraftEdits:
    """One operator's edits of one draft; stored in the session, so that leaving the page loses nothing."""

    style: str
    edition: str
    """The edition of the draft that the edits began from."""
    original: Mapping[str, Any]
    """The content of that edition."""
    current: Mapping[str, Any]
    """The content as edited."""
    form_version: int
    """Part of the fields' keys: raised whenever the form is filled anew, so that Streamlit makes new fields."""

    @property
    def changed_fields(self) -> list[str]:
        """Fields whose value is no longer the original one."""
        return [name for name, value in self.current.items() if value != self.original.get(name)]

    def merge_onto(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        """The content of a newer edition with the changed fields over it."""
        return {**theirs, **{name: self.current[name] for name in self.changed_fields}}

    def conflicts(self, theirs: Mapping[str, Any]) -> list[str]:
        """Fields that both sides changed, to different values."""
        changed_by_both = [name for name in self.changed_fields if theirs.get(name) != self.original.get(name)]
        return [name for name in changed_by_both if theirs.get(name) != self.current[name]]


def load(style: schemas.OperatorStyle) -> DraftEdits | None:
    """The stored edits of a style while they change something, or else new ones of its draft; None without a draft."""
    stored: DraftEdits | None = get_state(_key(style.id))
    draft = style.draft
    if stored is not None and (stored.changed_fields or (draft is not None and stored.edition == draft.edition)):
        return stored
    if draft is None:
        discard(style.id)
        return None
    form_version = get_state("form-version", 0) + 1
    set_state("form-version", form_version)
    return _store(DraftEdits(style.id, draft.edition, draft.content, draft.content, form_version))


def update(edits: DraftEdits, values: Mapping[str, Any]) -> DraftEdits:
    """Store the values of the fields."""
    current = {**edits.current, **values}
    return edits if current == edits.current else _store(replace(edits, current=current))


def rebase(edits: DraftEdits, draft: schemas.StyleDraft) -> DraftEdits:
    """Put the edits on a newer edition of one's own, after a picture was uploaded; the fields stay as they are."""
    current = edits.merge_onto(draft.content)
    return _store(replace(edits, edition=draft.edition, original=draft.content, current=current))


def discard(style: str) -> None:
    """Drop the edits of a style and the API's errors about them; the form shows the draft again."""
    set_state(_key(style), None)
    set_errors(style, [])


def set_errors(style: str, errors: list[dict[str, str]]) -> None:
    """Store the API's errors about the content, which name fields and are shown below them."""
    set_state(f"edit-errors-{style}", errors)


def get_errors(style: str) -> list[dict[str, str]]:
    """The API's errors when the content was saved last."""
    return get_state(f"edit-errors-{style}", [])


def _store(edits: DraftEdits) -> DraftEdits:
    set_state(_key(edits.style), edits)
    return edits


def _key(style: str) -> str:
    return f"edits-{style}"
