"""Every built-in style has a preview: a portrait, or the card of a text style."""

import io

import numpy as np
import PIL.Image
import pytest

from templates.catalog import BUILTIN, Catalog, Entry
from tests.templates import cards
from tests.templates.previews import MOST_BYTES, WIDTH

STYLES = Catalog((BUILTIN,)).entries()


@pytest.mark.parametrize("entry", STYLES, ids=lambda entry: entry.style.id)
def test_a_style_has_a_small_picture(entry: Entry) -> None:
    content = (entry.folder / "preview.jpg").read_bytes()
    with PIL.Image.open(io.BytesIO(content)) as picture:
        assert picture.width == WIDTH
    assert len(content) <= MOST_BYTES


def test_styles_made_of_words_have_a_card_each_and_no_two_are_alike() -> None:
    assert set(cards.CARDS) == {entry.style.id for entry in STYLES if entry.style.kind == "text"}
    business, noir = (cards.drawn(cards.CARDS[name]) for name in ("text-business", "text-noir"))
    assert business.shape == (WIDTH * 5 // 4, WIDTH, 3)
    assert np.abs(business.astype(int) - noir).mean() > 30
