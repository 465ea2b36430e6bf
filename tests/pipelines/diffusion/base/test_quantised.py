"""Denoisers in GGUF files, and layers that rest in float8: what is drawn, learned, counted and refused."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from diffusers import Flux2Transformer2DModel
from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import checksums, convert, loading, lora, memory
from pipelines.diffusion.base.family import LORA_TARGETS
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import pipeline_call, plan
from pipelines.diffusion.sampling.plan import GenerationPlan
from pipelines.diffusion.selftest import state
from pipelines.diffusion.training import run
from pipelines.diffusion.training.run import TrainingRun
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, DrawSettings, ModelStoreSettings, Settings
from portrait.arrays import Size
from portrait.errors import OperatorError
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters
from portrait.training import TrainingJob
from tests import tiny
from tests.pipelines.diffusion.base import quantised_files
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.diffusion.base.families.flux2_drawing import apart, draw
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
CPU, FLOAT = torch.device("cpu"), torch.float32
KINDS = {"Q8_0": Kind.Q8_0, "Q5_K": Kind.Q5_K, "Q4_K": Kind.Q4_K}
FAR = 1e-4
MOST = {"Q8_0": 0.01, "Q5_K": 0.07, "Q4_K": 0.2, "float8": 0.06}
"""How far a picture, 0..1, may lie at most from that of the whole weights: twice what was measured (docs/drawing.md)."""
MEAN = {"Q8_0": 0.001, "Q5_K": 0.006, "Q4_K": 0.012, "float8": 0.005}
SIZE = Size(64, 64)


@pytest.fixture(scope="module")
def place(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base `wide`, its transformer in GGUF files, and LoRAs of two people."""
    folder = tmp_path_factory.mktemp("quantised")
    whole = drawing.load(quantised_files.write_base(folder / "wide"))
    for name, kind in KINDS.items():
        quantised_files.write_gguf(whole.denoiser, folder / f"{name}.gguf", kind)
    for seed, name in enumerate(("anna", "ben")):
        drawing.person_lora(whole, seed, folder / name)
    whole.close()
    return folder


@pytest.fixture(scope="module")
def people(place: Path) -> Mapping[str, Path]:
    return {name: place / name / "lora.safetensors" for name in ("anna", "ben")}


@pytest.fixture(scope="module")
def expected(place: Path, people: Mapping[str, Path]) -> Mapping[str, np.ndarray]:
    """Pictures of the whole weights: of nobody, and of one."""
    whole = drawing.load(place / "wide")
    found = {"nobody": draw(whole, size=SIZE), "anna": draw(whole, [], people["anna"], size=SIZE)}
    whole.close()
    assert apart(found["nobody"], found["anna"]) > 0.3
    return found


def source(place: Path, name: str) -> BaseSource:
    """A quantised base by its name in the tables above."""
    if name in KINDS:
        return open_base(name, place / f"{name}.gguf", place / "wide")
    return replace(open_base(name, place / "wide"), storage="float8")


@pytest.mark.parametrize("name", MOST)
def test_what_is_drawn_lies_near_what_the_whole_weights_draw_and_people_take_turns(
    place: Path, people: Mapping[str, Path], expected: Mapping[str, np.ndarray], name: str
) -> None:
    base = source(place, name)
    loaded = LoadedBase(base, FLOAT, CPU)
    stored = sum(each.nbytes for each in loaded.denoiser.parameters())
    assert memory.component_bytes(base, FLOAT)["transformer"] == stored
    whole = memory.component_bytes(replace(base, path=place / "wide", storage="as_computed"), FLOAT)["transformer"]
    assert stored < {"Q8_0": 0.28, "Q5_K": 0.19, "Q4_K": 0.16, "float8": 0.29}[name] * whole
    bare = draw(loaded, size=SIZE)
    assert FAR < apart(bare, expected["nobody"]) < MOST[name]
    assert np.abs(bare - expected["nobody"]).mean() < MEAN[name]
    drawn = {"anna": draw(loaded, [], people["anna"], size=SIZE)}
    assert apart(drawn["anna"], expected["anna"]) < 3 * MOST[name]
    factors = {each.dtype for key, each in loaded.denoiser.named_parameters() if ".lora_" in key}
    assert factors == {FLOAT}, "LoRAs lie there in the dtype of the computation"
    if name in ("Q5_K", "float8"):
        fresh = LoadedBase(base, FLOAT, CPU)
        drawn["ben"] = draw(fresh, [], people["ben"], size=SIZE)
        assert apart(drawn["anna"], drawn["ben"]) > 0.1
        fresh.close()
        before = state.capture(loaded)
        for each in ("ben", "anna"):
            assert np.array_equal(draw(loaded, [], people[each], size=SIZE), drawn[each])
        assert np.array_equal(draw(loaded, size=SIZE), bare)
        assert not state.moved_tensor(before, state.capture(loaded))
        assert not state.lost_hook(before, state.capture(loaded))
    loaded.close()


