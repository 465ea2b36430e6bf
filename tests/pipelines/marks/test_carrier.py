import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.marks import carrier

WORDS = bytes.fromhex("beef12345678")


def shifted(down: int, across: int) -> NDArray[np.float32]:
    return np.roll(carrier.tile(WORDS), (down, across), (0, 1))


def test_a_tile_has_no_brightness_of_its_own() -> None:
    drawn = carrier.tile(WORDS)
    assert drawn.shape == (carrier.TILE, carrier.TILE)
    assert drawn.mean() == pytest.approx(0, abs=1e-4)
    assert drawn.std() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("down", "across"), [(0, 0), (5, 90), (127, 1)])
def test_found_wherever_it_begins(down: int, across: int) -> None:
    waves = carrier.spectrum(shifted(down, across))
    place = carrier.find(waves)
    assert (place.down, place.across) == (down, across)
    assert place.height > 15
    assert carrier.message(waves, place) == WORDS


def test_found_between_two_cells() -> None:
    between = (shifted(3, 10) + shifted(4, 10)) / np.float32(2)
    waves = carrier.spectrum(between)
    place = carrier.find(waves, 2)
    assert (place.down, place.across) == (3.5, 10)
    assert carrier.message(waves, place) == WORDS


def test_found_mirrored() -> None:
    waves = carrier.mirrored(carrier.spectrum(shifted(5, 90)[:, ::-1].copy()))
    assert carrier.message(waves, carrier.find(waves)) == WORDS


def test_read_under_noise_six_times_as_strong() -> None:
    noise = np.random.default_rng(1).normal(0, 3, (carrier.TILE, carrier.TILE)).astype(np.float32)
    waves = carrier.spectrum(carrier.tile(WORDS) + noise)
    assert carrier.message(waves, carrier.find(waves, 2)) == WORDS


def test_words_of_another_check_sum_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as other:
        other.setattr(carrier.zlib, "crc32", lambda _: 0x01020304)
        drawn = carrier.tile(WORDS)
    waves = carrier.spectrum(drawn)
    place = carrier.find(waves)
    assert place.height > 15
    assert carrier.message(waves, place) is None


def test_noise_never_agrees_with_words_as_much_as_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier.zlib, "crc32", AnySum())
    random = np.random.default_rng(2)
    for _ in range(300):
        waves = carrier.spectrum(random.normal(0, 1, (carrier.TILE, carrier.TILE)).astype(np.float32))
        assert carrier.message(waves, carrier.find(waves)) is None


class AnySum:
    """A check sum that every reading passes: agreement alone decides."""

    def __call__(self, words: bytes) -> "AnySum":
        return self

    def to_bytes(self, length: int, order: str) -> "AnySum":
        return self

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0
