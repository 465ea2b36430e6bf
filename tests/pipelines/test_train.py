"""Merging identities: updates and learned tokens by their shares, or a sentence that says why not."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from pipelines.diffusion.base import loading, lora, textual_inversion
from pipelines.diffusion.base.family import LORA_TARGETS, TEXT_LORA_TARGETS
from pipelines.diffusion.base.source import BaseSource
from pipelines.folders import identities
from pipelines.folders.identities import StoredIdentity
from pipelines.train import Train
from portrait.errors import UserError
from tests.pipelines.engines import tiny_training

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Part:
    """An identity to be merged, with weights that its number makes up."""

    number: int
    rank: int = 4
    trigger: str = "<sks>"
    text: bool = False
    row: float | None = 1.0
    """All values of its token; None: no token."""

    def write(self, base: BaseSource, folder: Path) -> StoredIdentity:
        """As a training leaves it, in a folder of its number."""
        names = ["unet", *(["text_encoder"] if self.text else [])]
        components = loading.load_components(base, torch.float32, names)
        for name in names:
            lora.add_adapter(components[name], self.rank, LORA_TARGETS if name == "unet" else TEXT_LORA_TARGETS, 0)
        random = torch.Generator().manual_seed(self.number)
        weights = {
            name: torch.randn(each.shape, generator=random) for name, each in lora.get_weights(components).items()
        }
        files = {identities.LORA_FILE: lora.save_weights(weights, folder / f"{self.number}.safetensors")}
        if self.row is not None:
            encoders = [encoder for _, encoder in base.family.text_encoders]
            rows = {name: torch.full((base.config(name)["hidden_size"],), self.row) for name in encoders}
            file = folder / f"{self.number}-tokens.safetensors"
            files[identities.TOKENS_FILE] = textual_inversion.save_embeddings(rows, self.trigger, file)
        description = {
            "schema": 1,
            "id": str(self.number),
            "trigger": self.trigger,
            "class_word": "person",
            "rank": self.rank,
            "base": {"name": base.name, "family": base.family.name, "hash": "ab"},
            "steps": 1,
            "likeness": {},
            "unet": base.config("unet"),
            "packages": {},
            "chosen": "step 1",
            "notes": [],
            "losses": [],
            "scores": {"looks": [], "held_out": {}},
        }
        return identities.write(folder / str(self.number), description, files, "")


def merged(base: BaseSource, folder: Path, parts: list[Part], shares: list[float]) -> StoredIdentity:
    trainer = tiny_training.trainer(base.path.parent, tiny_training.PLAIN)
    work_dir = folder / "work"
    work_dir.mkdir()
    return Train(trainer).merge([part.write(base, folder) for part in parts], shares, folder / "merged", work_dir)


def test_updates_and_tokens_are_averaged_by_their_shares(base: BaseSource, tmp_path: Path) -> None:
    made = merged(base, tmp_path, [Part(1, rank=2, row=1.0), Part(2, rank=6, row=5.0)], [1, 3])
    assert made.identity.trigger == "<sks>"
    assert made.identity.tokens is not None
    rows = textual_inversion.load_embeddings(made.identity.tokens, base.family)
    assert {encoder: float(row.mean()) for encoder, row in rows.items()} == dict.fromkeys(rows, 4.0)
    assert {len(row) for row in rows.values()} == {base.config(encoder)["hidden_size"] for encoder in rows}
    one, other, mean = (
        lora.load_weights(tmp_path / name) for name in ("1.safetensors", "2.safetensors", "merged/lora.safetensors")
    )
    assert lora.rank_of(mean) == made.description["rank"] == 6, "that of the first would forget most of the second"
    module = next(name.removesuffix(lora.DOWN) for name in mean if name.endswith(lora.DOWN))
    updates = [each[module + lora.UP] @ each[module + lora.DOWN] for each in (one, other, mean)]
    u, values, v = torch.linalg.svd(0.25 * updates[0] + 0.75 * updates[1])
    nearest = u[:, :6] * values[:6] @ v[:6]
    assert torch.allclose(updates[2], nearest, atol=1e-4)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Part(2, trigger="<abc>"), "different words"),
        (Part(2, row=None), "learned token"),
        (Part(2, text=True), "text encoders"),
    ],
)
def test_what_has_no_mean_is_refused(hub: Path, tmp_path: Path, other: Part, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        merged(loading.open_base("sd15", hub / "sd15"), tmp_path, [Part(1), other], [1, 1])
    assert caught.value.code == "cannot_merge"
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("shares", [[1.0], [1.0, 0.0], [1.0, float("inf")], [1.0, float("nan")]])
def test_shares_are_one_a_part_and_above_zero(hub: Path, tmp_path: Path, shares: list[float]) -> None:
    with pytest.raises(UserError, match="one share above 0"):
        merged(loading.open_base("sd15", hub / "sd15"), tmp_path, [Part(1), Part(2)], shares)
