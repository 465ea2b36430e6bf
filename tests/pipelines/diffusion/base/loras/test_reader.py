"""LoRA files of every program: each naming in each precision is read as what was written; everything else says what it is."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.diffusion.base import loading
from pipelines.diffusion.base.loras.layers import BaseLayers, layers_of
from pipelines.diffusion.base.loras.reader import LoraError, read_lora
from pipelines.diffusion.base.parts import single_file
from pipelines.diffusion.base.source import BaseSource

pytestmark = pytest.mark.usefixtures("one_thread")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
QUERY = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
UNET = (
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
)
FURTHER = (
    "mid_block.attentions.0.transformer_blocks.0.ff.net.2",
    "mid_block.attentions.0.proj_in",
    "mid_block.resnets.0.conv1",
    "down_blocks.0.downsamplers.0.conv",
    "time_embedding.linear_1",
)
"""What a LoCon changes beside attention: feed-forward, 1×1 and 3×3 convolutions, embeddings."""
TEXT = ("encoder.layers.0.self_attn.q_proj", "encoder.layers.1.mlp.fc1")

Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Down and up of each module, by its name in diffusers with its component."""
Naming = Callable[[str, BaseSource], tuple[str, str, str]]
"""A module's keys for down, up and alpha in the names of a program."""


@cache
def known_layers(path: Path, family: str) -> BaseLayers:
    return layers_of(loading.open_base(family, path))


def shapes(base: BaseSource) -> dict[str, tuple[int, ...]]:
    """Shapes of the layers that the test LoRA changes, by name with component."""
    parts = {"unet": loading.empty_denoiser(base)}
    parts |= {name: loading.empty_text_encoder(base, name) for _, name in base.family.text_encoders}
    return {
        f"{part}.{name}": tuple(network.get_submodule(name).weight.shape)
        for part, network in parts.items()
        for name in ((*UNET, *FURTHER) if part == "unet" else TEXT)
    }


def factors(base: BaseSource) -> Factors:
    """Random factors of ranks that differ from module to module."""
    random = torch.Generator().manual_seed(3)
    made: Factors = {}
    for number, (name, shape) in enumerate(shapes(base).items()):
        rank = 2 + number % 3
        kernel = shape[2:]
        down = torch.randn(rank, shape[1], *kernel, generator=random)
        made[name] = (down, torch.randn(shape[0], rank, *(1,) * len(kernel), generator=random))
    return made


def inside(name: str) -> str:
    """A module's name in its component, text encoders with `text_model`."""
    part, _, module = name.partition(".")
    return module if part == "unet" else f"text_model.{module}"


def diffusers(name: str, base: BaseSource) -> tuple[str, str, str]:
    stem = f"{name.partition('.')[0]}.{inside(name)}"
    return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight", f"{stem}.alpha"


def earlier_diffusers(name: str, base: BaseSource) -> tuple[str, str, str]:
    stem = f"{name.partition('.')[0]}.{inside(name)}"
    layer = ".lora_linear_layer" if not name.startswith("unet.") else ".lora"
    return f"{stem}{layer}.down.weight", f"{stem}{layer}.up.weight", f"{stem}.alpha"


def attention_processors(name: str, base: BaseSource) -> tuple[str, str, str]:
    part, _, module = name.partition(".")
    if found := re.fullmatch(r"(.+\.attn\d)\.(to_q|to_k|to_v|to_out)(\.0)?", module):
        stem = f"{part}.{found[1]}.processor.{found[2]}_lora"
    elif found := re.fullmatch(r"(.+\.self_attn)\.([qkv])_proj", module):
        stem = f"{part}.text_model.{found[1]}.to_{found[2]}_lora"
    else:
        return earlier_diffusers(name, base)
    return f"{stem}.down.weight", f"{stem}.up.weight", f"{stem}.alpha"


def peft(name: str, base: BaseSource) -> tuple[str, str, str]:
    stem = f"base_model.model.{name.partition('.')[0]}.{inside(name)}"
    return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight", f"{stem}.alpha"


def peft_with_adapter(name: str, base: BaseSource) -> tuple[str, str, str]:
    stem = f"base_model.model.{name.partition('.')[0]}.{inside(name)}"
    return f"{stem}.lora_A.default.weight", f"{stem}.lora_B.default.weight", f"{stem}.alpha"