@pytest.mark.parametrize("name", ["Q5_K", "float8"])
def test_smaller_memory_profiles_draw_the_same(place: Path, people: Mapping[str, Path], name: str) -> None:
    base = source(place, name)
    profiles: Sequence[MemoryProfile] = ("full", "offload", "sequential")
    pictures = {}
    for profile in profiles:
        loaded = LoadedBase(base, FLOAT, CPU, profile)
        pictures[profile] = [draw(loaded, [], each, size=SIZE, steps=1) for each in (people["anna"], None)]
        hooked = [each for each in loaded.denoiser.modules() if getattr(each, "_hf_hook", None) is not None]
        assert len(hooked) > 20 if profile == "sequential" else len(hooked) == (profile == "offload")
        loaded.close()
    for profile in profiles[1:]:
        assert all(apart(*two) < 1e-5 for two in zip(pictures[profile], pictures["full"], strict=True))


def test_weights_are_those_of_the_file_and_a_step_of_learning_is_that_on_them(place: Path, tmp_path: Path) -> None:
    base = source(place, "Q4_K")
    network = loading.load_components(base, FLOAT, ["transformer"])["transformer"]
    stored = network.state_dict(keep_vars=True)
    packed = [name for name, each in stored.items() if hasattr(each, "quant_type")]
    assert len(packed) > 15
    by_gguf = quantised_files.dequantised(network)
    weights = {name: dequantize_gguf_tensor(each.detach()).float() for name, each in stored.items()}
    for name in packed:  # diffusers computes the steps in float16
        assert torch.allclose(weights[name], by_gguf[name], rtol=2e-3, atol=2e-4), name
    folder = quantised_files.write_base(tmp_path / "dequantised")
    other: Any = Flux2Transformer2DModel.from_pretrained(folder / "transformer")
    other.load_state_dict({name: each.as_subclass(torch.Tensor).contiguous() for name, each in weights.items()})
    other.save_pretrained(folder / "transformer")
    steps = [learned(of, tmp_path / "work") for of in (base, open_base("dequantised", folder))]
    (loss, gradients), (expected, others) = steps
    assert loss == pytest.approx(expected, abs=1e-6)
    assert gradients.keys() == others.keys()
    assert max(each.abs().max() for each in others.values()) > 1e-3
    assert all(torch.allclose(each, others[name], atol=1e-5) for name, each in gradients.items())


