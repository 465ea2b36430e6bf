"""Files of people's LoRAs: what is learned on and merged, and the reason why something else is not."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.lora import DOWN, UP
from portrait.errors import UserError

ALPHA = ".alpha"
QUERY = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
KOHYA = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
GOOD = {QUERY + DOWN: torch.ones(2, 8), QUERY + UP: torch.ones(6, 2)}


def written(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    save_file(weights, folder / "lora.safetensors")
    return folder / "lora.safetensors"


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({QUERY + DOWN: torch.ones(2, 8)}, "factors are missing"),
        ({**GOOD, QUERY + UP: torch.full((6, 2), torch.nan)}, "not numbers"),
        (
            {"unet.mid_block.conv" + DOWN: torch.ones(2, 8, 3, 3), "unet.mid_block.conv" + UP: torch.ones(6, 2, 1, 1)},
            "LoCon",
        ),
        (
            {f"{KOHYA}.lora_down.weight": torch.ones(2, 8), f"{KOHYA}.lora_up.weight": torch.ones(6, 2)},
            "another program",
        ),
        ({f"base_model.model.{QUERY}{end}": torch.ones(2, 2) for end in (DOWN, UP)}, "another program"),
    ],
)
def test_what_is_no_lora_of_a_person_says_why(tmp_path: Path, weights: dict[str, torch.Tensor], reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        lora.load_weights(written(tmp_path, weights))
    assert caught.value.code == "broken_identity"


def test_alpha_is_multiplied_in_and_every_precision_is_read(tmp_path: Path) -> None:
    alpha = {QUERY + ALPHA: torch.tensor(1.0)}
    half = {QUERY + DOWN: GOOD[QUERY + DOWN], QUERY + UP: 0.5 * GOOD[QUERY + UP]}
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
        read = lora.load_weights(written(tmp_path, {name: each.to(dtype) for name, each in (GOOD | alpha).items()}))
        assert read.keys() == half.keys()
        assert all(torch.equal(read[name], half[name]) for name in half), dtype
        assert {each.dtype for each in read.values()} == {torch.float32}
    assert lora.rank_of(half) == 2


def test_the_rank_is_the_largest_of_all_modules() -> None:
    other = {name.replace("to_q", "to_k"): each for name, each in GOOD.items()}
    other[QUERY.replace("to_q", "to_k") + DOWN] = torch.ones(5, 8)
    assert lora.rank_of(GOOD | other) == 5
