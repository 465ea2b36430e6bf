"""Generating a person with a LoRA on SDXL: this project, and a plain InstantID-style call of diffusers, in one run.

`python -m tests.benchmarks.drawing FOLDER sdxl` writes SDXL, IdentityNet and a LoRA with random weights (10 GB) and
measures: networks take as long whatever their weights are. `tiny` does the same with tiny ones, to see that all of it runs.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipelines.diffusion.base import device
from pipelines.engines.identities.instantid import default_landmarks, draw_landmarks
from pipelines.engines.painters.diffusion import Diffusion
from pipelines.settings import BaseLocation, DrawSettings, ModelStoreSettings, Settings
from portrait.arrays import Size
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.types import Identity
from tests import hub_store, insight_tiny, tiny, tiny_hub
from tests.benchmarks.test_slot_speed import XL, lora

PROMPT, NEGATIVE = "a photo of a sks man in a studio", "low quality"
ROUNDS = 3
COMPILED = ("best, compiled", "fast, compiled")
STEPS = {"best": 40, "balanced": 25, "fast": 6}
"""Of the presets; the plain call takes as many as `best`."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the networks are."""

    side: int
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text: tuple[Mapping[str, Any], Mapping[str, Any]]
    hints: tuple[int, ...]
    """Channels of the control network's eye."""
    heads: int
    """Of the resampler that makes face tokens."""
    dtype: torch.dtype


SHAPES = {
    "tiny": Shape(
        64,
        {**tiny_hub.XL, "sample_size": 8, "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")},
        {"block_out_channels": (16, 16, 32, 32), "norm_num_groups": 8},
        ({"hidden_size": 48, "projection_dim": 48}, {"hidden_size": 80, "projection_dim": 40}),
        (8, 8, 16, 32),
        1,
        torch.float32,
    ),
    # As published.
    "sdxl": Shape(
        1024,
        XL,
        {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
        (
            {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
            {
                "hidden_size": 1280,
                "intermediate_size": 5120,
                "num_hidden_layers": 32,
                "num_attention_heads": 20,
                "projection_dim": 1280,
            },
        ),
        (16, 32, 96, 256),
        20,
        torch.bfloat16,
    ),
}


def write(root: Path, size: str, where: torch.device) -> tuple[Settings, Path]:
    """Base, InstantID and a person's LoRA with random weights; the settings, and the LoRA's file."""
    shape = SHAPES[size]
    torch.manual_seed(0)
    with where:
        unet: Any = UNet2DConditionModel(**shape.unet)
    unet.to(shape.dtype)
    _base(root / "base", unet, shape, where)
    store = root / "models"
    network: Any = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=shape.hints)
    network.to(shape.dtype).save_pretrained(store / "instantid" / "ControlNetModel")
    cross = int(unet.config["cross_attention_dim"])
    inner = 64 * shape.heads
    tokens = tiny_hub.resampler(inner, tiny_hub.FACE, cross, heads=shape.heads, queries=16)
    adapter = {"image_proj": tokens, "ip_adapter": tiny_hub.image_attention(unet)}
    torch.save(adapter, store / "instantid" / "ip-adapter.bin")
    insight_tiny.write_pack(store / "antelopev2", "scrfd_10g_bnkps.onnx", "glintr100.onnx")
    for unused in ("1k3d68", "2d106det", "genderage"):
        (store / "antelopev2" / f"{unused}.onnx").touch()
    _quick(store / "lcm_sdxl", unet)
    file = lora(unet.to("cpu"), root / "person.safetensors", 1)
    settings = Settings(models=ModelStoreSettings(folder=store), bases={"xl": BaseLocation(root / "base")})
    return replace(settings, draw=DrawSettings(base="xl", device=where.type)), file  # pyrefly: ignore[bad-argument-type] -- cpu or cuda


