"""The LoRA slot: a person's LoRA of U-Net and text encoders draws as stock diffusers draws the exported files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.diffusion.base import loading, lora, lora_slot
from pipelines.diffusion.base.family import LORA_TARGETS, TEXT_LORA_TARGETS
from pipelines.diffusion.base.loading import BaseSource
from pipelines.engines.trainers import dreambooth
from pipelines.settings import BaseLocation, Settings
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.types import Identity
from tests import hub_store

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS, GUIDANCE = 2, 4.0


def trained(base: BaseSource, *parts: str, scale: float = 0.3) -> lora.Weights:
    """Random weights of the parts, as a training leaves them."""
    components = loading.load_components(base, torch.float32, parts)
    for part in parts:
        lora.add_adapter(components[part], 4, LORA_TARGETS if part == "unet" else TEXT_LORA_TARGETS, 0)
    random = torch.Generator().manual_seed(5)
    weights = lora.get_weights({part: components[part] for part in parts})
    return {name: scale * torch.randn(each.shape, generator=random) for name, each in weights.items()}


def all_parts(base: BaseSource) -> tuple[str, ...]:
    return ("unet", *(encoder for _, encoder in base.family.text_encoders))


def exported(base: BaseSource, weights: lora.Weights, folder: Path) -> tuple[Path, Path]:
    """Both files of an identity."""
    folder.mkdir()
    return dreambooth._write_loras(weights, base.family, base.config("unet"), "sks", folder)


def stock(base: BaseSource, file: Path | None) -> np.ndarray:
    """A drawing by diffusers alone."""
    pipeline: Any = loading.load_pipeline(base, torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if file is not None:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
    return pipeline(
        "a photo of sks person",
        negative_prompt="low quality",  # diffusers has zeros in place of an empty one for SDXL
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images[0]


@pytest.fixture
def painter(base: BaseSource) -> Any:
    """A painter on the tiny base of each family."""
    made = hub_store.painter(Settings(bases={base.name: BaseLocation(base.path)}))
    yield made
    made.close()


def drawn(painter: Any, base: BaseSource, file: Path) -> np.ndarray:
    """A drawing of the person whose LoRA a file holds, by the product."""
    who = Identity("somebody", (), {}, file, "sks", "person", base.name)
    given = GenerationOptions(
        identities=("lora",), strengths={"lora": 1.0}, scheduler="own", steps=STEPS, guidance=GUIDANCE
    )
    plan = painter.plan(hub_store.request(who, PromptSpec("a photo of {who}", "low quality"), given))
    return hub_store.pixels(painter, replace(plan, parameters=replace(plan.parameters, size=Size(64, 64))))


def test_text_encoders_that_were_trained_draw_as_stock_diffusers_draws_both_files(
    base: BaseSource, painter: Any, tmp_path: Path
) -> None:
    both = trained(base, *all_parts(base))
    ours, webui = exported(base, both, tmp_path / "both")
    alone, _ = exported(
        base, {name: each for name, each in both.items() if name.startswith("unet.")}, tmp_path / "alone"
    )
    with_text, without = drawn(painter, base, ours), drawn(painter, base, alone)
    for expected in (stock(base, ours), stock(base, webui)):
        assert np.abs(with_text - expected).max() <= 1e-4
    # The next person has no text encoders: nothing of this one is left in them.
    assert np.abs(without - stock(base, alone)).max() <= 1e-4
    assert np.abs(with_text - without).max() > 1e-3
    assert np.abs(drawn(painter, base, ours) - with_text).max() == 0
    _, text_alone = exported(
        base, {name: each for name, each in both.items() if not name.startswith("unet.")}, tmp_path / "text"
    )
    expected = stock(base, text_alone)
    assert np.abs(drawn(painter, base, text_alone.with_name("lora.safetensors")) - expected).max() <= 1e-4
    assert np.abs(expected - with_text).max() > 1e-3


def test_files_with_and_without_text_model_in_their_names_are_the_same(base: BaseSource, tmp_path: Path) -> None:
    weights = trained(base, *all_parts(base))
    bare = {name.replace(".text_model.", "."): each for name, each in weights.items()}
    assert bare.keys() != weights.keys()
    file = lora.save_weights(bare, tmp_path / "bare.safetensors")
    lora_slot.check_lora_file(file, base)
    cache = lora_slot.AdapterCache(torch.float32, torch.device("cpu"))
    named, plain = cache.get(lora.save_weights(weights, tmp_path / "named.safetensors")), cache.get(file)
    assert {part: list(each.pairs) for part, each in named.items()} == {
        part: list(each.pairs) for part, each in plain.items()
    }


def test_a_lora_of_another_base_is_told_from_one_that_cannot_be_drawn_with(
    base: BaseSource, hub: Path, tmp_path: Path
) -> None:
    other = loading.open_base("other", hub / ("sdxl" if base.family.name == "sd15" else "sd15"))
    feed_forward = next(
        name
        for name, module in loading.empty_unet(base).named_modules()
        if name.endswith("ff.net.2") and module.in_features
    )
    layer = loading.empty_unet(base).get_submodule(feed_forward)
    inner = {
        f"unet.{feed_forward}{lora.DOWN}": torch.ones(2, layer.in_features),
        f"unet.{feed_forward}{lora.UP}": torch.ones(layer.out_features, 2),
    }
    another = {"transformer.blocks.0.attn.to_q" + end: torch.ones(4, 4) for end in (lora.DOWN, lora.UP)}
    cases = [
        (trained(other, "unet"), "wrong_base", "another base"),
        (trained(other, *all_parts(other)[1:]), "wrong_base", "another base"),
        (another, "wrong_base", "another base"),
        ({**trained(base, "unet"), **inner}, "broken_identity", "only attention is read"),
    ]
    for number, (weights, code, says) in enumerate(cases):
        file = tmp_path / f"{number}.safetensors"
        save_file(weights, file)
        with pytest.raises(UserError, match=says) as caught:
            lora_slot.check_lora_file(file, base)
        assert caught.value.code == code, number
