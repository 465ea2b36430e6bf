"""People on Stable Diffusion 3: LoRAs worn from any names, in turns, under every memory profile; files there and back."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file

from pipelines import model_requirements
from pipelines.diffusion.base import convert, lora
from pipelines.diffusion.base.checkpoint_files import count_weights
from pipelines.diffusion.base.family import ControlNetUnit
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.base.loras.layers import layers_of
from pipelines.diffusion.base.loras.reader import read_lora
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.registry import PREFIX
from pipelines.diffusion.sampling import controlnet, generation_options
from pipelines.diffusion.selftest import state
from portrait.arrays import Size
from portrait.errors import OperatorError, UserError
from portrait.generation.abilities import check_options
from portrait.generation.options import ControlInput, GenerationOptions
from portrait.generation.parameters import GenerationParameters
from portrait.generation.sampling_facts import SamplingPreset
from tests.pipelines.diffusion.base.families import tiny_sd3 as tiny
from tests.pipelines.diffusion.base.families.tiny_sd3 import apart, draw, picture, stock

NEAR, FAR = 1e-5, 1e-4
QUERY, KEY = "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k"
EDGES = picture(8)
ONE = ControlInput("canny", EDGES)
SQUARE = Size(64, 64)
MASK = np.pad(np.ones((32, 32), np.float32), 16)


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder."""
    return tiny.sd3(tmp_path_factory.mktemp("sd3") / "sd3")


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    """The base, with everything in main memory."""
    loaded = tiny.load(open_base("sd3", hub))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def people(loaded: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, Path]]:
    """LoRA files of two people, in diffusers' names and in kohya's."""
    folder = tmp_path_factory.mktemp("loras")
    return {name: tiny.person_lora(loaded, seed, folder / name) for seed, name in enumerate(("anna", "ben"))}


