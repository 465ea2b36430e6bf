"""The model manifest: which model files exist (`models.toml`), validated and read into plain values."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.model_store.download import Archive, Source, SourceKind
from portrait.errors import OperatorError, reading_fault
from portrait.licences import CommercialUse as Commercial

ModelKind = Literal["network", "base", "lora", "vae", "controlnet", "ip-adapter", "embedding", "upscaler"]
"""What a model is to whoever draws; `network`: what an engine loads by its own name."""
ModelFamily: TypeAlias = str
"""The family of the bases that a model fits; empty where it is not known, or where it fits any."""
KIND_WORDS: Mapping[str, str] = {
    "network": "network",
    "base": "base model",
    "lora": "LoRA",
    "vae": "VAE",
    "controlnet": "ControlNet",
    "ip-adapter": "IP-Adapter",
    "embedding": "embedding (textual inversion)",
    "upscaler": "upscaler",
}
FAMILY_WORDS: Mapping[str, str] = {
    "sd15": "SD 1.5",
    "sd2": "SD 2",
    "sdxl": "SDXL",
    "sd3": "SD 3.5",
    "flux": "FLUX.1",
    "flux_kontext": "FLUX.1 Kontext",
    "flux2": "FLUX.2 [klein]",
    "zimage": "Z-Image",
    "qwenimage": "Qwen-Image",
    "qwenimage_edit": "Qwen-Image-Edit",
}
"""What people call families; one that is not here is called by its name."""
Fact = int | float | str
SOURCE_KINDS: tuple[SourceKind, ...] = ("archive", "hub", "url", "zip", "file")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model, as published."""

    name: str
    """Its published name, or path where the publisher has folders; unique in its model."""
    sources: tuple[Source, ...]
    sha256: str = ""
    size: int = 0
    """Bytes; 0 when it was never read at the source."""


@dataclass(frozen=True, slots=True)
class Model:
    """Files that belong together, and their terms."""

    name: str
    purpose: str
    licence: str
    """SPDX name, or LicenseRef-… where there is none."""
    commercial: Commercial
    files: tuple[ModelFile, ...]
    embedded: bool = False
    """What `portrait models pull` downloads when no name is given: what the default engines use."""
    optional: bool = False
    """Whether the default engines do without it where it is missing."""
    page: str = ""
    note: str = ""
    kind: ModelKind = "network"
    family: ModelFamily = ""
    own: bool = False
    """Whether the installation added it (`portrait models add`), and it does not ship with this program."""
    facts: Mapping[str, Fact] = field(default_factory=dict, hash=False)
    """How it wants to be drawn with, such as `steps`, `guidance`, `scheduler`, `timestep_spacing` of a distilled base."""
    alternative: str = ""
    """Of one that is not plainly for commercial use: what takes its place, names with commas between them, or `none`."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a licence asks of whoever uses the pictures of its models."""

    use_limits: str
    """A sentence that is handed on with the pictures."""
    page: str
    """Where the licence stands."""


@dataclass(frozen=True, slots=True)
class BasePair:
    """Which other bases stand in for a base: people are learned on one, and who was learned there is drawn on the other."""

    learn_on: str = ""
    """The base that people are learned on in its place; empty: itself."""
    draw_on: str = ""
    """The base that draws who was learned on it, where nobody says otherwise; empty: itself."""


def read_pair(facts: Mapping[str, Fact]) -> BasePair:
    """Return what the facts of a base say of its pair."""
    return BasePair(str(facts.get("learn_on", "")), str(facts.get("draw_on", "")))


@dataclass(frozen=True, slots=True)
class Manifest:
    """Every model of a manifest, and the archives that carry some of their files."""

    models: Mapping[str, Model]
    archives: Mapping[str, Archive] = field(default_factory=dict)
    terms: Mapping[str, Terms] = field(default_factory=dict)
    """By licence: those that ask for something to be handed on."""


def refusal(model: Model) -> str:
    """Return the sentence with which a model is refused where only what may be used commercially is taken."""
    instead = {
        "": "take another, or name that licence in models.commercial_licences if its terms were bought",
        "none": "leave it out, since nothing here takes its place",
    }.get(model.alternative, f"take {model.alternative} instead")
    return (
        f"The licence of {model.name} ({model.licence}) does not plainly allow commercial use, and the profile of this "
        f"installation is commercial: {instead}."
    )


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]


