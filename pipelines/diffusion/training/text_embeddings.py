"""Text embeddings of captions for training: cached beforehand, or computed at each step by encoders that are trained."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from pipelines.diffusion.base.family import Family, TextEmbeddings, concatenate_embeddings

TextEmbedder: TypeAlias = Callable[[Sequence[str]], TextEmbeddings]
"""Turns captions into text embeddings, in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class CachedTextEmbeddings:
    """Embeddings computed beforehand; the encoders may be freed."""

    indices: Mapping[str, int]
    """By caption."""
    embeddings: TextEmbeddings

    def __call__(self, captions: Sequence[str]) -> TextEmbeddings:
        """Look the captions up; KeyError for one that was not cached."""
        return self.embeddings.select([self.indices[caption] for caption in captions])


def cache_text_embeddings(family: Family, components: Mapping[str, Any], texts: Iterable[str]) -> CachedTextEmbeddings:
    """Encode captions once, each by itself, so that an embedding does not depend on the others."""
    unique = list(dict.fromkeys(texts))
    with torch.no_grad():
        encoded = [family.encode(components, [caption]) for caption in unique]
    embeddings = concatenate_embeddings(encoded)
    return CachedTextEmbeddings({caption: place for place, caption in enumerate(unique)}, embeddings)
