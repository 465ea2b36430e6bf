"""What was typed goes over what others wrote, field by field."""

from app.operators.styles.draft_edits import Desk

BEGUN = {"title": "Garden", "mood": "", "tags": []}


def typed(**fields: object) -> Desk:
    return Desk("garden", "e1", BEGUN, {**BEGUN, **fields}, 1)


def test_only_what_says_something_else_counts_as_changed() -> None:
    assert typed().changed == []
    assert typed(mood="calm", title="Garden").changed == ["mood"]


def test_mine_goes_over_theirs_where_i_wrote_and_nowhere_else() -> None:
    theirs = {"title": "Park", "mood": "", "tags": ["fun"]}
    assert typed(mood="calm").over(theirs) == {"title": "Park", "mood": "calm", "tags": ["fun"]}


def test_fields_that_both_wrote_are_named_unless_they_say_the_same() -> None:
    theirs = {"title": "Park", "mood": "calm", "tags": []}
    assert typed(title="Meadow", mood="calm").clashes(theirs) == ["title"]
    assert typed(tags=["fun"]).clashes(theirs) == []
