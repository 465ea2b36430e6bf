"""A model store filled with the tiny checkpoints of `tests.tiny_hub`, and people to draw with them."""

import atexit
import importlib
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from pipelines.diffusion.base.loading import find_base
from pipelines.diffusion.selftest import tiny_store
from pipelines.engines import Engines
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.model_store.store import ModelStore
from pipelines.settings import MarkSettings, Settings
from portrait.arrays import Image, Size
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.types import Box, Face, Identity, PortraitRequest, Pose, Quality, Reference, Style
from tasks import settings as installation
from tests import insight_tiny, tiny_hub

GOLDEN = Path(__file__).parent / "golden" / "golden.npz"
GOOD = Quality(1, 1, 1, 1, 1, 1, 1)
Groups = dict[str, dict[str, torch.Tensor]]
"""Weights of an adapter by group and name."""


def fill(root: Path) -> Settings:
    """Write hub and store under `root`, with packs that find faces; the settings know the bases as `xl` and `sd`.

    What is written is the same each time, and made once in a process. So is the state of PyTorch's random numbers afterwards.
    Drawings are compared to the bit: there is no mark in their pixels.
    """
    made, settings, random = _filled()
    shutil.copytree(made, root, dirs_exist_ok=True)
    torch.set_rng_state(random)
    bases = {name: replace(each, path=root / each.path.relative_to(made)) for name, each in settings.bases.items()}
    models, marks = replace(settings.models, folder=root / "models"), MarkSettings(root / "marks", invisible=False)
    return replace(settings, models=models, marks=marks, bases=bases)


def install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands read these settings.

    Modules that take `load` when they are imported are imported before: they would keep these settings for all later tests.
    """
    for name in ("device_test", "engine_status", "styles"):
        importlib.import_module(f"app.terminal.{name}")
    monkeypatch.setattr(installation, "load", lambda: settings)


@cache
def _filled() -> tuple[Path, Settings, torch.Tensor]:
    """A folder that is copied, its settings, and PyTorch's random numbers after it was written."""
    made = Path(tempfile.mkdtemp(prefix="portrait-hub-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    settings = tiny_store.fill(made)
    for pack, (detector, recognizer) in tiny_store.PACKS.items():
        insight_tiny.write_pack(settings.models.folder / pack, f"{detector}.onnx", f"{recognizer}.onnx")
    return made, settings, torch.get_rng_state()


def painter(settings: Settings) -> Diffusion:
    """A fresh one, as a new process would have it."""
    models = ModelStore(settings.models)
    engines = Engines(settings, models)
    return Diffusion(
        lambda name: find_base(name, settings, models), engines.identity_adapter, engines.control, models, settings.draw
    )


def reference(image: Image, embeddings: dict[str, Any], landmarks: Any = None, name: str = "a.jpg") -> Reference:
    """A photo whose face fills it."""
    height, width = image.shape[:2]
    five = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * (width, height)
    points = np.asarray(five if landmarks is None else landmarks, np.float32)
    face = Face(Box(0, 0, width, height), points, None, embeddings, Pose(0, 0, 0), 0.9)
    return Reference(name, image, face, GOOD)


def person(*references: Reference, **more: Any) -> Identity:
    """Somebody with these photos."""
    return Identity("somebody", tuple(references), {}, class_word=more.pop("class_word", "man"), **more)


def stranger(seed: int, **more: Any) -> Identity:
    """Somebody made up, known in every embedding space."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 255, (96, 80, 3), dtype=np.uint8)
    vectors = {space: random.normal(size=512).astype(np.float32) for space in ("antelopev2", "buffalo_l")}
    vectors["dlib"] = random.normal(size=128).astype(np.float32)
    made = person(reference(image, vectors), **more)
    return Identity(f"stranger-{seed}", made.references, {"dlib": vectors["dlib"]}, made.lora, made.trigger, "man")


def request(
    who: Identity, scene: PromptSpec, options: GenerationOptions, seed: int = 0, size: Size | None = None
) -> PortraitRequest:
    """One portrait of somebody."""
    return PortraitRequest(
        {1: who}, Style("test", 1, "text", "Test", prompt_spec=scene), seed, 1, size, options=options
    )


def pixels(draws: Diffusion, plan: GenerationPlan) -> np.ndarray:
    """The drawing of a plan, 0..1."""
    return draws.draw(plan, lambda done: None)[0]


def trained_person(settings: Settings, seed: int, rank: int = 4) -> Identity:
    """A stranger with a LoRA of their own, on the base `xl`."""
    hub = settings.bases["xl"].path.parent
    unet = UNet2DConditionModel.from_pretrained(hub / "sdxl" / "unet")
    file = tiny_hub.lora(hub / f"lora-{seed}-{rank}", unet, seed, rank)
    return stranger(seed, lora=file, trigger="sks", base="xl")


def ip_adapter(unet: UNet2DConditionModel, plus: bool, seen: int = 48) -> Groups:
    """A look's IP-Adapter with the published key names: one projection of `seen` channels, which the tiny encoder has, or
    with `plus` the resampler of CLIP's patches."""
    torch.manual_seed(70 + plus)
    cross = int(unet.config["cross_attention_dim"])
    if plus:
        projection = tiny_hub.resampler(64, tiny_hub.VISION, cross, heads=1, queries=16)
    else:
        projection = {"proj.weight": torch.randn(4 * cross, seen) * seen**-0.5, "proj.bias": torch.zeros(4 * cross)}
        projection |= {"norm.weight": torch.ones(cross), "norm.bias": torch.zeros(cross)}
    return {"image_proj": projection, "ip_adapter": tiny_hub.image_attention(unet)}


def save_adapter(groups: Groups, file: Path) -> None:
    """Write an adapter as one safetensors file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({f"{group}.{name}": each for group, part in groups.items() for name, each in part.items()}, file)


def weights_of(draws: Diffusion) -> dict[str, bytes]:
    """Every weight of the base that is loaded, by the name it has without adapters."""
    if draws._loaded is None:
        return {}
    unet = draws._loaded.pipeline.unet
    return {
        name.replace(".base_layer", ""): weight.detach().numpy().tobytes()
        for name, weight in unet.state_dict().items()
        if "lora_" not in name and "_ip" not in name and "encoder_hid_proj" not in name
    }
