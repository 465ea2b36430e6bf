"""Edits are merged onto what others saved, field by field."""

from app.operators.styles.draft_edits import DraftEdits

ORIGINAL = {"title": "Garden", "mood": "", "tags": []}


def edited(**fields: object) -> DraftEdits:
    return DraftEdits("garden", "e1", ORIGINAL, {**ORIGINAL, **fields}, 1)


def test_only_fields_with_another_value_are_changed() -> None:
    assert edited().changed_fields == []
    assert edited(mood="calm", title="Garden").changed_fields == ["mood"]


def test_own_changes_are_merged_onto_theirs() -> None:
    theirs = {"title": "Park", "mood": "", "tags": ["fun"]}
    assert edited(mood="calm").merge_onto(theirs) == {"title": "Park", "mood": "calm", "tags": ["fun"]}


def test_fields_with_two_different_changes_are_conflicts() -> None:
    theirs = {"title": "Park", "mood": "calm", "tags": []}
    assert edited(title="Meadow", mood="calm").conflicts(theirs) == ["title"]
    assert edited(tags=["fun"]).conflicts(theirs) == []
