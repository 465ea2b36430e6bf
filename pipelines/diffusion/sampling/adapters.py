"""What identity adapters read: faces in the embedding space they were taught, and checkpoints, tensors alone."""

import pickle
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import hypot
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipelines.diffusion.base.loading import Source
from portrait.errors import UserError, broken_model
from portrait.ports import FaceFinder
from portrait.types import Face, Identity, Reference

MOST = 4
"""Faces of a photo that are embedded, to find the person's own among them."""
_Network = TypeVar("_Network")
BROKEN = (OSError, ValueError, KeyError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError)
"""What libraries raise for files that are not what they should be."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Sees the faces of references in one embedding space; asks its finder only for those that do not know it yet."""

    space: str
    finder: Callable[[], FaceFinder]

    def leading(self, person: Identity) -> Face:
        """The face of the best reference; raises `UserError` (`no_reference`)."""
        return self.references(person, 1)[0].face

    def references(self, person: Identity, most: int) -> list[Reference]:
        """The best references in which a face is seen, their faces embedded; raises `UserError` (`no_reference`)."""
        found: list[Reference] = []
        for reference in person.references:
            face = reference.face if self.space in reference.face.embeddings else self._seen(reference)
            if face is not None:
                found.append(replace(reference, face=face))
            if len(found) == most:
                break
        if not found:
            raise UserError("no_reference", "None of this person's photos shows their face well enough to draw from.")
        return found

    def _seen(self, reference: Reference) -> Face | None:
        """The same face as this space sees it: the one whose box is nearest to where it was found before."""
        faces = [face for face in self.finder().faces(reference.image, embedded=MOST) if self.space in face.embeddings]
        x, y = reference.face.box.centre
        return min(faces, key=lambda face: hypot(face.box.centre[0] - x, face.box.centre[1] - y), default=None)


def only(base: Source, family: str, adapter: str) -> None:
    """Raise `UserError` (`wrong_family`) for a base that an adapter was not made for."""
    if base.family.name != family:
        raise UserError(
            "wrong_family", f"{adapter} draws on a base of the family {family}, and {base.name} is {base.family.name}."
        )


def tensors(file: Path, wanted: Sequence[str]) -> dict[str, Any]:
    """A checkpoint's groups of tensors, `{group: {name: tensor}}`; raises `EngineError` (`broken_model`).

    Of a pickle only tensors are read: a pickle could run any program.
    """
    try:
        if file.suffix == ".safetensors":
            held: dict[str, Any] = {}
            for name, tensor in load_file(file).items():
                group, _, rest = name.partition(".")
                held.setdefault(group, {})[rest] = tensor
        else:
            held = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except BROKEN as error:
        why = "it holds more than numbers" if isinstance(error, pickle.UnpicklingError) else str(error).split("\n")[0]
        raise broken_model(file, why) from error
    missing = [name for name in wanted if not isinstance(held.get(name), dict) or not held[name]]
    if missing or not all(isinstance(each, torch.Tensor) for name in wanted for each in held[name].values()):
        raise broken_model(file, f"it has no {missing[0]}" if missing else "it holds more than tensors")
    return {name: held[name] for name in wanted}


def filled(network: _Network, weights: dict[str, torch.Tensor], file: Path) -> _Network:
    """A network with a checkpoint's weights, all of them; raises `EngineError` (`broken_model`)."""
    try:
        network.load_state_dict(weights, strict=True, assign=True)  # type: ignore[attr-defined] -- a torch module
    except RuntimeError as error:
        raise broken_model(file, str(error).split("\n")[1].strip()) from error
    return network


def network(kind: type[_Network], folder: Path, dtype: torch.dtype, where: torch.device) -> _Network:
    """A network in diffusers' layout, or a `.pth` beside its configuration, still and in place.

    Raises `EngineError` (`broken_model`).
    """
    half = any(folder.glob("*.fp16.safetensors")) and not (folder / "diffusion_pytorch_model.safetensors").is_file()
    single = next(iter(sorted(folder.glob("*.pth"))), None)
    known: Any = kind  # a diffusers model
    try:
        if single is not None:
            made = known.from_single_file(str(single), config=str(folder), torch_dtype=dtype, local_files_only=True)
        else:
            made = known.from_pretrained(
                str(folder), dtype=dtype, local_files_only=True, variant="fp16" if half else None
            )
    except BROKEN as error:
        raise broken_model(folder, str(error).split("\n")[0]) from error
    return made.requires_grad_(False).eval().to(where)
