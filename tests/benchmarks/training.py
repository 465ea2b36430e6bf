"""A training step on one base by two programs: ours, and a script that keeps VAE and text encoders in its loop.

`python -m tests.benchmarks.training FOLDER off|light|full|script SIDE STEPS` learns in a process of its own and prints its peak
memory; the first three are ours, by what they compute again.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch
import torch.nn.functional as nn
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from peft import LoraConfig
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipelines.diffusion.base import device, loading
from pipelines.diffusion.base.family import LORA_TARGETS
from pipelines.diffusion.training import run
from pipelines.diffusion.training.run import TrainingRun
from pipelines.engines.trainers.dreambooth import Dreambooth
from pipelines.settings import TrainSettings, ValidationSettings
from portrait.images.resize import crop_to_fill
from portrait.training import Checkpointing, TrainingJob
from portrait.types import Crop, TrainingSet
from tests import fakes, tiny
from tests.pipelines.engines.tiny_training import RecordedProgress

KNOBS = TrainSettings(rank=16, batch=1, flips=False, min_snr=0, caption_drop=0, exam=ValidationSettings(every=0))
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "small": {
        "unet": {"sample_size": 16, "block_out_channels": (64, 128, 128), "attention_head_dim": 8},
        "vae": {"block_out_channels": (32, 64, 128, 128)},
        "text": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 8},
    },
    # As published: 860, 84 and 123 million weights.
    "sd15": {
        "unet": {"sample_size": 64, "block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": 8},
        "vae": {"block_out_channels": (128, 256, 512, 512)},
        "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    },
}


def write(folder: Path, size: str) -> Path:
    """A base of Stable Diffusion 1.5's layout with random weights."""
    torch.manual_seed(0)
    shape = SHAPES[size]
    levels = len(shape["unet"]["block_out_channels"])
    tokens, _ = tiny.vocabulary()
    text: dict[str, Any] = {"vocab_size": len(tokens), "max_position_embeddings": 77, **shape["text"]}
    image: dict[str, Any] = {
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(
            layers_per_block=2 if size == "sd15" else 1,
            cross_attention_dim=shape["text"]["hidden_size"],
            down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
            **shape["unet"],
        ),
        "vae": AutoencoderKL(**image, **shape["vae"]),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
        "tokenizer": tiny.tokenizer(folder / "tokenizer"),
        "scheduler": DDIMScheduler(**tiny.BETAS),
        "safety_checker": None,
        "feature_extractor": None,
    }
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer")
    return folder


def write_sdxl(folder: Path) -> Path:
    """A base of SDXL's published size and layout with random weights: 2.6 billion in the U-Net."""
    torch.manual_seed(0)
    tokens, _ = tiny.vocabulary()
    words = {"vocab_size": len(tokens), "max_position_embeddings": 77}
    second: dict[str, Any] = {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
    }
    shape: dict[str, Any] = {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "cross_attention_dim": 2048,
    }
    image: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "scaling_factor": 0.13025,
    }
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(**shape),
        "vae": AutoencoderKL(**image),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**words, **SHAPES["sd15"]["text"], projection_dim=768)),
        "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**words, **second, projection_dim=1280)),
        "tokenizer": tiny.tokenizer(folder / "tokenizer"),
        "tokenizer_2": tiny.tokenizer(folder / "tokenizer_2", pad="!"),
        "scheduler": EulerDiscreteScheduler(**tiny.BETAS),
    }
    StableDiffusionXLPipeline(**parts).to(torch.bfloat16).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer")
    tiny.tokenizer(folder / "tokenizer_2", pad="!")
    return folder


def photos(side: int) -> TrainingSet:
    """Two pictures."""
    images = [fakes.picture(1, seed, side) for seed in range(2)]
    crops = tuple(Crop(image, "a photo of sks person", "") for image in images)
    return TrainingSet(crops, (), {}, (), "sks", "person")


class Ours:
    """What the trainer does."""

    def __init__(
        self, folder: Path, side: int, work_dir: Path, device: str = "cpu", checkpointing: Checkpointing = "off"
    ) -> None:
        knobs = replace(KNOBS, side=side, device=device, checkpointing=checkpointing)  # pyrefly: ignore[bad-argument-type] -- one it has
        base = loading.open_base("base", folder)
        given = TrainingJob(photos(side), "base", work_dir)
        plan = Dreambooth(lambda name: base, fakes.FakeFinder, knobs, work_dir).plan(given)
        training_run = TrainingRun(given, base, "", plan, knobs, work_dir, RecordedProgress())
        self._learner, self._material = run.build_learner(training_run, None), run.build_dataset(training_run)
        self._learner.denoiser.train()

    def step(self, number: int) -> None:
        self._learner.train_step(self._material, number)


