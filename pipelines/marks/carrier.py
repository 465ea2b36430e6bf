"""What carries the bits of the invisible mark: a square tile that is sown over the picture, and is read from its spectrum.

Each wave of the tile carries two signs or belongs to the known part, by which the tile is found wherever it begins. Waves do
not disturb each other, so that 1,280 signs and the known part fit into one tile. Each byte is one of 256 words of 128 signs (a
biorthogonal code), which still are told apart where noise is stronger than the mark.
"""

import hashlib
import zlib
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Spectrum: TypeAlias = NDArray[np.complex128]
"""128×65, of one tile: rows are waves a tile down (negative ones last), columns across."""

TILE = 128
"""Cells along each side of a tile."""
LOWEST, HIGHEST = 0.05, 0.20
"""Waves a cell. Below, pictures themselves vary most; above, resizing and JPEG leave little."""
MESSAGE_BYTES, CHECK_BYTES = 6, 4
WORD = 128
"""Signs of a byte."""
KNOWN_WAVES = 220
KNOWN_STRENGTH = 1.2
"""Of the waves that are known, as parts of those that carry signs: the place must be found before anything is read."""
SURE = 0.3
"""Agreement of the signs with the words that were read, below which nothing was read. Of chance it is 0.24, ± 0.01."""
RINGS = 8
"""In which the strength of the picture's own waves is measured; it falls with their number."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile begins, cells, and how far the known part stands out there: standard deviations of all places."""

    down: float
    across: float
    height: float


def _noise(name: str, count: int) -> NDArray[np.float64]:
    """Numbers 0..1 that never change, whatever the version of NumPy: pictures of today are read in years."""
    stream = hashlib.shake_256(f"portrait invisible mark 1 {name}".encode()).digest(4 * count)
    return np.frombuffer(stream, "<u4") / 2.0**32


_DOWN, _ACROSS = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]
_WAVES = np.hypot(_DOWN, _ACROSS)
_USED = (_WAVES >= LOWEST) & (_WAVES <= HIGHEST) & (_ACROSS > 0)
_RING = np.where(_USED, np.clip((_WAVES - LOWEST) / (HIGHEST - LOWEST) * RINGS, 0, RINGS - 1), RINGS).astype(np.intp)
_ORDER = np.argwhere(_USED)[np.argsort(_noise("order", int(_USED.sum())), kind="stable")]
_SIGNED = (MESSAGE_BYTES + CHECK_BYTES) * WORD // 2
_MESSAGE, _KNOWN = _ORDER[:_SIGNED].T, _ORDER[_SIGNED : _SIGNED + KNOWN_WAVES].T
_PHASES = np.exp(2j * np.pi * _noise("phases", KNOWN_WAVES))
_SIGNS = np.where(_noise("signs", 2 * _SIGNED) < 0.5, -1.0, 1.0)
# The Hadamard matrix by Sylvester: two words differ in half of their signs.
_WORDS = 1.0 - 2.0 * (np.bitwise_count(np.arange(WORD)[:, None] & np.arange(WORD)) % 2)


def tile(message: bytes) -> NDArray[np.float32]:
    """Return the tile of six bytes, TILE×TILE, mean 0, standard deviation 1."""
    letters = np.frombuffer(message + zlib.crc32(message).to_bytes(CHECK_BYTES, "big"), np.uint8)
    words = _WORDS[letters % WORD] * np.where(letters < WORD, 1.0, -1.0)[:, None]
    signs = words.ravel() * _SIGNS
    waves = np.zeros(_WAVES.shape, np.complex128)
    waves[*_MESSAGE] = (signs[:_SIGNED] + 1j * signs[_SIGNED:]) / np.sqrt(2)
    waves[*_KNOWN] = KNOWN_STRENGTH * _PHASES
    drawn = np.fft.irfft2(waves, (TILE, TILE))
    return (drawn / drawn.std()).astype(np.float32)


def spectrum(summed: NDArray[np.float32]) -> Spectrum:
    """Return the waves of a TILE×TILE sum of tiles, those of each ring of the same mean strength 1."""
    waves = np.fft.rfft2(summed.astype(np.float64))
    strength = np.bincount(_RING.ravel(), np.square(np.abs(waves)).ravel()) / np.bincount(_RING.ravel())
    strength[RINGS] = np.inf
    return waves / np.sqrt(strength + 1e-12)[_RING]


def mirrored(waves: Spectrum) -> Spectrum:
    """Return the waves of the same tile, left and right exchanged."""
    return np.conj(waves[-np.arange(TILE)])


def find(waves: Spectrum, finer: int = 1) -> Place:
    """Return the place where the known part stands out most, to 1/`finer` of a cell."""
    side = TILE * finer
    down, across = _KNOWN
    compared = np.zeros((side, side // 2 + 1), np.complex128)
    compared[np.where(down < TILE // 2, down, down + side - TILE), across] = waves[*_KNOWN] * np.conj(_PHASES)
    surface = np.fft.irfft2(compared, (side, side))
    top = int(surface.argmax())
    height = float(surface.flat[top] / (surface.std() + 1e-12))
    return Place(top // side / finer, top % side / finer, height)


def message(waves: Spectrum, place: Place) -> bytes | None:
    """Return the six bytes that were read at a place; None where check sum or agreement say that there are none."""
    down, across = _DOWN[_MESSAGE[0], 0], _ACROSS[0, _MESSAGE[1]]
    turned = waves[*_MESSAGE] * np.exp(2j * np.pi * (down * place.down + across * place.across))
    signs = np.concatenate([turned.real, turned.imag]) * _SIGNS
    likely = signs.reshape(-1, WORD) @ _WORDS
    letters = np.abs(likely).argmax(1)
    chosen = np.take_along_axis(likely, letters[:, None], 1)[:, 0]
    agreement = np.abs(chosen).sum() / (np.linalg.norm(signs) * np.sqrt(signs.size) + 1e-12)
    read = (letters + np.where(chosen < 0, WORD, 0)).astype(np.uint8).tobytes()
    words, check = read[:MESSAGE_BYTES], read[MESSAGE_BYTES:]
    return words if agreement >= SURE and zlib.crc32(words).to_bytes(CHECK_BYTES, "big") == check else None
