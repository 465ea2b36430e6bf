"""Text embeddings of captions for training: cached beforehand, or computed at each step by encoders that are trained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from pipelines.diffusion.base.family import Family, TextEmbeddings


class TextEmbedder(Protocol):
    """Turns captions into text embeddings."""

    def __call__(self, captions: Sequence[str]) -> TextEmbeddings:
        """Embeddings of captions, in their order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CachedTextEmbeddings:
    """Embeddings computed beforehand; the encoders may be freed."""

    indices: Mapping[str, int]
    """By caption."""
    embeddings: TextEmbeddings

    def __call__(self, captions: Sequence[str]) -> TextEmbeddings:
        """Look the captions up; KeyError for one that was not cached."""
        return self.embeddings.select([self.indices[caption] for caption in captions])


@dataclass(frozen=True, slots=True, eq=False)
class TrainableTextEmbeddings:
    """Embeddings computed at each call, through encoders that are trained."""

    family: Family
    components: Mapping[str, Any]
    """Tokenizers and text encoders by component name."""

    def __call__(self, captions: Sequence[str]) -> TextEmbeddings:
        """Encode the captions, with gradients."""
        return self.family.encode(self.components, captions)


def cache_text_embeddings(
    family: Family, components: Mapping[str, Any], captions: Iterable[str]
) -> CachedTextEmbeddings:
    """Encode captions once, each by itself, so that an embedding does not depend on the others."""
    unique = list(dict.fromkeys(captions))
    with torch.no_grad():
        encoded = [family.encode(components, [caption]) for caption in unique]
    pooled = [embeddings.pooled for embeddings in encoded if embeddings.pooled is not None]
    embeddings = TextEmbeddings(
        torch.cat([embeddings.hidden for embeddings in encoded]), torch.cat(pooled) if pooled else None
    )
    return CachedTextEmbeddings({caption: place for place, caption in enumerate(unique)}, embeddings)