def learned(base: BaseSource, work_dir: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of a first step, with gradient checkpointing."""
    settings, job = replace(PLAIN, checkpointing="full"), TrainingJob(tiny_training.training_set(1), "base", work_dir)
    trainer = tiny_training.Dreambooth(lambda name: base, lambda: None, settings, work_dir)  # pyrefly: ignore[bad-argument-type] -- nobody is found
    reports = tiny_training.RecordedProgress()
    of = TrainingRun(job, base, base.sha256(), trainer.plan(job), settings, work_dir, reports)
    learner, dataset = run.build_learner(of, None), run.build_dataset(of)
    random = torch.Generator().manual_seed(3)
    learner.load_weights(
        {name: 0.1 * torch.randn(each.shape, generator=random) for name, each in learner.get_weights().items()}
    )
    loss = learner.loss(dataset, 0)
    loss.backward()
    grown = lora.trainable_parameters(learner.denoiser, "transformer")
    return loss.item(), {name: each.grad for name, each in grown if each.grad is not None}


def test_a_file_is_told_by_its_header_and_hashed_as_any(place: Path, tmp_path: Path) -> None:
    file, settings = place / "Q8_0.gguf", Settings(models=ModelStoreSettings(folder=tmp_path))
    settings = replace(
        settings, bases={"small": BaseLocation(file, place / "wide")}, draw=DrawSettings(storage="float8")
    )
    base = loading.find_base("small", settings, ModelStore(settings.models))
    assert (base.family.name, base.is_gguf, base.storage) == ("flux2", True, "as_computed")
    assert base.weights_files == [file]
    assert base.sha256() == checksums.sha256([file])
    assert loading.count_weights(file) == loading.count_weights(
        place / "wide/transformer/diffusion_pytorch_model.safetensors"
    )
    whole = loading.load_components(open_base("wide", place / "wide"), FLOAT, ["transformer"])["transformer"]
    prefixed = quantised_files.write_gguf(whole, tmp_path / "prefixed.gguf", Kind.Q8_0, "model.diffusion_model.")
    read = [
        loading.load_components(open_base("it", each, place / "wide"), FLOAT, ["transformer"])[
            "transformer"
        ].state_dict()
        for each in (file, prefixed)
    ]
    assert all(
        torch.equal(each.as_subclass(torch.Tensor), read[1][name].as_subclass(torch.Tensor))
        for name, each in read[0].items()
    )


def test_what_is_no_denoiser_of_a_known_family_is_refused(place: Path, tmp_path: Path) -> None:
    content, words = (place / "Q8_0.gguf").read_bytes(), {"token_embd.weight": np.ones((4, 256), np.float32)}
    (tmp_path / "cut.gguf").write_bytes(content[:3000])
    (tmp_path / "short.gguf").write_bytes(content[: len(content) // 2])
    (tmp_path / "page.gguf").write_text("<!doctype html><title>Sign in</title>" * 9)
    (tmp_path / "empty.gguf").write_bytes(b"")
    quantised_files.write_tensors(words, tmp_path / "words.gguf", Kind.Q8_0, "llama")
    key = {"cond_stage_model.model.positional_embedding": np.ones((77, 256), np.float32)}
    quantised_files.write_tensors(key, tmp_path / "unet.gguf", Kind.Q8_0, "sd1")
    quantised_files.write_tensors(words, tmp_path / "ternary.gguf", Kind.TQ1_0)
    refused = dict.fromkeys(("cut", "short", "page", "empty", "unet", "ternary"), "bad_base") | {
        "words": "unknown_family"
    }
    for name, code in refused.items():
        with pytest.raises(OperatorError) as caught:
            open_base(name, tmp_path / f"{name}.gguf", place / "wide")
        assert caught.value.code == code, name
    settings = Settings(bases={"small": BaseLocation(place / "Q8_0.gguf", place / "wide")})
    with pytest.raises(OperatorError, match="convert the base that it was made of") as caught:
        convert.convert("small", tmp_path / "it.safetensors", "bfloat16", settings, ModelStore(settings.models))
    assert caught.value.code == "bad_base"


def test_safetensors_in_float8_are_read_as_what_they_are_and_scaled_ones_refused(place: Path, tmp_path: Path) -> None:
    whole = open_base("wide", place / "wide")
    convert.to_file(whole, tmp_path / "whole.safetensors", FLOAT)
    eight = {name: each.to(torch.float8_e4m3fn) for name, each in load_file(tmp_path / "whole.safetensors").items()}
    save_file(eight, tmp_path / "eight.safetensors")
    base = open_base("eight", tmp_path / "eight.safetensors", place / "wide")
    read = loading.load_components(base, FLOAT, ["transformer"])["transformer"].state_dict()
    own = loading.load_components(whole, FLOAT, ["transformer"])["transformer"].state_dict()
    for name, each in own.items():
        assert torch.equal(read[name], each.to(torch.float8_e4m3fn).float()), name
    for scale in ("img_in.scale_weight", "img_in.weight_scale", "scaled_fp8"):
        save_file({**eight, scale: torch.ones(1)}, tmp_path / "scaled.safetensors")
        with pytest.raises(OperatorError, match="scaled weights in float8") as caught:
            open_base("scaled", tmp_path / "scaled.safetensors", place / "wide")
        assert caught.value.code == "bad_base"


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_layers_of_u_nets_rest_in_float8_too(name: str, tmp_path: Path) -> None:
    getattr(tiny, name)(tmp_path / name)
    draw_settings = DrawSettings(storage="float8")
    locations = {"own": BaseLocation(tmp_path / name, storage="as_computed"), "eight": BaseLocation(tmp_path / name)}
    settings = Settings(models=ModelStoreSettings(folder=tmp_path / "models"), draw=draw_settings, bases=locations)
    own, eight = (loading.find_base(each, settings, ModelStore(settings.models)) for each in ("own", "eight"))
    assert (own.storage, eight.storage) == ("as_computed", "float8")
    whole, small = (LoadedBase(each, FLOAT, CPU) for each in (own, eight))
    stored = sum(each.nbytes for each in small.denoiser.parameters())
    counted = {each.storage: memory.component_bytes(each, FLOAT)["unet"] for each in (own, eight)}
    assert counted["float8"] == stored < 0.3 * counted["as_computed"]
    given: dict[str, Any] = {"size": SIZE, "guidance": 5.0, "negative": "light"}
    pictures = [draw(each, **given) for each in (whole, small, small)]
    assert FAR < apart(pictures[0], pictures[1]) < 0.1
    assert np.array_equal(pictures[1], pictures[2])
    whole.close()
    # What adapters bring as a LoRA is loaded by diffusers: its factors are not brought to float8 either.
    file = attention_lora(small, tmp_path)
    copied = draw(small, [], file, **given)
    small.close()
    loaded = LoadedBase(eight, FLOAT, CPU)
    with loaded.lease() as lease:
        lease.load_lora("adapter", lambda: load_file(file), 1.0)
        called = pipeline_call.generate_image(lease, parameters(**given), [], lambda done: None)
    assert apart(copied, called) < 1e-5
    assert apart(copied, pictures[1]) > FAR
    resting = {each.dtype for key, each in loaded.denoiser.named_parameters() if "base_layer.weight" in key}
    assert resting == {torch.float8_e4m3fn}
    loaded.close()


def attention_lora(loaded: LoadedBase, folder: Path) -> Path:
    """A LoRA of a U-Net's attention."""
    random, weights = torch.Generator().manual_seed(1), dict[str, torch.Tensor]()
    for name, layer in loaded.denoiser.named_modules():
        if name.endswith(LORA_TARGETS):
            weights[f"unet.{name}.lora_A.weight"] = torch.randn(4, layer.in_features, generator=random) / 8
            weights[f"unet.{name}.lora_B.weight"] = torch.randn(layer.out_features, 4, generator=random) / 8
    return lora.save_weights(weights, folder / "lora.safetensors")


def parameters(**given: Any) -> GenerationParameters:
    """As `flux2_drawing.draw` has them."""
    plain = {"prompt": drawing.PROMPT, "seed": drawing.SEED, "steps": drawing.STEPS}
    return GenerationParameters(**plain, options=GenerationOptions(cutoff=1.0), **given)


def test_recipes_say_what_weights_rested_in() -> None:
    said = {}
    for storage in ("as_computed", "float8"):
        of = MagicMock(GenerationPlan)
        of.base.storage = storage
        said[storage] = plan.recipe_facts(of, [], torch.bfloat16)["precision"]
    assert said == {"as_computed": "bfloat16", "float8": "bfloat16, weights in float8"}