def update(down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """What a LoRA adds to a weight."""
    return up.double() @ down.double()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model store with a control network in the layout for Large, and one in that for Medium."""
    folder = tmp_path_factory.mktemp("store")
    tiny.control(3, published=True).save_pretrained(folder / "controlnet_depth_sd3")
    tiny.control(1).save_pretrained(folder / "controlnet_canny_sd3")
    return SimpleNamespace(folder=lambda name: folder / name)


def follow(loaded: LoadedBase, store: Any, kind: str = "depth", size: Size = tiny.SIZE) -> Sequence[ControlNetUnit]:
    """A control whose network is loaded from the store, once."""
    given = ControlInput(kind, picture(8, size), scale=0.8, preprocessed=True)
    with loaded.lease() as lease:
        return controlnet.load_controlnets(lease, [given], size, store, None).controlnets  # pyrefly: ignore[bad-argument-type] -- the picture is prepared


def test_a_lora_is_worn_from_any_names_as_the_stock_pipeline_wears_it(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    own, kohya = people["anna"]
    makers = {name.replace("lora_unet_", "lora_unet."): each for name, each in load_file(kohya).items()}
    save_file(makers, tmp_path / "makers.safetensors")
    bare, drawn = draw(loaded), [draw(loaded, file) for file in (own, kohya, tmp_path / "makers.safetensors")]
    pipe: Any = tiny.quiet(StableDiffusion3Pipeline.from_pretrained(hub, local_files_only=True))
    pipe.load_lora_weights(load_file(own))
    assert max(apart(each, stock(pipe)) for each in drawn) < NEAR
    assert apart(bare, drawn[0]) > FAR
    assert apart(draw(loaded, people["ben"][0]), drawn[0]) > FAR


def test_kohyas_file_holds_what_was_learned(loaded: LoadedBase, people: Mapping[str, tuple[Path, Path]]) -> None:
    own, kohya = (load_file(each) for each in people["anna"])
    back: Any = StableDiffusion3Pipeline.lora_state_dict(dict(own))
    assert back.keys() == own.keys()
    assert all(torch.equal(each, own[name]) for name, each in back.items())
    assert {name.split("_block")[0] for name in kohya} == {"lora_unet_joint"}
    pairs = layers_of(loaded.source).fit(read_lora(people["anna"][1]))["transformer"].pairs
    assert sorted(pairs) == sorted(tiny.FAMILY.lora_targets(loaded.denoiser))
    assert len(pairs) == 3 * 8 - 1, "the last block's words end in it"
    for name, pair in pairs.items():
        expected = update(*(own[f"transformer.{name}.lora_{each}.weight"] for each in "AB"))
        assert (update(*pair) - expected).abs().max() < 1e-12, name
    alone = {name: each for name, each in own.items() if f"{QUERY}." in name}
    stacked = lora.to_kohya(alone, tiny.FAMILY, {"num_layers": 3})
    rows = update(
        stacked["lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight"],
        stacked["lora_unet_joint_blocks_0_x_block_attn_qkv.lora_up.weight"],
    ).split(tiny.INNER)
    assert (rows[0] - update(*(alone[f"transformer.{QUERY}.lora_{each}.weight"] for each in "AB"))).abs().max() < 1e-12
    assert not rows[1].any()
    assert not rows[2].any()


def test_two_people_in_turns_are_drawn_as_in_fresh_processes(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]], store: Any
) -> None:
    fresh = {}
    for name, files in people.items():
        alone = tiny.load(open_base("sd3", hub))
        fresh[name] = draw(alone, files[0], follow(alone, store))
        alone.close()
    assert apart(fresh["anna"], fresh["ben"]) > FAR
    bare, units = draw(loaded), follow(loaded, store)
    draw(loaded, options=GenerationOptions(cutoff=1.0, perturbed=3.0))
    for name in ("anna", "ben", "ben", "anna"):
        assert np.array_equal(draw(loaded, people[name][0], units), fresh[name])
        assert np.array_equal(draw(loaded), bare)


@pytest.mark.parametrize("profile", ["offload", "sequential"])
def test_networks_that_wait_in_main_memory_draw_the_same(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]], store: Any, profile: MemoryProfile
) -> None:
    smaller = tiny.load(open_base("sd3", hub), profile)
    inside: dict[str, Any] = {"start": picture(7, SQUARE), "mask": MASK, "strength": 0.5}
    skipping: dict[str, Any] = {"options": GenerationOptions(cutoff=1.0, skip_layer_guidance=2.8), "steps": 6}
    unlike: dict[str, Any] = {"options": GenerationOptions(cutoff=0.5, perturbed=2.0)}
    ways = [(people["ben"][0], "", inside), (people["anna"][1], "depth", {}), (None, "canny", {}), (None, "", skipping)]
    for file, kind, changes in [*ways, (None, "", unlike)]:
        before = state.capture(smaller)
        drawn = [
            draw(each, file, follow(each, store, kind, SQUARE) if kind else (), size=SQUARE, **changes)
            for each in (smaller, loaded)
        ]
        assert apart(*drawn) < NEAR
        if file is None:  # the slots are there by then
            assert not state.lost_hook(before, state.capture(smaller))
            assert not state.moved_tensor(before, state.capture(smaller))
    smaller.close()


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."], ids=["alone", "as published"])
def test_a_transformer_in_one_file_is_read_again(loaded: LoadedBase, hub: Path, tmp_path: Path, prefix: str) -> None:
    base, file = loaded.source, tmp_path / "transformer.safetensors"
    convert.to_file(base, tmp_path / "written.safetensors", torch.float32)
    written = load_file(tmp_path / "written.safetensors")
    # As published it has the VAE beside it.
    beside = {"first_stage_model.decoder.conv_in.bias": torch.zeros(3)} if prefix else {}
    save_file({prefix + name: each for name, each in written.items()} | beside, file)
    own = SD3Transformer2DModel.from_pretrained(hub, subfolder="transformer", local_files_only=True).state_dict()
    back = SD3Transformer2DModel.from_single_file(
        str(file), config=str(hub), subfolder="transformer", local_files_only=True
    ).state_dict()
    single = open_base("single", file, hub)
    assert (single.family.name, single.weights_files) == ("sd3", [file])
    assert count_weights(file, PREFIX) == sum(each.numel() for each in own.values()), "without the VAE beside it"
    alone = tiny.load(single)
    for weights in (back, alone.denoiser.state_dict()):
        assert weights.keys() == own.keys()
        assert all(torch.equal(each, own[name]) for name, each in weights.items())
    assert apart(draw(alone), draw(loaded)) < NEAR
    alone.close()


def refused(base: Any, controlled: bool = False, **given: Any) -> str:
    """What a drawing is refused with when it is planned."""
    changes = {name: given.pop(name) for name in ("start", "mask", "guidance", "steps") if name in given}
    settled: dict[str, Any] = {"prompt": "a (red:1.2) scarf" if given.pop("weighted", False) else "a scarf"}
    settled |= {"negative": "", "size": tiny.SIZE, "seed": 1, "steps": 28, "guidance": 4.5, "strength": 0.5}
    parameters = GenerationParameters(**settled | changes, options=GenerationOptions(**given))

    def check() -> None:
        generation_options.check(parameters, SamplingPreset("own", 28, 4.5, 1.0))
        generation_options.check_abilities(base, parameters.options, (parameters.prompt,))
        generation_options.check_supported(base, parameters, controlled)

    with pytest.raises(UserError) as caught:
        check()
    assert caught.value.code == "bad_technique"
    return str(caught.value)


def test_what_it_cannot_do_is_a_sentence(loaded: LoadedBase, tmp_path: Path) -> None:
    base = loaded.source
    skipping: dict[str, Any] = {"skip_layer_guidance": 2.8}
    started: dict[str, Any] = {"start": picture(7)}
    assert "does not draw with controls here" in refused(base, True, **started)
    assert "does not draw with controls here" in refused(
        base, True, **started, mask=np.ones(EDGES.shape[:2], np.float32)
    )
    others: list[dict[str, Any]] = [{"perturbed": 3.0}, started]
    for given in others:
        assert "goes with words alone" in refused(base, **skipping, **given)
    assert "goes with words alone" in refused(base, True, **skipping, control_inputs=(ONE,))
    assert "ask for more than 1" in refused(base, **skipping, guidance=1.0)
    assert "take 6 steps or more" in refused(base, **skipping, steps=5)
    unknown: dict[str, dict[str, Any]] = {
        "CLIP skip": {"clip_skip": 1},
        "FreeU": {"freeu": True},
        "emphasis in prompts": {"weighted": True},
    }
    for name, wish in unknown.items():
        assert f"does not know {name}" in refused(base, **wish)
    assert "guidance_rescale does not go with" in refused(base, guidance_rescale=0.5)
    with pytest.raises(UserError, match=r"sdxl\) does not know skip-layer guidance"):
        check_options("other (sdxl)", model_requirements.family_abilities("sdxl"), GenerationOptions(**skipping), ())
    with pytest.raises(UserError, match="different numbers of layers"):
        tiny.FAMILY.join_controls([tiny.control(1), tiny.control(2, layers=2)])
    larger = tiny.control(1)
    larger.register_to_config(num_attention_heads=8)
    with pytest.raises(UserError, match="another size of Stable Diffusion 3"):
        tiny.FAMILY.prepare_control("controlnet_canny_sd3", larger, loaded.denoiser)
    masked = open_base("masked", tiny.sd3(tmp_path / "masked", channels=33))
    with pytest.raises(OperatorError, match="takes 33 channels, and its VAE gives 16"):
        assert masked.geometry
