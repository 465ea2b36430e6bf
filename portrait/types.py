"""The values that flow from selfie to portrait: frozen dataclasses. Left and right are the picture's, not the person's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from portrait.arrays import Image, Points, Size, Vector
from portrait.generation.edits import Edit
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.generation.passes import Passes
from portrait.idphoto_spec import IdPhotoSpec

Verdict: TypeAlias = Literal["use", "spare", "refuse"]
"""`use`: chosen; `spare`: good enough, but not needed; `refuse`: it would harm the result."""
Composition: TypeAlias = Literal["half_figure", "head_and_shoulders", "close", "very_close"]
"""How much of a person a studio portrait shows: down to the waist, to the upper chest, to the neck, the face alone."""
Turn: TypeAlias = Literal["", "left", "front", "right"]
"""Side of the picture to which a head is turned; empty where its face cannot be put into a picture."""
Sign: TypeAlias = Literal["face", "sex", "age"]
"""What says that two photos show two people."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; edges may lie outside the image when a face is cut by the border."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) in pixels."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True, slots=True)
class Pose:
    """Head pose in degrees, 0 level into the camera; positive: nose to the picture's right, chin down, head clockwise."""

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, slots=True, eq=False)
class Selfie:
    """A decoded photo, turned upright by its EXIF orientation, in sRGB."""

    id: str
    """First 16 hex digits of the SHA-256 of the file: the same bytes are the same selfie."""
    image: Image
    name: str
    """Name of the file, as the person sees it."""
    native_size: Size
    """Size of the photo when it is decoded in full; `image` may be smaller."""

    @property
    def scale(self) -> float:
        """How many native pixels one pixel of `image` stands for; at least 1."""
        return self.native_size.width / self.image.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one image."""

    box: Box
    landmarks: Points
    """5×2: eye on the left of the picture, eye on the right, nose tip, mouth corner left, mouth corner right."""
    mesh: Points | None
    """478×3 in MediaPipe's order (the last ten are the irises), or None where the engine gives none."""
    embeddings: Mapping[str, Vector]
    """By embedding space (`dlib`, `buffalo_l`, `antelopev2`); empty when the face was found but not embedded."""
    pose: Pose
    confidence: float
    """The detector's score, 0..1."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable code of what is wrong with a photo, and what the person can do about it."""

    code: str
    tip: str


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of the face in a photo; every part is 0 (useless) to 1 (better would not help)."""

    sharpness: float
    exposure: float
    frontality: float
    size: float
    eyes: float
    framing: float
    total: float
    """Geometric mean of the parts, so that good parts do not outweigh a bad one."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Distance of a face to the person, in the space of one embedding; smaller is more alike."""

    space: str
    distance: float


@dataclass(frozen=True, slots=True)
class PhotoUses:
    """What can be made from a photo, by a rough silhouette of the person: a painter may still refuse a borderline case."""

    compositions: tuple[Composition, ...] = ()
    """Of studio portraits, the widest first."""
    idphoto: bool = False
    template: Turn = ""
    """Which templates it suits best: those whose face is turned to the same side."""


@dataclass(frozen=True, slots=True)
class SetUses:
    """What can be made from the references and crops of a training set."""

    compositions: tuple[Composition, ...] = ()
    idphoto: bool = False
    templates: tuple[Turn, ...] = ()
    training: bool = False
    """Whether there are enough photos to train a LoRA."""
    openings: tuple["Reason", ...] = ()
    """What further photos would open: a code for each kind that is missing, with a tip."""


