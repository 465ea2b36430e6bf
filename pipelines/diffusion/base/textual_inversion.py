"""Textual inversion: a new token with a trained embedding in every text encoder of a base; its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base.family import Family

FILE_NAMES = ("clip_l", "clip_g")
"""Key names of SDXL's two encoders in a file; a file for one encoder has the token as its only key."""


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


def placeholder_token(trigger: str) -> str:
    """The text of the new token: `<sks>`, which no vocabulary has."""
    return trigger if trigger.startswith("<") else f"<{trigger}>"


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
    """Read embeddings from a file, by encoder name."""
    stored = load_file(file)
    encoders = [encoder for _, encoder in family.text_encoders]
    ordered = list(stored.values()) if len(stored) == 1 else [stored[name] for name in FILE_NAMES]
    return dict(zip(encoders, ordered, strict=True))
