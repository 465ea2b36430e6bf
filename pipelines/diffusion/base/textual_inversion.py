"""Textual inversion: a new token with a trained embedding in every text encoder of a base; its files."""

import copy
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.source import BaseSource
from portrait.errors import UserError

FILE_NAMES = ("clip_l", "clip_g")
"""Key names of SDXL's two encoders in a file; a file for one encoder has the token as its only key."""
TOKENIZERS = 8
"""Tokenizers with further tokens that are kept of a base, each of some megabytes."""


class TokenEmbedding(torch.nn.Module):
    """An embedding table that stays as it is, and one more row that is trained."""

    def __init__(self, table: torch.nn.Module, token_id: int, row: torch.Tensor) -> None:
        super().__init__()
        self.table = table
        self.token_id = token_id
        self.row = torch.nn.Parameter(row.detach().float().clone())

    @property
    def weight(self) -> torch.Tensor:
        """The table's weight: encoders read dtype and device from it."""
        weight = self.table.weight
        if not isinstance(weight, torch.Tensor):
            raise TypeError("an embedding table has a weight")
        return weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings of token ids."""
        is_new = ids == self.token_id
        embedded = self.table(ids.masked_fill(is_new, 0))
        return torch.where(is_new[..., None], self.row.to(embedded.dtype), embedded)


class FurtherTokens(torch.nn.Module):
    """An embedding table, and the vectors of tokens that were added after it."""

    vectors: torch.Tensor

    def __init__(self, table: torch.nn.Embedding, first_id: int, vectors: torch.Tensor) -> None:
        super().__init__()
        self.table = table
        self.first_id = first_id
        self.register_buffer("vectors", vectors.detach().clone())

    @property
    def weight(self) -> torch.Tensor:
        """The table's weight: encoders read dtype and device from it."""
        return self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings of token ids."""
        own = (ids >= self.first_id) & (ids < self.first_id + len(self.vectors))
        embedded = self.table(ids.masked_fill(own, 0))
        rows = self.vectors[(ids - self.first_id).clamp(0, len(self.vectors) - 1)]
        return torch.where(own[..., None], rows.to(embedded.device, embedded.dtype), embedded)


def placeholder_token(trigger: str) -> str:
    """The text of the new token: `<sks>`, which no vocabulary has."""
    return trigger if trigger.startswith("<") else f"<{trigger}>"


def keep_tokenizers(family: Family, components: Mapping[str, Any]) -> Callable[[str, tuple[str, ...]], Any]:
    """What gives a base's tokenizer, by name, with further tokens: a copy, made once and kept for later requests."""
    own = {name: components[name] for name, _ in family.text_encoders}

    @lru_cache(maxsize=TOKENIZERS)
    def tokenizer_with(name: str, tokens: tuple[str, ...]) -> Any:
        tokenizer = copy.deepcopy(own[name])
        tokenizer.add_tokens(list(tokens))
        return tokenizer

    return tokenizer_with


def add_token(family: Family, components: Mapping[str, Any], token: str, initializer: str) -> dict[str, TokenEmbedding]:
    """Add a token to tokenizers and encoders, with the mean embedding of the word `initializer`; by encoder name."""
    added = {}
    for tokenizer_name, encoder_name in family.text_encoders:
        tokenizer, encoder = components[tokenizer_name], components[encoder_name]
        ids = tokenizer(initializer, add_special_tokens=False).input_ids
        tokenizer.add_tokens([token])
        table = encoder.get_input_embeddings()
        row = table.weight[torch.tensor(ids, device=table.weight.device)].mean(dim=0)
        added[encoder_name] = TokenEmbedding(table, tokenizer.convert_tokens_to_ids(token), row)
        encoder.set_input_embeddings(added[encoder_name])
    return added


def save_embeddings(rows: Mapping[str, torch.Tensor], token: str, file: Path) -> Path:
    """Write embeddings, given by encoder, in the layout that diffusers and the web interfaces read."""
    named = {token: next(iter(rows.values()))} if len(rows) == 1 else dict(zip(FILE_NAMES, rows.values(), strict=True))
    save_file({name: row.detach().to("cpu", torch.float32).contiguous() for name, row in named.items()}, file)
    return file


def load_embeddings(file: Path, family: Family) -> dict[str, torch.Tensor]:
    """Read a person's token from a file, by encoder name; raises `UserError` (`broken_identity`, `wrong_base`)."""
    try:
        ordered = _read(file)
    except ValueError as error:
        raise _broken(file, str(error)) from error
    if not all(row.ndim == 1 for row in ordered):
        raise _broken(file, "its values are not those of one token")
    encoders = [encoder for _, encoder in family.text_encoders]
    if len(ordered) != len(encoders):
        raise _wrong_base()
    return dict(zip(encoders, (row.float() for row in ordered), strict=True))


def check_file(file: Path, base: BaseSource) -> None:
    """Check that a token can be added to a base, before that is loaded; raises as `load_embeddings` does."""
    rows = load_embeddings(file, base.family)
    if any(len(row) != int(base.config(encoder)["hidden_size"]) for encoder, row in rows.items()):
        raise _wrong_base()


def load_vectors(name: str, file: Path, base: BaseSource) -> dict[str, torch.Tensor]:
    """The vectors of a published embedding, tokens×width, by encoder name.

    Raises `UserError` (`bad_embedding`, `wrong_base`).
    """
    try:
        ordered = [vectors if vectors.ndim == 2 else vectors[None] for vectors in _read(file)]
    except ValueError as error:
        raise UserError("bad_embedding", f"The embedding {name} cannot be used: {error}.") from error
    encoders = [encoder for _, encoder in base.family.text_encoders]
    widths = [int(base.config(encoder)["hidden_size"]) for encoder in encoders]
    if [int(vectors.shape[1]) for vectors in ordered] != widths:
        told = ", ".join(str(vectors.shape[1]) for vectors in ordered)
        needed = ", ".join(str(width) for width in widths)
        raise UserError(
            "wrong_base",
            f"The embedding {name} is of another base: {told} numbers a token, and {base.name} takes {needed}.",
        )
    if len({len(vectors) for vectors in ordered}) > 1:
        raise UserError(
            "bad_embedding", f"The embedding {name} cannot be used: its encoders have other numbers of tokens."
        )
    return dict(zip(encoders, (vectors.float() for vectors in ordered), strict=True))


def _read(file: Path) -> list[torch.Tensor]:
    """The vectors of a file, by encoder: one for SD 1.5, two for SDXL; raises ValueError, which says what is wrong."""
    try:
        stored = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError("it cannot be read") from error
    if len(stored) == 1 and stored.keys().isdisjoint(FILE_NAMES):
        ordered = list(stored.values())
    elif stored.keys() == set(FILE_NAMES):
        ordered = [stored[name] for name in FILE_NAMES]
    else:
        raise ValueError(f"it holds {', '.join(sorted(stored)[:5]) or 'nothing'}")
    valid = (row.ndim in (1, 2) and len(row) and row.is_floating_point() for row in ordered)
    if not all(valid) or not all(torch.isfinite(row.float()).all() for row in ordered):
        raise ValueError("its values are not those of tokens")
    return ordered


def _broken(file: Path, reason: str) -> UserError:
    return UserError(
        "broken_identity", f"{file.name} cannot be used as a person's learned token: {reason}. Learn them again."
    )


def _wrong_base() -> UserError:
    return UserError("wrong_base", "The identity was learned on another base. Choose that base, or learn it anew.")