@dataclass(frozen=True, slots=True)
class PersonQuestion:
    """Photos of which it is not sure that they show the person; who knows the person includes or excludes them."""

    person: tuple[str, ...]
    """Names of the photos that are taken for the person's."""
    unsure: tuple[str, ...]
    """Names of the others."""
    distance: float
    """Mean distance between both, in the embedding space of the set."""
    signs: tuple[Sign, ...]
    """What speaks for two people."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPhoto:
    """A photo with its verdict, as the report shows it."""

    name: str
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    selfie: Selfie | None = None
    """At the reduced size at which it was judged; None when the file could not be read."""
    face: Face | None = None
    """In the pixels of `selfie.image`."""
    quality: Quality | None = None
    likeness: Likeness | None = None
    quarter_turns: int = 0
    """Counter-clockwise quarter turns that made the photo upright, after those of its EXIF orientation."""
    uses: PhotoUses | None = None
    """None for refused photos, and in sets of versions that did not know it."""
    faces: tuple[Box, ...] = ()
    """All faces from left to right, as shares of width and height of the photo as it is stored."""
    window: Box = Box(0.0, 0.0, 1.0, 1.0)
    """The part that was judged, in shares of the upright photo: in a group photo, the person alone."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """What it shows; see `portrait.traits`."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """One training picture with its caption."""

    image: Image
    caption: str
    source: str
    """Name of the photo it was cut from."""
    before: Image | None = None
    """The same crop before enhancement; None when it was not enhanced."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A selfie at native resolution with its face, for painters and identity adapters."""

    name: str
    image: Image
    face: Face
    quality: Quality
    """Of the selfie as it was taken."""
    selfie: str = ""
    """`Selfie.id` of the photo; empty where it is not known."""
    enlarged: float = 1.0
    """How many times larger than the photo it is: a small face was given detail (`pipelines.enhance`)."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """The chosen and cropped photos of one person, ready for training."""

    crops: tuple[Crop, ...]
    references: tuple[Reference, ...]
    """The best first: the most frontal of the best photos leads."""
    mean_embeddings: Mapping[str, Vector]
    """Mean embedding of the chosen photos, by embedding space."""
    photos: tuple[ScoredPhoto, ...]
    """Every photo that was given, in that order."""
    trigger: str
    class_word: str
    questions: tuple[PersonQuestion, ...] = ()
    uses: SetUses | None = None
    """None in sets of versions that did not know it."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """What the person chose to say of themselves."""
    asks_guardian: bool | None = None
    """Whether a parent or guardian is to be asked before the person is drawn; None where the photos do not tell."""


StyleKind: TypeAlias = Literal["studio", "template", "text", "idphoto"]
Skin: TypeAlias = Literal["person", "template"]
"""Whose skin tone a face in a template has; `template` also means the arithmetic of version 0.1.0."""


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A person who can be drawn: reference photos, and a LoRA or token embedding where one was trained."""

    id: str
    references: tuple[Reference, ...]
    """The best first."""
    mean_embeddings: Mapping[str, Vector]
    lora: Path | None = None
    """LoRA of the person, in diffusers' names; None for painters that need no training."""
    trigger: str = ""
    """The trigger word that stands for the person in a prompt."""
    class_word: str = ""
    base: str = ""
    """Name of the base model that the LoRA belongs to."""
    base_hash: str = ""
    """Hash of that base's files; empty where it is not known."""
    tokens: Path | None = None
    """File with the embedding of the trigger, where textual inversion was used."""


