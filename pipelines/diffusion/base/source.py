"""BaseSource: where a base model lies on this machine, its family, and what is read from its configurations and files."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from pipelines.diffusion.base import checksums, quantised
from pipelines.diffusion.base.family import Family, Geometry
from portrait.errors import OperatorError
from portrait.generation.sampling_facts import NO_FACTS, SamplingFacts

HALF = re.compile(r"\.fp16[.-]")
"""In the names of files in half precision: before the ending, or before the number of a part."""


@dataclass(frozen=True, slots=True)
class BaseSource:
    """Where a base model lies on this machine, and its family."""

    name: str
    path: Path
    family: Family
    config_folder: Path
    """A hub folder with its configurations and tokenizers: `path` itself, unless it is a single file."""
    half_vae: Path | None = None
    """Folder of a VAE that takes the place of its own in float16, in which its own overflows; None without one."""
    vae: Path | None = None
    """Folder or single file of a VAE that was chosen in place of its own, in every dtype; None without one."""
    vae_name: str = ""
    """Its name in the model store."""
    facts: SamplingFacts = NO_FACTS
    """How it wants to be sampled."""
    in_channels: int = 0
    """Channels that the U-Net of a single file takes; 0: as many as its configuration says."""
    learn_on: str = ""
    """Name of the base that people are learned on in its place; empty: itself."""
    draw_on: str = ""
    """Name of the base that draws who was learned on it, where a request names none; empty: itself."""
    left_out: tuple[str, ...] = ()
    """Components that it draws and is learned without."""
    storage: Literal["as_computed", "float8"] = "as_computed"
    """How the weights of its denoiser rest in memory where it draws."""

    @property
    def is_single_file(self) -> bool:
        """Whether it is a single file."""
        return self.path.is_file()

    @property
    def is_gguf(self) -> bool:
        """Whether its denoiser is a GGUF file, whose weights stay quantised in memory."""
        return self.is_single_file and self.path.suffix == quantised.GGUF

    def config(self, component: str) -> dict[str, Any]:
        """The configuration of a component."""
        name = "scheduler_config.json" if component == "scheduler" else "config.json"
        config = json.loads((self.config_folder / component / name).read_text("utf-8"))
        if component == self.family.denoiser and self.in_channels:
            config["in_channels"] = self.in_channels
        return config | self.facts.scheduler_config if component == "scheduler" else config

    @property
    def denoiser_config(self) -> dict[str, Any]:
        """The configuration of its denoiser."""
        return self.config(self.family.denoiser)

    @property
    def embeds_guidance(self) -> bool:
        """Whether its denoiser is told the guidance scale, instead of drawing once with and once without the prompt."""
        return self.family.embeds_guidance(self.denoiser_config)

    @property
    def geometry(self) -> Geometry:
        """The sizes that it draws in."""
        return self.family.geometry(self.config)

    @property
    def native_side(self) -> int:
        """Side of the square it was trained at, pixels."""
        return self.geometry.native_side

    @property
    def start_side(self) -> int:
        """The same for drawings that begin from a picture."""
        return self.geometry.start_side or self.native_side

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this many pixels."""
        return self.geometry.size_multiple

    @property
    def weights_files(self) -> list[Path]:
        """The denoiser's weight files that are loaded, several where it is in parts, or the single file.

        Raises `OperatorError` (`bad_base`).
        """
        if self.is_single_file:
            return [self.path]
        folder = self.path / self.family.denoiser
        files = _component_files(folder, is_half_precision(folder))
        if not files:
            raise OperatorError("bad_base", f"{folder} holds no weights.")
        return files

    def companion_files(self, dtype: torch.dtype) -> dict[str, Path]:
        """The weight files of text encoders and VAE that are loaded in a dtype, by `COMPONENT/FILE`.

        Those that a single file contains are not among them.
        """
        half = not self.is_single_file and is_half_precision(self.path / self.family.denoiser)
        folders = {component: self.config_folder / component for component in self.companions}
        if vae := self.vae_in_place(dtype):
            folders["vae"] = vae
        files = ((name, file) for name, folder in folders.items() for file in _component_files(folder, half))
        return {f"{name}/{file.name}": file for name, file in files}

    @property
    def companions(self) -> list[str]:
        """Components with weights beside the denoiser that do not lie in its single file."""
        if self.is_single_file and self.family.single_file == "whole":
            return []
        return [*(encoder for _, encoder in self.text_encoders), "vae"]

    @property
    def text_encoders(self) -> list[tuple[str, str]]:
        """Component names of the tokenizers and text encoders that take part."""
        return [pair for pair in self.family.text_encoders if pair[1] not in self.left_out]

    def vae_in_place(self, dtype: torch.dtype) -> Path | None:
        """Folder or file of the VAE that takes the place of its own in a dtype; None where its own is loaded."""
        if self.vae is not None:
            return self.vae
        return self.half_vae if dtype == torch.float16 and self.config("vae").get("force_upcast", True) else None

    def sha256(self) -> str:
        """SHA-256 of the denoiser's weights, which identifies the base that a LoRA was trained on."""
        return checksums.sha256(self.weights_files)


def _component_files(folder: Path, half: bool) -> list[Path]:
    """The files of a component that are loaded: safetensors before pickles, one precision of two; a single file itself."""
    if folder.is_file():
        return [folder]
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    return [file for file in files if bool(HALF.search(file.name)) == half] or files


def is_half_precision(folder: Path) -> bool:
    """Whether the weights of a component's folder are there in half precision alone."""
    files = list(folder.glob("*.safetensors")) or list(folder.glob("*.bin"))
    return bool(files) and all(HALF.search(file.name) for file in files)