def kohya_prefix(name: str, base: BaseSource) -> str:
    part = name.partition(".")[0]
    first = "lora_te" if base.family.name == "sd15" else "lora_te1"
    return {"unet": "lora_unet", "text_encoder": first, "text_encoder_2": "lora_te2"}[part]


def kohya_keys(stem: str) -> tuple[str, str, str]:
    return f"{stem}.lora_down.weight", f"{stem}.lora_up.weight", f"{stem}.alpha"


def kohya(name: str, base: BaseSource) -> tuple[str, str, str]:
    return kohya_keys(f"{kohya_prefix(name, base)}_{inside(name).replace('.', '_')}")


def kohya_single_file_blocks(name: str, base: BaseSource) -> tuple[str, str, str]:
    module = inside(name)
    if name.startswith("unet."):
        module = single_file.unet_name(module, base.config("unet"))
    return kohya_keys(f"{kohya_prefix(name, base)}_{module.replace('.', '_')}")


def onetrainer(name: str, base: BaseSource) -> tuple[str, str, str]:
    return kohya_keys(f"{kohya_prefix(name, base)}.{inside(name)}")


def onetrainer_omi(name: str, base: BaseSource) -> tuple[str, str, str]:
    part, module = name.partition(".")[0], inside(name)
    if part == "unet":
        module = single_file.unet_name(module, base.config("unet"))
    prefix = {"unet": "unet", "text_encoder": "clip_l", "text_encoder_2": "clip_g"}[part]
    return kohya_keys(f"{prefix}.{module}")


NAMINGS: tuple[Naming, ...] = (
    diffusers,
    earlier_diffusers,
    attention_processors,
    peft,
    peft_with_adapter,
    kohya,
    kohya_single_file_blocks,
    onetrainer,
    onetrainer_omi,
)


@pytest.mark.parametrize("naming", NAMINGS, ids=lambda naming: naming.__name__)
def test_each_naming_is_read_in_each_precision(base: BaseSource, tmp_path: Path, naming: Naming) -> None:
    written, layers = factors(base), known_layers(base.path, base.family.name)
    for dtype in DTYPES:
        stored: dict[str, torch.Tensor] = {}
        for name, (down, up) in written.items():
            keys = naming(name, base)
            stored[keys[0]], stored[keys[1]] = down.to(dtype), up.to(dtype)
            if naming is not kohya_single_file_blocks:  # one of them without alpha, which is the rank then
                stored[keys[2]] = torch.tensor(1.0)
        save_file(stored, tmp_path / "lora.safetensors")
        read = layers.fit(read_lora(tmp_path / "lora.safetensors"))
        found = {f"{part}.{module}": pair for part, each in read.items() for module, pair in each.pairs.items()}
        assert found.keys() == written.keys()
        for name, (down, up) in written.items():
            scale = 1.0 if naming is kohya_single_file_blocks else 1.0 / down.shape[0]
            assert torch.equal(found[name][0].float(), down.to(dtype).float()), (name, dtype)
            assert torch.equal(found[name][1].float(), up.to(dtype).float() * scale), (name, dtype)


def test_a_1x1_kernel_may_be_written_or_not(base: BaseSource, tmp_path: Path) -> None:
    layers, name = known_layers(base.path, base.family.name), "unet.mid_block.attentions.0.proj_in"
    out, width = shapes(base)[name][:2]
    down, up = torch.randn(2, width), torch.randn(out, 2)
    both = []
    for ones in ((), (1, 1)):
        keys = kohya(name, base)
        save_file(
            {keys[0]: down.reshape(2, width, *ones), keys[1]: up.reshape(out, 2, *ones)}, tmp_path / "lora.safetensors"
        )
        both.append(layers.fit(read_lora(tmp_path / "lora.safetensors"))["unet"].pairs[name.removeprefix("unet.")])
    assert all(torch.equal(one, other) for one, other in zip(*both, strict=True))