@dataclass(frozen=True, slots=True, eq=False)
class StylePicture:
    """A picture that people are put into."""

    image: Image
    faces: tuple[Face, ...]
    """Numbered from 1, from left to right; faces that were pointed at follow."""
    places: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """Centres (x, y) of the faces in pixels of the file, by number, for recipes: another version may count other faces."""
    tones: Mapping[int, Vector] = field(default_factory=dict)
    """L, a, b that the skin of a face is to have, by its number; the others are drawn as in version 0.1.0."""
    missed: tuple[Box, ...] = ()
    """Where somebody may have been missed: heads whose face is hidden or too unclear to be drawn over."""
    scale: float = 1.0
    """Pixels of the file for one of `image`, which is smaller where the file has more than are drawn into."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """One step of post-processing a drawn portrait."""

    name: str
    """A refiner, a restorer of faces, or `upscale2`, `upscale4`."""
    strength: float = 1.0
    """Blend of the result over the input, 0..1."""
    method: int = 2
    """How colours are balanced: by the skin, or 1 as in version 0.1.0, whose recipes do not say it."""


@dataclass(frozen=True, slots=True, eq=False)
class Style:
    """What a portrait looks like: backdrop, template picture or prompt; a version of it never changes."""

    id: str
    version: int
    kind: StyleKind
    title: str
    backdrop: str = ""
    """For kind `studio`: a painted backdrop's name, or a colour of paper; or a picture, out of focus by `blur` (0..1)."""
    backdrop_picture: Image | None = None
    blur: float = 0.0
    compositions: tuple[Composition, ...] = ()
    """For kind `studio`: which it suits, the preferred one first; the usual ones when empty."""
    picture: StylePicture | None = None
    prompt_spec: PromptSpec | None = None
    """For kind `text`, and for a template that a diffusion model draws into."""
    passes: Passes | None = None
    """For kind `template`: how strongly a diffusion model draws into it; the defaults when None."""
    engines: tuple[str, ...] = ()
    """Painters it was made for, the preferred one first; when empty, the default one of its kind."""
    preset: str = ""
    """Name of an ID-photo preset, for kind `idphoto`."""
    background: str = ""
    """For kind `idphoto`: a colour's name, #rrggbb, or `kept` for the photo's own; the preset's when empty."""
    skin: Skin = "person"
    """For kind `template`: whose skin tone a face has, unless a request says otherwise."""
    retouch: float = 0.4
    """Strength of the skin retouch, 0..1."""
    refiners: tuple[Refinement, ...] = ()
    """Post-processing of every portrait, in this order."""
    licence: str = ""
    credit: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PortraitRequest:
    """A request for `count` portraits of some people in a style."""

    people: Mapping[int, Identity]
    """By face number of the style; a studio has one face, number 1. Faces without a person stay as they are."""
    style: Style
    seed: int
    count: int
    size: Size | None = None
    """Size of the portrait; None leaves it to the style."""
    refiners: tuple[Refinement, ...] = ()
    """After the style's; one of the same name takes the place of the style's, and with strength 0 removes it."""
    options: GenerationOptions | None = None
    """For kind `text`; with a template, they have a diffusion model draw into it."""
    edit: Edit | None = None
    """For kind `text`: the picture to begin from and how to change it."""
    idphoto: IdPhotoSpec = field(default_factory=IdPhotoSpec)
    skin: Skin | None = None
    """As the style's; None leaves it to that."""
    drawn: Mapping[str, object] | None = None
    """Facts of the recipe by which it is drawn again, empty for those of version 0.1.0; None for a new portrait."""
    only: int | None = None
    """Number of the candidate, from 0, that alone is drawn; None for all of them."""

    @property
    def mode(self) -> str:
        """How it is drawn: the kind of its style, or `inpaint` where a diffusion model draws into a template."""
        with_diffusion = self.options is not None or self.style.engines[:1] == ("diffusion",)
        return "inpaint" if with_diffusion and self.style.kind == "template" else self.style.kind

    @property
    def keeps_skin(self) -> bool:
        """Whether faces of a template get the person's own skin tone."""
        return self.style.kind == "template" and (self.skin or self.style.skin) == "person"

    @property
    def is_generated(self) -> bool:
        """Whether a diffusion model generates it: then it depends on the seed and must pass the guard."""
        return self.mode in ("text", "inpaint")


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A drawn picture before it is measured."""

    image: Image
    reference_names: Mapping[int, str]
    """Name of the reference used, by face number."""
    variation: Mapping[str, float]
    """Random choices of this candidate, by name; with the request they reproduce it."""
    before: Image | None = None
    """The same composition without retouch and relight, where a painter has those."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What else reproduces it, as JSON: models with their hashes, scheduler, strengths, versions."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Measures that only its painter can take: `residue`, what of the old room sticks to a cut-out, 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A finished portrait with its measures."""

    image: Image
    before: Image | None
    reference_names: Mapping[int, str]  # not in the recipe, which is stored in the picture
    likeness: Mapping[int, Likeness]
    """By face number; distance of the drawn face to the person."""
    scores: Mapping[str, float]
    """`sharpness`, `eyes`, `faces` … each in its own unit, and `total` 0..1, by which portraits are ranked."""
    recipe: Mapping[str, object]
    """All that reproduces it, as JSON."""
