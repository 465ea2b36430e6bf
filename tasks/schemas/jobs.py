"""Schemas of jobs: requests for trainings and generations, job state and events."""

from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from tasks.schemas.idphotos import IdPhotoOptions
from tasks.schemas.recipes import Params, Result
from tasks.schemas.shared import FINISHED, ErrorDetail, Id, Line, Point, RequestBody, ResponseBody, State, Timestamp


class TrainingRequest(RequestBody):
    """A training: a person's photos are judged and, with a base, a LoRA is trained."""

    person: Id
    base: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$",
        description="A base model to train a LoRA on; null for portraits that need none.",
    )
    steps: int | None = Field(None, ge=1, le=10_000, description="Steps of the LoRA; null for the usual number.")

    @model_validator(mode="after")
    def _check_steps(self) -> "TrainingRequest":
        if self.steps is not None and self.base is None:
            raise ValueError("steps are those of a base: name one, or leave them out")
        return self


class PictureSize(RequestBody):
    """Width and height in pixels."""

    width: int = Field(ge=64, le=8000)
    height: int = Field(ge=64, le=8000)


Strength = Annotated[float, Field(ge=0, le=2)]
StrongAdapter = Literal["lora", "instantid", "photomaker", "photomaker_v2", "faceid", "faceid_plus"]
"""Those whose strength may be chosen."""
IdentityAdapter = Literal[StrongAdapter, "reference"]
"""How a diffusion model draws a person: with their LoRA, with an adapter that reads photos, or from photos as references."""
Pass = Literal["face", "tone", "fusion", "ring", "seam"]
"""A pass that draws a person into a template: see docs/templates.md."""
TemplateControl = Literal["canny", "pose", "color", "tile"]
"""A control that a diffusion model follows in a template."""
Scheduler = Literal[
    "",
    "own",
    "ddim",
    "ddpm",
    "pndm",
    "lms",
    "lms_karras",
    "euler",
    "euler_a",
    "heun",
    "dpm2_a",
    "dpm_2m",
    "dpm_2m_karras",
    "dpm_2s_a",
    "dpm_sde",
    "dpm_sde_karras",
    "deis",
    "unipc",
    "lcm",
]
"""Scheduler by its name here; empty for the preset's, `own` for the base's."""


ModelName = Annotated[str, StringConstraints(max_length=60, pattern=r"^[a-z0-9._-]*$")]
"""Name of a model of the store; empty for the usual one."""


ControlKind: TypeAlias = Literal["canny", "pose", "depth", "tile", "color", "softedge", "segmentation"]
"""Controls that make their control image of a photo."""


class ControlInput(RequestBody):
    """A ControlNet input: a picture that the generation follows."""

    kind: ControlKind | Annotated[ModelName, StringConstraints(min_length=1)] = Field(
        description="`canny`, `pose`, `depth`, `tile`, `color`, `softedge`, `segmentation`, or the name of a ControlNet that "
        "was added.",
    )
    template: Id = Field(description="A picture that you uploaded to `/v1/templates`.")
    scale: float = Field(0.5, ge=0, le=2, description="Conditioning scale.")
    start: float = Field(0.0, ge=0, le=1, description="The share of the steps from which it is followed …")
    end: float = Field(1.0, ge=0, le=1, description="… and to which.")

    @model_validator(mode="after")
    def _check_steps(self) -> "ControlInput":
        if self.start >= self.end:
            raise ValueError("a hint starts before it ends")
        return self


BlockWeight = Annotated[float, Field(ge=-4, le=4)]
"""What a block of a U-Net takes of a LoRA's strength."""


class ImagePrompt(RequestBody):
    """A picture whose look an IP-Adapter gives the portraits, beside whoever is drawn."""

    template: Id = Field(description="A picture that you uploaded to `/v1/templates`.")
    adapter: ModelName = Field(
        "ip_adapter", min_length=1, description="ip_adapter, ip_adapter_plus, ip_adapter_plus_face, or one added here."
    )
    scale: float = Field(0.5, ge=0, le=1, description="How much of the look; 0 does without.")


class GenerationOptions(RequestBody):
    """Options of a diffusion model, for text styles and templates; the installation chooses what is left out."""

    base: str = Field("", max_length=60, pattern=r"^[a-z0-9._-]*$", description="Name of a base model.")
    identities: list[IdentityAdapter] = Field(
        [],
        max_length=4,
        description="LoRA and adapters that draw the person, several together; the installation chooses when empty.",
    )
    preset: Literal["fast", "balanced", "best"] = "balanced"
    traits: str = Field("", max_length=200, description="Traits of the person in free words.")
    strengths: dict[StrongAdapter | Literal["identitynet"] | Pass | TemplateControl, Strength] = Field(
        {},
        description="By identity, 0 to 2, larger is more alike and 0 does without; by pass and control of a template, 0 to 1.",
    )
    start_merge_step: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the steps before PhotoMaker merges the photos; null goes by its strength.",
    )
    vae: ModelName = Field("", description="VAE of the model store to decode with; `own` for the base's.")
    few_steps: ModelName = Field(
        "", description="LoRA of the model store that draws in few steps, of which it has its own."
    )
    scheduler: Scheduler = ""
    steps: int = Field(0, ge=0, le=150, description="0 leaves it to the preset.")
    guidance: float | None = Field(None, ge=0, le=30, description="null leaves it to the preset.")
    guidance_rescale: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share by which guidance is brought back to the spread of a drawing without; 0.7 as published.",
    )
    cutoff: float | None = Field(None, ge=0, le=1, description="Share of the steps after which guidance ends.")
    lora_weights: dict[ModelName, list[BlockWeight]] = Field(
        {},
        max_length=8,
        description="Block weights of LoRAs that style or words name, `lora` for the person's: 17 or 26 numbers on SD 1.5, "
        "12 or 20 on SDXL, in the order BASE, IN, M00, OUT.",
    )
    clip_skip: int = Field(0, ge=0, le=8, description="Last layers of the text encoder that are left out.")
    perturbed: float = Field(0.0, ge=0, le=10, description="Scale of perturbed-attention guidance; 0 does without.")
    skip_layer_guidance: float = Field(
        0.0, ge=0, le=10, description="Scale of skip-layer guidance, 2.8 as published; 0 does without."
    )
    freeu: bool = False
    refiner: float = Field(0.0, ge=0, le=0.5, description="Share that SDXL's refiner draws at the end, 0.05 or more.")
    hints: list[ControlInput] = Field([], max_length=4, description="ControlNet inputs, for text styles.")
    look: ImagePrompt | None = Field(None, description="The look of a picture, for text styles.")
    sdedit: float = Field(
        0.0,
        ge=0,
        le=0.6,
        description="Strength with which the finished drawing is drawn once more, for text styles; 0 does without.",
    )
    sdedit_model: Literal["base", "refiner"] = Field(
        "base", description="What draws it once more: the base, with the person, or SDXL's refiner."
    )


