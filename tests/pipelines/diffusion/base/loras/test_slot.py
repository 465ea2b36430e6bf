"""The LoRA slot: a person's LoRA of U-Net and text encoders draws as stock diffusers draws the exported files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.diffusion.base import loading, lora
from pipelines.diffusion.base.family import LORA_TARGETS, TEXT_LORA_TARGETS
from pipelines.diffusion.base.loras import blocks
from pipelines.diffusion.base.loras.layers import layers_of
from pipelines.diffusion.base.loras.named_models import PlannedLora
from pipelines.diffusion.base.loras.slot import AdapterCache
from pipelines.diffusion.base.parts import single_file
from pipelines.diffusion.base.source import BaseSource
from pipelines.settings import BaseLocation, Settings
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions, LoraChoice, PromptSpec
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
    return lora.write_both(weights, base.family, base.config("unet"), "sks", folder)


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
    lora.check_person_lora(file, base)
    cache = AdapterCache(lambda: layers_of(base), torch.float32, torch.device("cpu"))
    named, plain = cache.get(lora.save_weights(weights, tmp_path / "named.safetensors")), cache.get(file)
    assert {part: list(each.pairs) for part, each in named.items()} == {
        part: list(each.pairs) for part, each in plain.items()
    }


def test_a_lora_of_another_base_is_told_from_one_that_cannot_be_drawn_with(
    base: BaseSource, hub: Path, tmp_path: Path
) -> None:
    other = loading.open_base("other", hub / ("sdxl" if base.family.name == "sd15" else "sd15"))
    another = {"transformer.blocks.0.attn.to_q" + end: torch.ones(4, 4) for end in (lora.DOWN, lora.UP)}
    cases = [
        (trained(other, "unet"), "wrong_base", "another base"),
        (trained(other, *all_parts(other)[1:]), "wrong_base", "another base"),
        (another, "wrong_base", "another base"),
        ({**trained(base, "unet"), "unet.conv_in.dora_scale": torch.ones(4)}, "broken_identity", "a DoRA"),
    ]
    for number, (weights, code, says) in enumerate(cases):
        file = tmp_path / f"{number}.safetensors"
        save_file(weights, file)
        with pytest.raises(UserError, match=says) as caught:
            lora.check_person_lora(file, base)
        assert caught.value.code == code, number


def locon(base: BaseSource, rank: int, scale: float = 0.05) -> lora.Weights:
    """Random factors of every linear layer and convolution of the U-Net, as a LoCon has them."""
    random = torch.Generator().manual_seed(9)
    weights: lora.Weights = {}
    for name, module in loading.empty_denoiser(base).named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            out, width, *kernel = module.weight.shape
            weights[f"unet.{name}{lora.DOWN}"] = scale * torch.randn(rank, width, *kernel, generator=random)
            ones = [1] * len(kernel)
            weights[f"unet.{name}{lora.UP}"] = scale * torch.randn(out, rank, *ones, generator=random)
    return weights


def styled(painter: Any, base: BaseSource, *loras: PlannedLora) -> np.ndarray:
    """A drawing without a person's LoRA, with those of styles."""
    who = Identity("somebody", (), {}, loras[0].file, "sks", "person", base.name)
    given = GenerationOptions(identities=("lora",), scheduler="own", steps=STEPS, guidance=GUIDANCE)
    plan = painter.plan(hub_store.request(who, PromptSpec("a photo of sks person", "low quality"), given))
    made = replace(plan, loras=loras, identities=(), parameters=replace(plan.parameters, size=Size(64, 64)))
    return hub_store.pixels(painter, made)


def test_a_locon_and_a_larger_rank_draw_as_stock_diffusers_draws_them(
    base: BaseSource, painter: Any, tmp_path: Path
) -> None:
    attention = trained(base, *all_parts(base))
    small, _ = exported(base, attention, tmp_path / "small")
    before = drawn(painter, base, small)
    whole = lora.save_weights(locon(base, base.family.rank + 3), tmp_path / "locon.safetensors")
    expected = stock(base, whole)
    assert np.abs(expected - stock(base, None)).max() > 1e-3, "it changes the picture"
    assert np.abs(drawn(painter, base, whole) - expected).max() <= 1e-4
    style = PlannedLora(LoraChoice("locon"), whole)
    assert np.abs(styled(painter, base, style) - expected).max() <= 1e-4, "as a style's, too"
    # Slots that have grown hold nothing of it for the next person.
    assert np.abs(drawn(painter, base, small) - before).max() <= 1e-5