class Script:
    """As a script has it: pixels and words go through frozen networks at every step."""

    def __init__(self, folder: Path, side: int, device: str = "cpu", checkpointing: bool = False) -> None:
        self._device = torch.device(device)
        self._dtype = torch.bfloat16 if device == "cuda" else torch.float32
        pipeline: Any = loading.load_pipeline(loading.open_base("base", folder), self._dtype)
        pipeline.to(self._device)
        pipeline.vae.float()  # scripts keep it in full precision
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False)
        pipeline.unet.add_adapter(LoraConfig(r=16, lora_alpha=16, target_modules=list(LORA_TARGETS)))
        self._trainable = [each for each in pipeline.unet.parameters() if each.requires_grad]
        for parameter in self._trainable:
            parameter.data = parameter.data.float()
        if checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
        pipeline.unet.train()
        self._pipeline = pipeline
        self._schedule: Any = DDPMScheduler.from_config(pipeline.scheduler.config)
        self._optimiser = torch.optim.AdamW(self._trainable, lr=1e-4)
        self._crops = photos(side).crops
        self._random = torch.Generator().manual_seed(0)

    def step(self, number: int) -> None:
        crop, pipeline, device = self._crops[number % 2], self._pipeline, self._device
        pixels = (
            torch.tensor(crop_to_fill(crop.image, size_of(crop), cv2.INTER_CUBIC)).permute(2, 0, 1)[None].float()
            / 127.5
            - 1
        )
        with torch.no_grad():
            posterior = pipeline.vae.encode(pixels.to(device)).latent_dist.sample() * pipeline.vae.config.scaling_factor
            words = pipeline.encode_prompt(
                prompt=crop.caption, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )
        added = None
        if len(words) == 4:  # SDXL
            sizes = [[crop.image.shape[0], crop.image.shape[1], 0, 0, crop.image.shape[0], crop.image.shape[1]]]
            added = {"text_embeds": words[2], "time_ids": torch.tensor(sizes, device=device, dtype=words[2].dtype)}
        noise = torch.randn(posterior.shape, generator=self._random).to(device)
        times = torch.randint(0, 1000, (1,), generator=self._random).to(device)
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            noised = self._schedule.add_noise(posterior, noise, times)
            prediction = pipeline.unet(noised, times, words[0], added_cond_kwargs=added, return_dict=False)[0]
            loss = nn.mse_loss(prediction.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._trainable, 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)


def learning(variant: str, folder: Path, side: int, work_dir: Path) -> "Ours | Script":
    """One of the ways by its name."""
    return Script(folder, side) if variant == "script" else Ours(folder, side, work_dir, checkpointing=variant)  # pyrefly: ignore[bad-argument-type] -- one of its kinds


@dataclass(frozen=True, slots=True)
class Measured:
    """What a way of training takes."""

    seconds: float
    """For 800 steps."""
    memory: float
    """Most bytes at once; of a GPU alone."""


def measure(folder: Path, side: int, steps: int, where: torch.device, work_dir: Path) -> dict[str, Measured]:
    """Train by a script's loop and by ours, `steps` after one that is not counted."""
    found = {}
    for name in ("script", "ours"):
        own = work_dir / name
        own.mkdir()
        if where.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        variant = Ours(folder, side, own, where.type) if name == "ours" else Script(folder, side, where.type)
        variant.step(0)
        began = _now(where)
        for number in range(1, steps + 1):
            variant.step(number)
        memory = torch.cuda.max_memory_allocated() if where.type == "cuda" else float("nan")
        found[name] = Measured(800 / steps * (_now(where) - began), memory)
        del variant
        device.release_memory(where)
    return found


def table(found: Mapping[str, Measured]) -> str:
    """For docs/benchmarks.md."""
    rows = [f"| {name} | {each.seconds:.0f} | {each.memory / 1e9:.1f} |" for name, each in found.items()]
    return "\n".join(["", "| SDXL, batch 1 | seconds for 800 steps | peak GB |", "|---|---|---|", *rows])


def _now(where: torch.device) -> float:
    """The time when all that was asked of the device is done."""
    if where.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def size_of(crop: Crop) -> Any:
    from portrait.arrays import Size

    return Size(crop.image.shape[1], crop.image.shape[0])


def peak() -> int:
    """Bytes at the peak of this process. `getrusage` would tell its parent's where that was larger before the exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    folder, variant, side, steps = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with tempfile.TemporaryDirectory() as work_dir:
        learner = learning(variant, folder, side, Path(work_dir))
        for number in range(steps):
            learner.step(number)
    json.dump({"peak": peak()}, sys.stdout)