Number = Annotated[str, StringConstraints(pattern=r"^([1-9]|1[0-6])$")]
"""Number of a face."""


class GenerationRequest(RequestBody):
    """Portraits of one style, or in an uploaded picture."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"people": {"1": "person_19a0c2b4e5f1"}, "style": "studio-warm", "count": 4}}
    )

    people: dict[Number, Id] = Field(
        min_length=1, max_length=16, description="By number of the face, from the left; a studio has one, number 1."
    )
    style: str | None = Field(None, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)
    template: Id | None = Field(None, description="A picture that you uploaded, instead of a style.")
    places: dict[Number, Point] = Field(
        {},
        max_length=16,
        description="Numbers of `people` that stand for a point of `template`, where a face was missed.",
    )
    skin: Literal["person", "template"] | None = Field(
        None, description="Whose skin tone a face in a picture has; null leaves it to the style."
    )
    count: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    size: PictureSize | None = None
    format: Literal["jpg", "png", "webp"] = "jpg"
    technique: GenerationOptions | None = Field(
        None, description="For text styles; with a template, a diffusion model draws into it."
    )
    traits: dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,60}$")], Line] = Field(
        {}, max_length=16, description="By placeholder of the style: age, glasses …"
    )
    idphoto: IdPhotoOptions | None = Field(None, description="For styles of the kind `idphoto`.")

    @model_validator(mode="after")
    def _check_source(self) -> "GenerationRequest":
        if (self.style is None) == (self.template is None):
            raise ValueError("give either style or template")
        if self.places and (self.template is None or not set(self.places) <= set(self.people)):
            raise ValueError("places are of a template, and of numbers that people has")
        return self


class OrderRequest(RequestBody):
    """Portraits of several styles and pictures, placed together or not at all."""

    generations: list[GenerationRequest] = Field(min_length=1, max_length=32)


class JobIds(RequestBody):
    """Ids of jobs."""

    jobs: list[Id] = Field(min_length=1, max_length=200)


class JobCount(ResponseBody):
    """How many jobs were changed."""

    jobs: int


class JobFault(ResponseBody):
    """Why a job failed."""

    code: str
    message: str
    again: bool = Field(
        True, description="Whether trying it again as it is may help; not for what lies in the order itself."
    )
    errors: list[ErrorDetail] = Field([], description="Photo by photo, where that is what is wrong.")


class Job(ResponseBody):
    """A job: its request, state, progress and result."""

    id: str
    owner: str
    kind: str
    queue: str
    order: str = Field("", description="The order that it was placed with; empty for a job of its own.")
    state: State
    phase: str
    progress: float = Field(ge=0, le=1)
    message: str
    preview: int = Field(description="Number of the newest preview picture; 0 while there is none.")
    place: int | None = Field(None, description="Place in the queue, 1 is next; null when it does not wait.")
    seconds_left: float | None = Field(
        None,
        description="Estimate: of a running job from its progress, before from past runs; null without anything to go by, "
        "and when the estimate was wrong.",
    )
    missing: list[str] = Field(
        [], description="What is missing, one sentence each, when no live worker can do the job."
    )
    wants: Params
    result: Result
    portraits: int = Field(0, description="Portraits that are finished so far and were not deleted.")
    portrait_ids: list[str] = Field(
        [], description="Their ids: in the order in which they were drawn, and the best first when the job has ended."
    )
    seen: bool = Field(False, description="Whether its owner has noted how it ended: `POST /v1/jobs/{id}/seen`.")
    fault: JobFault | None
    losses: int
    failures: int
    priority: int = Field(0, description="Set by operators: jobs of a higher number are begun first.")
    created: Timestamp
    started: Timestamp | None
    finished: Timestamp | None

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in FINISHED


class JobUpdate(RequestBody):
    """What an operator may change of a job."""

    priority: int = Field(ge=-100, le=100, description="Jobs of a higher number are begun first; 0 is usual.")


class Order(ResponseBody):
    """What was placed together."""

    id: str
    jobs: list[Job] = Field(description="One for each of `generations`, in their order.")


class JobEvent(ResponseBody):
    """An event of a job: the `data` of a server-sent event.

    `state` and `progress` events have phase, progress, message, preview and fault; what they do not know of is null or
    empty. `standing` events have place, estimate, portraits and what is missing.
    """

    state: State
    phase: str = ""
    progress: float = 0.0
    message: str = ""
    preview: int = 0
    place: int | None = None
    seconds_left: float | None = None
    portraits: int = 0
    missing: list[str] = Field(default_factory=list)
    fault: JobFault | None = None
