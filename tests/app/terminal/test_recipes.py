"""Recipes of files that anybody may have written."""

from typing import Any

import pytest

from app.terminal.recipes import check_recipe
from portrait.errors import UserError

RECIPE: dict[str, Any] = {
    "people": {"1": "set-1"},
    "style": {"id": "studio-warm", "version": 1},
    "seed": 7,
    "count": 2,
    "candidate": 1,
    "size": [1024, 1280],
    "refiners": [{"name": "skin", "strength": 0.4}],
    "drawn": {"studio": 2},
    "more": "that a later version wrote",
}


def test_a_recipe_of_this_program_is_taken() -> None:
    check_recipe(RECIPE)
    check_recipe({**RECIPE, "size": None, "technique": None, "edit": None})


@pytest.mark.parametrize(
    "spoilt",
    [
        {"people": None},
        {"people": {"one": "set-1"}},
        {"people": {"1": {"set": 1}}},
        {"style": "studio-warm"},
        {"style": {"id": "studio-warm"}},
        {"seed": "seven"},
        {"candidate": None},
        {"count": [2]},
        {"size": [1024]},
        {"size": "large"},
        {"refiners": [{"name": "skin", "strength": 0.4, "by": "me"}]},
        {"refiners": {"skin": 1}},
        {"drawn": [1]},
        {"technique": "lora"},
    ],
)
def test_what_no_portrait_of_this_program_carries_is_told(spoilt: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        check_recipe({**RECIPE, **spoilt})
    assert caught.value.code == "no_recipe"


@pytest.mark.parametrize("missing", ["people", "style", "seed", "count", "candidate", "size"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(UserError, match=missing):
        check_recipe({name: value for name, value in RECIPE.items() if name != missing})