def test_alpha_of_metadata_and_of_pefts_configuration_are_read(base: BaseSource, tmp_path: Path) -> None:
    down, up = factors(base)[QUERY]
    stored = {f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up}
    rank, file = down.shape[0], tmp_path / "lora.safetensors"
    cases = [
        ({"unet.lora_alpha": 8}, 8 / rank),
        ({"unet.lora_alpha": 8, "unet.use_rslora": True}, 8 / rank**0.5),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 3}}, 3 / rank),
        ({"text_encoder.lora_alpha": 8}, 1.0),
    ]
    for metadata, scale in cases:
        save_file(stored, file, {"lora_adapter_metadata": json.dumps(metadata)})
        assert next(iter(read_lora(file).modules.values())).scale == pytest.approx(scale)
    beside = tmp_path / "adapter_model.safetensors"
    save_file(
        {
            f"base_model.model.{QUERY.removeprefix('unet.')}.lora_{each}.weight": stored[f"{QUERY}.lora_{each}.weight"]
            for each in "AB"
        },
        beside,
    )
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 6}))
    assert next(iter(read_lora(beside).modules.values())).scale == pytest.approx(6 / rank)


def faults(base: BaseSource) -> dict[str, tuple[Mapping[str, torch.Tensor] | bytes, str, str]]:
    """Files that are no LoRA of this base, by name, with code and what is said."""
    out, width = shapes(base)[QUERY]
    good = {f"{QUERY}.lora_A.weight": torch.ones(2, width), f"{QUERY}.lora_B.weight": torch.ones(out, 2)}
    down, up = good
    stem = kohya(QUERY, base)[0].removesuffix(".lora_down.weight")
    plain = {f"{stem}.lora_down.weight": torch.ones(2, width), f"{stem}.lora_up.weight": torch.ones(out, 2)}
    context = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    rows, wide = shapes(base)[context]
    one = torch.ones(2, 2)
    return {
        "dora": ({**plain, f"{stem}.dora_scale": one}, "unsupported_lora", "a DoRA"),
        "peft dora": ({**good, f"{QUERY}.lora_magnitude_vector": one}, "unsupported_lora", "a DoRA"),
        "loha": ({f"{stem}.hada_w1_a": one}, "unsupported_lora", "a LoHa"),
        "lokr": ({f"{stem}.lokr_w1": one}, "unsupported_lora", "a LoKr"),
        "oft": ({f"{stem}.oft_blocks": one}, "unsupported_lora", "an OFT"),
        "full": ({f"{stem}.diff": one}, "unsupported_lora", "whole weights"),
        "ia3": ({f"{stem}.weight": one, f"{stem}.on_input": one[0]}, "unsupported_lora", "an IA3"),
        "glora": ({f"{stem}.a1.weight": one}, "unsupported_lora", "a GLoRA"),
        "tucker": ({**plain, f"{stem}.lora_mid.weight": one}, "unsupported_lora", "third factor"),
        "bundled": ({**plain, "bundle_emb.sks.string_to_param.*": one}, "unsupported_lora", "embeddings in it"),
        "flux": (
            {f"lora_unet_double_blocks_0_img_attn_proj.lora_{each}.weight": one for each in ("down", "up")},
            "wrong_base",
            "made for FLUX",
        ),
        "qwen-image": (
            {f"lora_unet_transformer_blocks_0_img_mlp_net_2.lora_{each}.weight": one for each in ("down", "up")},
            "wrong_base",
            "made for Qwen-Image",
        ),
        "z-image": (
            {f"layers.0.attention.to_q.lora_{each}.weight": one for each in "AB"},
            "wrong_base",
            "made for Z-Image",
        ),
        "sd3": (
            {f"transformer.joint_blocks.0.attn.lora_{each}.weight": one for each in "AB"},
            "wrong_base",
            "Stable Diffusion 3",
        ),
        "transformer": (
            {f"transformer.blocks.0.attn.to_q.lora_{each}.weight": one for each in "AB"},
            "wrong_base",
            "a transformer",
        ),
        "third encoder": (
            {
                "text_encoder_3.encoder.layers.0.q.lora_A.weight": one,
                "text_encoder_3.encoder.layers.0.q.lora_B.weight": one,
            },
            "wrong_base",
            "Stable Diffusion 3",
        ),
        "nan": ({**good, up: torch.full((out, 2), torch.nan)}, "bad_lora", "not numbers or infinite"),
        "infinite": ({**good, down: torch.full((2, width), torch.inf)}, "bad_lora", "not numbers or infinite"),
        "nan in float8": (
            {**good, down: torch.full((2, width), torch.nan).to(torch.float8_e5m2)},
            "bad_lora",
            "not numbers or infinite",
        ),
        "nan alpha": ({**good, f"{QUERY}.alpha": torch.tensor(torch.nan)}, "bad_lora", "not numbers or infinite"),
        "integers": ({**good, down: torch.ones(2, width, dtype=torch.int8)}, "bad_lora", "int8 numbers"),
        "a factor alone": ({down: good[down]}, "bad_lora", "factors are missing"),
        "other ranks": ({**good, up: torch.ones(out, 3)}, "bad_lora", "do not fit each other"),
        "rank zero": ({down: torch.ones(0, width), up: torch.ones(out, 0)}, "bad_lora", "do not fit each other"),
        "vectors": ({down: torch.ones(8), up: torch.ones(6)}, "bad_lora", "do not fit each other"),
        "two alphas": ({**good, f"{QUERY}.alpha": torch.ones(2)}, "bad_lora", "no single number"),
        "twice": ({**good, **plain}, "bad_lora", "is there twice"),
        "other shapes": ({**good, down: torch.ones(2, width + 1)}, "bad_lora", "other shapes"),
        "another kernel": (
            {
                "unet.mid_block.resnets.0.conv1.lora_A.weight": torch.ones(2, out, 5, 5),
                "unet.mid_block.resnets.0.conv1.lora_B.weight": torch.ones(out, 2, 1, 1),
            },
            "bad_lora",
            "other shapes",
        ),
        "other text width": (
            {f"{context}.lora_A.weight": torch.ones(2, wide + 8), f"{context}.lora_B.weight": torch.ones(rows, 2)},
            "wrong_base",
            "another base",
        ),
        "unknown module": (
            {f"unet.nowhere.to_q.lora_{each}.weight": torch.ones(2, 2) for each in "AB"},
            "wrong_base",
            "does not have",
        ),
        "something else": ({**good, "unet.something": torch.ones(1)}, "bad_lora", "no part of a LoRA"),
        "a base": ({"model.diffusion_model.out.2.weight": one}, "bad_lora", "a whole base model"),
        "a vae": ({"encoder.conv_in.weight": one}, "bad_lora", "a VAE"),
        "an embedding": ({"emb_params": one}, "bad_lora", "an embedding"),
        "a unet": ({"conv_in.weight": one}, "bad_lora", "a U-Net"),
        "nothing in it": ({}, "bad_lora", "holds no weights"),
        "no bytes": (b"", "bad_lora", "it is empty"),
        "a page": (b"<!doctype html><html>not found</html>", "bad_lora", "a web page"),
        "a pickle": (b"PK\x03\x04" + bytes(60), "bad_lora", "a pickled file"),
        "noise": (b"no weights at all", "bad_lora", "cannot be read"),
    }