def _base(folder: Path, unet: Any, shape: Shape, where: torch.device) -> None:
    vocabulary, _ = tiny.vocabulary()
    kinds = (CLIPTextModel, CLIPTextModelWithProjection)
    shared: dict[str, Any] = {"vocab_size": len(vocabulary), "max_position_embeddings": 77}
    shared |= {"eos_token_id": vocabulary[tiny.END], "bos_token_id": vocabulary[tiny.START]}
    usual: dict[str, Any] = {"num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    levels: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    with where:
        vae: Any = AutoencoderKL(latent_channels=4, sample_size=shape.side, force_upcast=False, **levels, **shape.vae)
        texts: list[Any] = [
            kind(CLIPTextConfig(**shared, **{**usual, **text})) for kind, text in zip(kinds, shape.text, strict=True)
        ]
    for text in texts:
        text.to(shape.dtype)
    parts: dict[str, Any] = {
        "unet": unet,
        "vae": vae.to(shape.dtype),
        "text_encoder": texts[0],
        "text_encoder_2": texts[1],
        "tokenizer": tiny.tokenizer(folder / "tokenizer"),
        "tokenizer_2": tiny.tokenizer(folder / "tokenizer_2", pad="!"),
        "scheduler": EulerDiscreteScheduler(**tiny.BETAS, steps_offset=1, timestep_spacing="leading"),
    }
    StableDiffusionXLPipeline(**parts).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer")
    tiny.tokenizer(folder / "tokenizer_2", pad="!")


def _quick(folder: Path, unet: Any) -> None:
    """In the place of the LoRA that lets few steps suffice."""
    folder.mkdir(parents=True)
    lora(unet, folder / "pytorch_lora_weights.safetensors", 2)


PLAIN = "plain, 40 steps"


class Plain:
    """InstantID as its own example calls it: stock pipeline, the person's LoRA loaded anew for each portrait."""

    def __init__(self, settings: Settings, file: Path, who: Identity, dtype: torch.dtype, where: torch.device) -> None:
        folder = settings.models.folder / "instantid"
        network = ControlNetModel.from_pretrained(folder / "ControlNetModel", torch_dtype=dtype)
        pipe: Any = StableDiffusionXLControlNetPipeline.from_pretrained(
            settings.bases["xl"].path, controlnet=network, torch_dtype=dtype
        )
        pipe.to(where)
        pipe.set_progress_bar_config(disable=True)
        pipe.load_ip_adapter(str(folder), subfolder="", weight_name="ip-adapter.bin", image_encoder_folder=None)
        pipe.set_ip_adapter_scale(0.8)
        self._pipe: Any = pipe
        self._file = file
        face = torch.from_numpy(who.references[0].face.embeddings["antelopev2"])[None, None, None].to(where, dtype)
        self._embeds, self._face = torch.cat([torch.zeros_like(face), face]), who.references[0].face

    def __call__(self, size: Size, steps: int) -> None:
        """One portrait."""
        self._pipe.load_lora_weights(str(self._file), adapter_name="person")
        points = draw_landmarks(default_landmarks(self._face, size), size)
        self._pipe(
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            image=Image.fromarray(points),
            controlnet_conditioning_scale=0.8,
            ip_adapter_image_embeds=[self._embeds],
            width=size.width,
            height=size.height,
            num_inference_steps=steps,
            guidance_scale=5.0,
            generator=torch.Generator("cpu").manual_seed(0),
        )
        self._pipe.delete_adapters("person")

    def close(self) -> None:
        """Give the memory back."""
        self._pipe = None


def measure(root: Path, size: str, where: torch.device) -> dict[str, dict[str, float]]:
    """Seconds of a portrait, the median of a few after one that is not counted, and the most memory it took, GB."""
    shape = SHAPES[size]
    settings, file = write(root, size, where)
    who = replace(hub_store.stranger(1), lora=file, trigger="sks", base="xl")
    sides = Size(shape.side, shape.side)
    found: dict[str, dict[str, float]] = {}
    plain = Plain(settings, file, who, shape.dtype, where)
    found[PLAIN] = _timed(lambda: plain(sides, STEPS["best"]), where)
    plain.close()
    for name in (*STEPS, *COMPILED):
        preset = name.removesuffix(", compiled")
        painter = hub_store.painter(replace(settings, draw=replace(settings.draw, compile=name in COMPILED)))
        found[name] = _timed(lambda: _portrait(painter, who, sides, preset), where)  # noqa: B023 -- called at once
        painter.close()
    return found


def _portrait(painter: Diffusion, who: Identity, size: Size, preset: Any) -> np.ndarray:
    options = GenerationOptions(identities=("lora", "instantid"), preset=preset, steps=STEPS[preset])
    scene = PromptSpec("a photo of a {who} in a studio", NEGATIVE)
    return painter.paint(hub_store.request(who, scene, options, size=size), _silent)[0].image


def _silent(done: int, total: int, doing: str, preview: Any = None) -> None:
    pass


def _timed(act: Callable[[], object], where: torch.device) -> dict[str, float]:
    device.release_memory(where)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        act()
        if where.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    taken = torch.cuda.max_memory_allocated() / 1e9 if where.type == "cuda" else float("nan")
    return {"seconds": median(seconds[1:]), "memory": taken}


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """For docs/benchmarks.md."""
    first = next(iter(found.values()))["seconds"]
    rows = [
        f"| {name} | {each['seconds']:.2f} | {each['memory']:.1f} | {first / each['seconds']:.1f} |"
        for name, each in found.items()
    ]
    return "\n".join(["| portrait | s | GB | times faster |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    given = measure(Path(sys.argv[1]), sys.argv[2], torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    sys.stdout.write(table(given) + "\n" + json.dumps(given) + "\n")
