import cv2
import numpy as np
import pytest

from pipelines.marks import label
from portrait.arrays import Image
from portrait.errors import OperatorError


def plain(level: int, width: int = 512, height: int = 640) -> Image:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize("text", ["AI generated", "人工智能生成", "Erzeugt von KI"])
@pytest.mark.parametrize("level", [0, 120, 255])
def test_in_the_corner_and_legible_on_any_background(text: str, level: int) -> None:
    picture = plain(level)
    labelled = label.draw(picture, text)
    assert labelled.shape == picture.shape
    assert np.array_equal(labelled[:480], picture[:480])
    assert np.array_equal(labelled[:, :60], picture[:, :60])
    corner = labelled[-30:, -200:]
    assert corner.max() == 255
    assert corner.min() <= 0.3 * 255 + 1


@pytest.mark.parametrize(("width", "height"), [(512, 640), (1280, 1024), (300, 300)])
@pytest.mark.parametrize("text", ["H", "工"])
def test_letters_are_a_twentieth_of_the_short_side_high(width: int, height: int, text: str) -> None:
    labelled = label.draw(plain(0, width, height), text)
    rows = np.flatnonzero((labelled > 127).any((1, 2)))
    assert rows[-1] - rows[0] + 1 >= 0.05 * min(width, height)


def test_long_words_take_several_lines_and_none_begins_with_a_comma() -> None:
    text = "本图片由人工智能技术生成，Made with artificial intelligence"
    assert label._lines(text, 40, 460) == ["本图片由人工智能技术", "生成，Made with", "artificial intelligence"]
    assert label._lines("AI 生成，", 40, 140) == ["AI 生", "成，"]
    assert label._lines("  one\ntwo ", 40, 400) == ["one two"]


def test_the_picture_itself_stays_as_it_is() -> None:
    picture = plain(90)
    label.draw(picture, "AI")
    assert (picture == 90).all()


@pytest.mark.parametrize(("text", "said"), [("AI 😀", "😀"), ("एक AI", "ए")])
def test_characters_that_the_font_lacks_are_named(text: str, said: str) -> None:
    with pytest.raises(OperatorError, match=said) as raised:
        label.draw(plain(90), text)
    assert raised.value.code == "label_font"


def test_a_label_that_would_hide_the_portrait_is_refused() -> None:
    for text in ("made " * 60, "x" * 80):
        with pytest.raises(OperatorError, match="shorter") as raised:
            label.draw(plain(90), text)
        assert raised.value.code == "label_too_long"


def test_the_font_draws_what_it_says() -> None:
    drawn = [label.draw(plain(0), text) for text in ("人", "入")]
    assert cv2.norm(drawn[0], drawn[1]) > 0
