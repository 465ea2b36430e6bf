"""Files of learned tokens: of this base, of another, or broken."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.diffusion.base import loading, textual_inversion
from pipelines.diffusion.base.source import BaseSource
from portrait.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def widths(base: BaseSource) -> dict[str, int]:
    return {encoder: int(base.config(encoder)["hidden_size"]) for _, encoder in base.family.text_encoders}


def write(base: BaseSource, file: Path) -> Path:
    rows = {encoder: torch.arange(width).float() for encoder, width in widths(base).items()}
    return textual_inversion.save_embeddings(rows, "<sks>", file)


def test_a_token_is_read_by_encoder(base: BaseSource, tmp_path: Path) -> None:
    file = write(base, tmp_path / "tokens.safetensors")
    textual_inversion.check_file(file, base)
    rows = textual_inversion.load_embeddings(file, base.family)
    assert {encoder: len(row) for encoder, row in rows.items()} == widths(base)


def test_a_tokenizer_with_tokens_is_copied_once_and_the_bases_own_stays(base: BaseSource) -> None:
    components = loading.load_pipeline(base, torch.float32).components
    tokenizer_with = textual_inversion.keep_tokenizers(base.family, components)
    for name, _ in base.family.text_encoders:
        own, size = components[name], len(components[name])
        sks = tokenizer_with(name, ("<sks>",))
        assert tokenizer_with(name, ("<sks>",)) is sks
        assert tokenizer_with(name, ("<sks>", "<tok>")) is not sks
        assert sks.convert_tokens_to_ids("<sks>") == size
        assert "<tok>" not in sks.get_vocab()
        assert components[name] is own
        assert len(own) == size


def test_a_token_of_another_base_is_told(base: BaseSource, hub: Path, tmp_path: Path) -> None:
    other = loading.open_base("other", hub / ("sdxl" if base.family.name == "sd15" else "sd15"))
    wide = {encoder: torch.ones(width + 8) for encoder, width in widths(base).items()}
    files = [
        write(other, tmp_path / "other.safetensors"),
        textual_inversion.save_embeddings(wide, "<sks>", tmp_path / "wide.safetensors"),
    ]
    for file in files:
        with pytest.raises(UserError) as caught:
            textual_inversion.check_file(file, base)
        assert caught.value.code == "wrong_base"


@pytest.mark.parametrize(
    "rows",
    [
        {},
        {"clip_l": torch.ones(48)},
        {"clip_l": torch.ones(48), "clip_h": torch.ones(64)},
        {"clip_l": torch.ones(48), "clip_g": torch.full((64,), torch.nan)},
        {"<sks>": torch.full((32,), torch.inf)},
        {"<sks>": torch.ones(2, 32)},
        {"<sks>": torch.ones(32, dtype=torch.int64)},
        None,
    ],
)
def test_a_broken_token_is_told(base: BaseSource, tmp_path: Path, rows: dict[str, torch.Tensor] | None) -> None:
    file = tmp_path / "tokens.safetensors"
    if rows is None:
        file.write_bytes(write(base, file).read_bytes()[:100])
    else:
        save_file(rows, file)
    with pytest.raises(UserError, match=r"tokens\.safetensors") as caught:
        textual_inversion.check_file(file, base)
    assert caught.value.code == "broken_identity"