def scaled_by_hand(base: BaseSource, weights: lora.Weights, by_block: dict[str, float]) -> lora.Weights:
    """Factors times the weight of the block that the module's name in single files says."""

    def factor(name: str) -> float:
        part, _, module = name.removesuffix(lora.UP).partition(".")
        if part != "unet":
            return by_block["BASE"]
        place, number, *_ = [*single_file.unet_name(module, base.config("unet")).split("."), "0"]
        prefix = {"input_blocks": "IN", "middle_block": "M", "output_blocks": "OUT"}.get(place)
        return by_block["BASE" if prefix is None else "M00" if prefix == "M" else f"{prefix}{int(number):02}"]

    return {name: each * factor(name) if name.endswith(lora.UP) else each for name, each in weights.items()}


def test_block_weights_scale_the_modules_of_their_blocks(base: BaseSource, painter: Any, tmp_path: Path) -> None:
    config = base.config("unet")
    weights = locon(base, 2, 0.1) | {
        name: each for name, each in trained(base, *all_parts(base)).items() if not name.startswith("unet.")
    }
    file = lora.save_weights(weights, tmp_path / "whole.safetensors")
    plain = styled(painter, base, PlannedLora(LoraChoice("style", 0.8), file))
    names = blocks.attention_blocks(config) if base.family.name == "sdxl" else blocks.all_blocks(config)
    given = [round(0.2 + 0.15 * place, 2) for place in range(len(names))]
    by_block = dict.fromkeys(blocks.all_blocks(config), given[0]) | dict(zip(names, given, strict=True))
    by_hand = lora.save_weights(scaled_by_hand(base, weights, by_block), tmp_path / "by-hand.safetensors")
    weighed = styled(painter, base, PlannedLora(LoraChoice("style", 0.8, blocks=tuple(given)), file))
    assert np.abs(weighed - styled(painter, base, PlannedLora(LoraChoice("style", 0.8), by_hand))).max() <= 1e-5
    assert np.abs(weighed - plain).max() > 1e-3
    with pytest.raises(UserError, match="3 block weights were given") as caught:
        blocks.weights_by_block([1, 0, 1], config)
    assert caught.value.code == "bad_blocks"


def test_text_encoders_have_a_strength_of_their_own(base: BaseSource, painter: Any, tmp_path: Path) -> None:
    weights = trained(base, *all_parts(base))
    file = lora.save_weights(weights, tmp_path / "both.safetensors")
    unet = {name: each for name, each in weights.items() if name.startswith("unet.")}
    alone = lora.save_weights(unet, tmp_path / "unet.safetensors")
    silent = styled(painter, base, PlannedLora(LoraChoice("style", 1.0, text_strength=0.0), file))
    assert np.abs(silent - styled(painter, base, PlannedLora(LoraChoice("style"), alone))).max() <= 1e-5
    assert np.abs(silent - styled(painter, base, PlannedLora(LoraChoice("style"), file))).max() > 1e-3


def test_the_published_lists_of_blocks() -> None:
    cross, plain = "CrossAttnDownBlock2D", "DownBlock2D"
    sd15 = {
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
        "down_block_types": [cross, cross, cross, plain],
        "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    }
    sdxl = {
        "block_out_channels": [320, 640, 1280],
        "layers_per_block": 2,
        "down_block_types": [plain, cross, cross],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    }
    inner = ["IN01", "IN02", "IN04", "IN05", "IN07", "IN08"]
    assert blocks.attention_blocks(sd15) == ["BASE", *inner, "M00", *(f"OUT{number:02}" for number in range(3, 12))]
    assert blocks.attention_blocks(sdxl) == ["BASE", *inner[2:], "M00", *(f"OUT{number:02}" for number in range(6))]
    assert (len(blocks.all_blocks(sd15)), len(blocks.all_blocks(sdxl))) == (26, 20)
