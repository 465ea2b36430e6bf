from typing import Any

import pytest

from pipelines.marks import private_words
from portrait.errors import UserError

SECRET, OTHER = b"1" * 32, b"2" * 32
RECIPE: dict[str, Any] = {
    "style": {"id": "text-sea", "kind": "text"},
    "seed": 7,
    "technique": {"traits": "with freckles", "preset": "best", "base": "/home/ann/ann.safetensors"},
    "edit": {"kind": "change", "words": "a red hat"},
    "drawn": {"base": "sdxl", "prompt": "a portrait", "passes": [{"negative": "blur"}, {"negative": "", "steps": 3}]},
}


def test_own_words_are_taken_out_and_come_back() -> None:
    closed = private_words.encrypt(RECIPE, SECRET)
    assert {name: each for name, each in closed.items() if name != "private"} == {
        "style": {"id": "text-sea", "kind": "text"},
        "seed": 7,
        "technique": {"preset": "best"},
        "edit": {"kind": "change"},
        "drawn": {"base": "sdxl", "passes": [{}, {"negative": "", "steps": 3}]},
    }
    for words in ("freckles", "red hat", "ann", "portrait", "blur"):
        assert words not in str(closed)
    assert private_words.decrypt(closed, SECRET) == RECIPE
    assert RECIPE["edit"]["words"] == "a red hat", "the recipe that was given stays as it was"


def test_a_recipe_without_own_words_stays_as_it_is() -> None:
    plain = {"seed": 7, "drawn": {"prompt": ""}, "technique": {"base": "sdxl"}}
    assert private_words.encrypt(plain, SECRET) == plain
    assert private_words.decrypt(plain, SECRET) == plain
    assert private_words.decrypt(RECIPE, SECRET) == RECIPE, "as files of version 0.1.0 carry it"


@pytest.mark.parametrize("change", [lambda text: text[:-8], lambda text: "x" + text[1:], lambda _: 7, lambda _: "§"])
def test_what_was_changed_or_is_anothers_is_refused(change: Any) -> None:
    closed = private_words.encrypt(RECIPE, SECRET)
    for recipe, secret in (({**closed, "private": change(closed["private"])}, SECRET), (closed, OTHER)):
        with pytest.raises(UserError, match="another installation") as caught:
            private_words.decrypt(recipe, secret)
        assert caught.value.code == "recipe_sealed"


def test_words_without_their_place_are_refused() -> None:
    closed = private_words.encrypt(RECIPE, SECRET)
    del closed["edit"]
    with pytest.raises(UserError):
        private_words.decrypt(closed, SECRET)