class _Source(_Strict):
    archive: str = ""
    hub: str = ""
    url: str = ""
    zip: str = ""
    file: str = ""
    member: str = ""
    path: str = ""
    revision: str = ""
    pickled: Sha256 = ""

    @model_validator(mode="after")
    def _check_one_place(self) -> "_Source":
        kinds = [kind for kind in SOURCE_KINDS if getattr(self, kind)]
        if len(kinds) != 1:
            raise ValueError(f"a source names exactly one of {', '.join(SOURCE_KINDS)}")
        if (self.member and kinds[0] not in {"archive", "zip"}) or ((self.path or self.revision) and kinds[0] != "hub"):
            raise ValueError("member belongs to archive and zip; path and revision belong to hub")
        return self

    def to_value(self, name: str) -> Source:
        for kind in SOURCE_KINDS:
            if place := getattr(self, kind):
                return Source(kind, place, self.member or self.path or name, self.revision, self.pickled)
        raise ValueError("no place")


class _File(_Strict):
    name: str
    sha256: Sha256 = ""
    size: int = Field(0, ge=0)
    sources: tuple[_Source, ...] = ()

    @model_validator(mode="after")
    def _check_relative_path(self) -> "_File":
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts or str(path) != self.name or "\\" in self.name or self.name == ".":
            raise ValueError(f"{self.name!r} is not a plain relative path")
        return self


class _Model(_Strict):
    purpose: str
    licence: str = Field(min_length=1)
    commercial: Commercial
    embedded: bool = False
    optional: bool = False
    page: str = ""
    note: str = ""
    kind: ModelKind = "network"
    family: Annotated[ModelFamily, Field(pattern=r"^[a-z0-9_]*$")] = ""
    facts: dict[str, Fact] = {}
    alternative: Annotated[str, Field(pattern=r"^([a-z0-9_]+(, [a-z0-9_]+)*)?$")] = ""
    sources: tuple[_Source, ...] = ()
    files: tuple[_File, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_file_names(self) -> "_Model":
        if len({file.name for file in self.files}) != len(self.files):
            raise ValueError("two files have one name")
        if not self.sources and not all(file.sources for file in self.files):
            raise ValueError("a file has no source")
        return self

    def to_value(self, name: str, own: bool) -> Model:
        files = tuple(
            ModelFile(
                file.name,
                tuple(source.to_value(file.name) for source in file.sources or self.sources),
                file.sha256,
                file.size,
            )
            for file in self.files
        )
        return Model(name, files=files, own=own, **self.model_dump(exclude={"sources", "files"}))


class _Archive(_Strict):
    requirement: str = Field(pattern=r"^[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+$")
    kind: Literal["wheel", "sdist"]
    platform: str = ""
    python: str = ""
    size: int = Field(0, ge=0)
    sha256: Sha256 = ""


class _Terms(_Strict):
    use_limits: str = Field(min_length=1)
    page: str = Field(pattern=r"^https://")


class _Manifest(_Strict):
    archives: dict[Name, _Archive] = {}
    terms: dict[str, _Terms] = {}
    models: dict[Name, _Model]

    @model_validator(mode="after")
    def _check_archives(self) -> "_Manifest":
        for model in self.models.values():
            for source in (*model.sources, *(source for file in model.files for source in file.sources)):
                if source.archive and source.archive not in self.archives:
                    raise ValueError(f"there is no archive {source.archive!r}")
        return self


def read_manifest(path: Path, own: bool = False) -> Manifest:
    """Read a manifest, with `own` that of an installation; raises `OperatorError` (`bad_manifest`), which names each wrong
    line."""
    try:
        read = _Manifest.model_validate(tomllib.loads(path.read_text("utf-8")))
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(str(part) for part in wrong['loc'])}: {wrong['msg']}" for wrong in error.errors())
        raise OperatorError("bad_manifest", f"The model manifest {path} does not hold: {lines}.") from error
    except (OSError, ValueError, RecursionError) as error:  # numbers too long, nested too deep
        raise OperatorError(
            "bad_manifest", f"The model manifest {path} cannot be read: {reading_fault(error)}."
        ) from error
    archives = {name: Archive(**archive.model_dump()) for name, archive in read.archives.items()}
    terms = {name: Terms(**terms.model_dump()) for name, terms in read.terms.items()}
    return Manifest({name: model.to_value(name, own) for name, model in read.models.items()}, archives, terms)


@functools.cache
def builtin_manifest() -> Manifest:
    """Return the manifest that ships with this package."""
    return read_manifest(Path(__file__).with_name("models.toml"))
