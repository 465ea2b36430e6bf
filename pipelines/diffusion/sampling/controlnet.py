"""ControlNet: control images made from photos, and the control networks of the base's family that follow them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors.torch import load_file

from pipelines import model_requirements
from pipelines.diffusion.base import checkpoint_files, checksums
from pipelines.diffusion.base.checkpoint_files import BROKEN
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.loading import empty_denoiser
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling.pipeline_call import Conditioning, ControlNetUnit
from pipelines.model_store.store import ModelStore
from portrait.arrays import Image, Size
from portrait.errors import UserError, broken_model
from portrait.generation.options import ControlInput, picture_hash
from portrait.images.resize import crop_to_fill
from portrait.ports import ControlPreprocessor

AUTHORS_NAMES = ("control_model.", "input_hint_block.", "input_blocks.")
"""What names of tensors begin with in ControlNets that are not in the names of diffusers."""
PICTURE_LAYERS = "controlnet_cond_embedding."
MAX_SCALE = 2.0
"""Largest scale; beyond 1 a network counts more than it did in its training."""


def check_controls(inputs: Sequence[ControlInput], family: str, models: ModelStore, base: str = "") -> None:
    """Raise what keeps inputs from being used: `UserError` (`bad_technique`), `OperatorError` (`missing_model`).

    `base` is what the sentence calls the base; without it, by its family.
    """
    for each in inputs:
        if not model_requirements.supports_control(each.kind, "", models):
            known = ", ".join(model_requirements.controls("", models))
            raise UserError("bad_technique", f"There is no control {each.kind!r}. Choose one of: {known}.")
        if not (0 <= each.scale <= MAX_SCALE and 0 <= each.start < each.end <= 1):
            raise UserError(
                "bad_technique", f"A hint has a scale of 0 to {MAX_SCALE:g}, and starts before it ends, 0 to 1."
            )
        if not model_requirements.supports_control(each.kind, family, models):
            sentence = model_requirements.unsupported_control_message(each.kind, family, models, base)
            raise UserError("bad_technique", sentence)
        _network_folder(each.kind, family, models)


def check_windows(inputs: Sequence[ControlInput], steps: int) -> None:
    """Raise `UserError` (`bad_technique`) for an input that acts in none of the steps."""
    for each in inputs:
        if not any(number / steps >= each.start and (number + 1) / steps <= each.end for number in range(steps)):
            raise UserError(
                "bad_technique",
                f"The hint {each.kind} from {each.start:g} to {each.end:g} holds none of the {steps} steps. "
                "Have it begin earlier or end later, or ask for more steps.",
            )


def has_network(kind: str, family: str, models: ModelStore) -> bool:
    """Whether a control's network for a family is in the store."""
    name = model_requirements.control_network
    return model_requirements.supports_control(kind, family, models) and not models.missing(name(kind, family))


def weight_files(inputs: Sequence[ControlInput], family: str, models: ModelStore) -> dict[str, Path]:
    """The weight files of their networks; see `checksums.weight_files`."""
    found: dict[str, Path] = {}
    for kind in {each.kind for each in inputs}:
        name = model_requirements.control_network(kind, family)
        found |= checksums.weight_files(name, _network_folder(kind, family, models))
    return found


def prepare_inputs(
    inputs: Sequence[ControlInput], size: Size, control: Callable[[str], ControlPreprocessor]
) -> tuple[ControlInput, ...]:
    """Inputs whose pictures are control images at the generated size; raises what a preprocessor does.

    Done before the base is loaded, and once for all portraits of a request.
    """
    return tuple(
        replace(
            each,
            picture=_control_image(each, size, control),
            preprocessed=True,
            picture_hash=each.picture_hash or picture_hash(each.picture),
        )
        for each in inputs
    )


