"""Captions as the U-Net sees them: encoded once and kept, or encoded at each step where the encoders learn too."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from pipelines.diffusion.base.family import Family, Words


class Wording(Protocol):
    """Words for captions."""

    def __call__(self, captions: Sequence[str]) -> Words:
        """What the U-Net is told."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Words encoded beforehand; the encoders may be gone."""

    places: Mapping[str, int]
    words: Words

    def __call__(self, captions: Sequence[str]) -> Words:
        """Looked up."""
        return self.words.at([self.places[caption] for caption in captions])


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """Words encoded anew, through encoders that learn."""

    family: Family
    parts: Mapping[str, Any]

    def __call__(self, captions: Sequence[str]) -> Words:
        """Encoded."""
        return self.family.encode(self.parts, captions)


def keep(family: Family, parts: Mapping[str, Any], captions: Iterable[str]) -> Kept:
    """Encode captions once, each by itself, so that what is kept does not depend on the others."""
    each = list(dict.fromkeys(captions))
    with torch.no_grad():
        said = [family.encode(parts, [caption]) for caption in each]
    pooled = [words.pooled for words in said if words.pooled is not None]
    words = Words(torch.cat([words.hidden for words in said]), torch.cat(pooled) if pooled else None)
    return Kept({caption: place for place, caption in enumerate(each)}, words)