def test_each_fault_is_told_as_what_it_is(base: BaseSource, tmp_path: Path) -> None:
    layers, file = known_layers(base.path, base.family.name), tmp_path / "lora.safetensors"
    for name, (content, code, says) in faults(base).items():
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            save_file({key: each.clone() for key, each in content.items()}, file)
        with pytest.raises(LoraError, match=says) as caught:
            layers.fit(read_lora(file))
        assert caught.value.code == code, name
    save_file({f"{QUERY}.lora_A.weight": torch.ones(2, 64), f"{QUERY}.lora_B.weight": torch.ones(64, 2)}, file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(LoraError, match="download it again"):
        read_lora(file)
    with pytest.raises(LoraError, match="is gone"):
        read_lora(tmp_path / "gone.safetensors")


def test_a_lora_of_the_other_family_is_told(base: BaseSource, hub: Path, tmp_path: Path) -> None:
    other = loading.open_base("other", hub / ("sdxl" if base.family.name == "sd15" else "sd15"))
    stored = {
        key: each for name, pair in factors(other).items() for key, each in zip(kohya(name, other), pair, strict=False)
    }
    save_file(stored, tmp_path / "lora.safetensors", {"ss_base_model_version": other.family.kohya_version})
    with pytest.raises(
        LoraError, match=rf"made for another base \(its file says {other.family.kohya_version}\)"
    ) as caught:
        known_layers(base.path, base.family.name).check(read_lora(tmp_path / "lora.safetensors"))
    assert caught.value.code == "wrong_base"