def load_controlnets(
    lease: Lease,
    inputs: Sequence[ControlInput],
    size: Size,
    models: ModelStore,
    control: Callable[[str], ControlPreprocessor],
) -> Conditioning:
    """The network of each input with its control image at the generated size."""
    units, control_class = [], lease.family.control_class
    for each in inputs:
        name = model_requirements.control_network(each.kind, lease.family.name)
        load: Callable[[], Any]
        if _has_preprocessor(each.kind) and control_class is not None:
            # One network may follow several kinds: it is loaded once.
            load = partial(_load_network, name, control_class, models.folder(name), lease)
        else:
            load = partial(load_own_network, models.weights_file(name), lease.loaded.source, lease.dtype)
        network = lease.get_or_load(f"control {name}", load)
        image = _control_image(each, size, control)
        units.append(ControlNetUnit(network, image, each.scale, each.start, each.end, each.kind))
    recipe = [{"kind": each.kind, "scale": each.scale, "start": each.start, "end": each.end} for each in inputs]
    return Conditioning(controlnets=units, facts={"hints": recipe} if recipe else {})


def _load_network(name: str, control_class: type[Any], folder: Path, lease: Lease) -> Any:
    """A network of a folder, prepared for the base; raises what `checkpoint_files.load_network` and `prepare_control` do."""
    network = checkpoint_files.load_network(control_class, folder, lease.dtype, torch.device("cpu"))
    return lease.family.prepare_control(name, network, lease.loaded.denoiser)


def load_own_network(file: Path, base: BaseSource, dtype: torch.dtype) -> ControlNetModel:
    """A ControlNet of one's own for U-Nets from one file, in the names of diffusers or of its authors.

    It is built by the `config.json` beside it, or else like the U-Net of the base, as ControlNets are. Raises `EngineError`
    (`broken_model`), `UserError` (`wrong_family`) for one of another base.
    """
    if base.family.denoiser != "unet":
        raise UserError("wrong_family", f"{file.name} is no control of {base.name} ({base.family.name}): leave it out.")
    try:
        network = _build_network(file, base, load_file(file), dtype)
    except BROKEN as error:
        raise broken_model(file, str(error).splitlines()[0][:200]) from error
    if network.config["cross_attention_dim"] != base.denoiser_config["cross_attention_dim"]:
        raise UserError("wrong_family", f"{file.name} was not made for bases such as {base.name}: choose another.")
    return network.requires_grad_(False).eval()


def _build_network(file: Path, base: BaseSource, weights: dict[str, Any], dtype: torch.dtype) -> Any:
    """The network of `load_own_network`; raises one of `BROKEN`."""
    config = file.with_name("config.json")
    if any(name.startswith(AUTHORS_NAMES) for name in weights):
        weights = convert_controlnet_checkpoint(weights, base.denoiser_config)
    layers = [f"{PICTURE_LAYERS}conv_in", *(f"{PICTURE_LAYERS}blocks.{number}" for number in (1, 3, 5))]
    channels = tuple(int(weights[f"{name}.weight"].shape[0]) for name in layers)
    with torch.device("meta"):
        if config.is_file():
            network: Any = ControlNetModel.from_config(json.loads(config.read_text("utf-8")))
        else:
            network = ControlNetModel.from_unet(
                empty_denoiser(base), conditioning_embedding_out_channels=channels, load_weights_from_unet=False
            )
    network.load_state_dict({name: each.to(dtype) for name, each in weights.items()}, assign=True)
    return network


def _has_preprocessor(kind: str) -> bool:
    """Whether a control makes its control image itself; pictures for a ControlNet of one's own are control images."""
    return kind in model_requirements.CONTROL_MODELS


def _control_image(each: ControlInput, size: Size, control: Callable[[str], ControlPreprocessor]) -> Image:
    picture = crop_to_fill(np.asarray(each.picture, np.uint8), size)
    return picture if each.preprocessed or not _has_preprocessor(each.kind) else control(each.kind).process(picture)


def _network_folder(kind: str, family: str, models: ModelStore) -> Path:
    return models.folder(model_requirements.control_network(kind, family))
