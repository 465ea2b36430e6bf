"""Compiled blocks draw the same, and another person compiles nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from torch._dynamo.utils import counters

from pipelines.diffusion.base import device, loading
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.engines.painters.diffusion import Diffusion
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.types import Identity
from tests import hub_store


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    return hub_store.fill(tmp_path_factory.mktemp("hub"))


def drawn(painter: Diffusion, who: Identity) -> np.ndarray:
    """By LoRA and InstantID, with guidance that ends at half."""
    options = GenerationOptions(identities=("lora", "instantid"), scheduler="own", steps=4, guidance=4, cutoff=0.5)
    plan = painter.plan(hub_store.request(who, PromptSpec("a photo of a {who}", "low quality"), options))
    return hub_store.pixels(painter, replace(plan, parameters=replace(plan.parameters, size=Size(64, 64))))


def compiled_graphs() -> int:
    return int(counters["stats"]["unique_graphs"])


def test_another_person_compiles_nothing(settings: Settings, anna: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    # PyTorch's own tracing and guards without the machine code, which takes a compiler and half a minute.
    monkeypatch.setattr(device, "COMPILE_BACKEND", "eager")
    torch._dynamo.reset()
    people = [anna, hub_store.trained_person(settings, 2, rank=2)]
    plain = hub_store.painter(settings)
    painter = hub_store.painter(replace(settings, draw=replace(settings.draw, compile=True)))
    before = compiled_graphs()
    first = [drawn(painter, anna) for _ in range(2)]
    once = compiled_graphs()
    assert once > before
    for who in people * 2:
        assert np.array_equal(drawn(painter, who), drawn(plain, who))
    assert compiled_graphs() == once
    assert np.array_equal(first[0], first[1])


@pytest.mark.parametrize(("profile", "on_device"), [("full", True), ("sliced", True), ("offload", False)])
def test_offloaded_networks_are_not_compiled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, profile: MemoryProfile, on_device: bool
) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(BasicTransformerBlock, "compile", lambda self, **how: compiled.append(self))
    monkeypatch.setattr(
        "pipelines.diffusion.base.memory.place_pipeline", lambda *given: None
    )  # there is no GPU to leave
    base = loading.open_base("xl", settings.bases["xl"].path)
    LoadedBase(base, torch.float32, torch.device("cpu"), profile, compiled=True)
    assert bool(compiled) == on_device
