"""Schemas of model files: which there are, and models of one's own that are added, replaced and removed."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from tasks.schemas.shared import Page, RequestBody, ResponseBody

ModelKind: TypeAlias = Literal["base", "lora", "vae", "controlnet", "ip-adapter", "embedding", "upscaler"]
Address: TypeAlias = Annotated[
    str, StringConstraints(min_length=5, max_length=2000, pattern=r"^(hub:|https?://)[^\s\x00-\x1f]+$")
]
Words: TypeAlias = Annotated[str, StringConstraints(max_length=500, strip_whitespace=True)]


BaseName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{0,60}$")]


class ModelAddition(ResponseBody):
    """How far a model is that is being added, or why it could not be."""

    state: Literal["running", "failed", "broken_off"] = Field(
        description="`broken_off`: the program ended meanwhile; adding it again goes on where it stopped."
    )
    source: str
    done: int = Field(description="Bytes that came.")
    total: int = Field(description="Bytes in all; 0 where that is not known.")
    code: str = ""
    message: str = ""


class ModelStatus(ResponseBody):
    """A model: installed or not, its licence, and how to download it."""

    name: str
    purpose: str
    licence: str
    commercial: str
    ready: bool
    missing: list[str]
    embedded: bool = Field(False, description="Whether `portrait models pull` brings it when no name is given.")
    bytes: int = Field(0, description="Of all its files; 0 where that is not known before they came.")
    page: str = ""
    note: str = ""
    allowed: bool = Field(True, description="Whether the profile of the installation lets it be used.")
    alternative: str = Field(
        "", description="Of one that is not plainly for commercial use: what takes its place, or `none`."
    )
    kind: str = Field("network", description="`network`: what an engine loads by its own name.")
    family: str = Field("", description="The bases that it fits; empty where it fits any, or where that is not known.")
    own: bool = Field(False, description="Whether it was added here and does not ship with this program.")
    state: Literal["here", "partly", "missing"] = "missing"
    facts: Mapping[str, int | float | str] = Field({}, description="How it wants to be drawn with, such as `steps`.")
    addition: ModelAddition | None = None


class ModelPage(Page[ModelStatus]):
    """The models, and on what terms the installation works."""

    profile: Literal["research", "commercial"] = Field(
        description="`commercial`: only models and styles that may plainly be used commercially are used."
    )


class ModelRequest(RequestBody):
    """A model of one's own, and where it comes from."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")] = Field(examples=["film_look"])
    kind: ModelKind
    source: Address = Field(
        description="`hub:ORG/REPO`, with `@REVISION` and `:PATH` where they matter, or an address.",
        examples=["hub:someone/film-look:film.safetensors"],
    )
    licence: Annotated[Words, StringConstraints(min_length=1)] = Field(examples=["CreativeML-OpenRAIL-M"])
    commercial: Literal["yes", "no", "ask"]
    family: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{0,40}$")] = Field(
        "", description="Where the file itself does not tell it: `sd15`, `sdxl`, `flux2` …"
    )
    purpose: Words = ""
    page: Annotated[str, StringConstraints(max_length=2000, pattern=r"^(https?://[^\s\x00-\x1f]+)?$")] = ""
    note: Words = ""
    steps: int | None = Field(None, ge=1, le=150, description="Of a distilled model: the steps that it draws in.")
    guidance: float | None = Field(None, ge=0, le=30)
    scheduler: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_+-]{0,40}$")] = ""
    timestep_spacing: Literal["", "leading", "trailing", "linspace"] = ""
    max_guidance: float | None = Field(None, ge=0, le=30, description="The largest scale of guidance that it takes.")
    prediction_type: Literal["", "epsilon", "v_prediction"] = ""
    rescale_betas_zero_snr: bool = False
    learn_on: BaseName = Field("", description="Of a base: the one that people are learned on in its place.")
    draw_on: BaseName = Field("", description="Of a base: the one that draws who was learned on it.")
    replace: bool = Field(False, description="Whether it takes the place of an own model of that name.")
