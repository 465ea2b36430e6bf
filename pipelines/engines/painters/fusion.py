"""Painter that puts a person's face into a template: no model but the face mesh, no GPU; the default for templates.

Where the settings name a face swapper, its network draws the face in place of the warp; mask and skin are the same.

The selfie whose pose and expression are nearest to the template's face is warped onto it. Where that selfie hardly shows the
far side of a turned head, the near side is mirrored there, and nowhere else: a mirrored face is less like the person.
Everything outside of the template's face keeps its pixels, but for skin that is led over to the person's tone, and the frame
of their glasses.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.engines import status as status_of
from pipelines.engines.painters import numbers_drawn
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask, Size, random_generator
from portrait.errors import OperatorError, UserError
from portrait.fusion.body_skin import Silhouette
from portrait.fusion.face_drawing import TemplateFace, Variation, draw_reference, draw_swapped, prepare_face
from portrait.fusion.references import full_mesh, is_usable, rank_references, without_sunglasses
from portrait.fusion.skin_tone import lead_picture
from portrait.images.resize import scale_to_cover
from portrait.photos.quality import share_outside
from portrait.ports import FaceSwapper, Progress
from portrait.types import Box, Candidate, Face, PortraitRequest, Reference, StylePicture

MIN_TEMPLATE_WIDTH = 48.0
"""Least width of a template's face, pixels: below it eyes are two or three pixels tall, and nobody is recognised."""
MAX_OUTSIDE = 0.02
"""Largest share of a template's face outside the picture."""
MAX_TEMPLATE_YAW = 28.0
"""Largest yaw of a template's face, in the mesh's compressed degrees: 35° of a real head read as 21 to 28."""
MAX_TEMPLATE_PITCH = 32.0
"""Largest pitch of a template's face, up or down."""
OUTLINE = 0.7
"""How far the person's outline follows the template's: 1 fits its jaw exactly, 0 keeps the person's own."""
MEASURED_PHOTOS = 3
"""Photos of a person, the best first, in which their own skin tone is measured."""
MIN_CANDIDATES = 2
"""Least number of candidates, so that there is a choice, of a template of up to `LARGE_PIXELS`."""
LARGE_PIXELS = 6_000_000
"""Pixels of a template beyond which only as many candidates are drawn as were requested."""


FindSwapper = Callable[[Mapping[str, object] | None], FaceSwapper | None]
"""The face swapper of an installation, or of the facts of a recipe; None where faces are warped."""


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What a request draws: where, from which references, in which variations."""

    picture: StylePicture
    faces: dict[int, Face]
    """By number, from left to right."""
    ranked: dict[int, list[Reference]]
    """References of the person for each face, the nearest first."""
    variations: list[Variation]


class Fusion:
    """Draws people into templates by warping one of their selfies."""

    def __init__(self, silhouette: Silhouette | None = None, swapper: FindSwapper = lambda drawn: None) -> None:
        """`silhouette` tells a person from what is behind them, so that their arms and hands are found, too; `swapper` is
        given the facts of a recipe by which a portrait is drawn again, or None."""
        self._silhouette, self._swapper = silhouette, swapper

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """At least `request.count` candidates; see `portrait.ports.Painter`. Faces without a person are left alone."""
        return list(self.draw_each(request, progress))

    def paint_first(self, request: PortraitRequest, progress: Progress, most: int) -> list[Candidate]:
        """The first candidates of `paint`, at most `most` of them."""
        return list(islice(self.draw_each(request, progress), most))

    def draw_each(self, request: PortraitRequest, progress: Progress) -> Iterator[Candidate]:
        """The candidates of `paint` one by one; see `portrait.ports.StreamingPainter`."""
        _plan(request)  # what cannot be drawn is refused first
        led, facts = self.lead_over(request)
        for each in self.draw_led(led, progress):
            yield replace(each, facts={**each.facts, **facts})

    def lead_over(self, request: PortraitRequest) -> tuple[PortraitRequest, dict[str, object]]:
        """The request with its picture's skin led over to the people's own (as it is where the template's skin is wished),
        and the facts of that and of the face swapper."""
        picture, swapper = request.style.picture, self._swapper(request.drawn)
        facts: dict[str, object] = {} if swapper is None else {"faceswap": dict(swapper.facts)}
        if picture is None or not request.keeps_skin:
            return request, facts
        people = {number: without_sunglasses(person, number) for number, person in request.people.items()}
        photos = {
            number: [(each.image, each.face) for each in person.references if is_usable(each)][:MEASURED_PHOTOS]
            for number, person in people.items()
        }
        led, tones = lead_picture(picture, photos, self._silhouette)
        style = replace(request.style, picture=led)
        return replace(request, people=people, style=style), facts | ({"skin": tones} if tones else {})

    def draw_led(self, request: PortraitRequest, progress: Progress, most: int | None = None) -> Iterator[Candidate]:
        """The candidates of a request whose picture `lead_over` gave, at most `most` of them, one by one."""
        plan = _plan(request)
        faces, ranked, variations = plan.faces, plan.ranked, plan.variations[:most]
        numbers = numbers_drawn(request, len(variations))
        swapper = self._swapper(request.drawn)
        total = len(numbers) * len(faces)
        progress(0, total, "Looking at the picture")
        templates = [prepare_face(plan.picture, face, number) for number, face in faces.items()]
        for done, at in enumerate(numbers):
            variation = variations[at]
            image, drawn_from = plan.picture.image.copy(), {}
            for step, template in enumerate(templates):
                progress(done * len(templates) + step, total, f"Drawing face {template.number}")
                sources = _sources(ranked[template.number], at, variation)
                _draw_face(image, plan.picture.image, template, (sources, variation), swapper)
                drawn_from[template.number] = sources[0].name
            image = crop_to_size(image, request.size, [template.face.box for template in templates])
            numbers = {"rank": float(variation.rank), "outline": variation.outline, "contrast": variation.contrast}
            yield Candidate(image, drawn_from, numbers)
        progress(total, total, "Drawn")

    def check(self, request: PortraitRequest) -> StylePicture:
        """The picture that people are put into; raises the error that `paint` would raise."""
        return _plan(request).picture

    def paint_face(self, image: Image, request: PortraitRequest, number: int, at: int) -> Image:
        """`image`, another version of the template, with face `number` drawn into it as in candidate `at`."""
        plan = _plan(request)
        ranked, variation = plan.ranked[number], plan.variations[at]
        out = image.copy()
        template = prepare_face(replace(plan.picture, image=image), plan.faces[number], number)
        drawn_from = _sources(ranked, at, variation), variation
        _draw_face(out, image, template, drawn_from, self._swapper(request.drawn))
        return out


def _sources(ranked: Sequence[Reference], at: int, variation: Variation) -> Sequence[Reference]:
    """References that candidate `at` is drawn from, the one it is named after first; a warp shows that one alone.

    The first candidates show one photo each. After them a swapper, for which an outline is nothing, takes all together.
    """
    first = variation.rank % len(ranked)
    return [ranked[first]] if at < len(ranked) else [ranked[first], *ranked[:first], *ranked[first + 1 :]]


def _draw_face(
    image: Image,
    under: Image,
    template: TemplateFace,
    drawn_from: tuple[Sequence[Reference], Variation],
    swapper: FaceSwapper | None,
) -> None:
    """Draw a face into `image`: a warped reference, or what the swapper makes of the face in the template `under` it."""
    sources, variation = drawn_from
    if swapper is None:
        draw_reference(image, template, sources[0], variation)
    else:
        draw_swapped(image, template, swapper.swap(under, template.face, sources), variation.seed)


def _plan(request: PortraitRequest) -> _Plan:
    """What a request draws; raises `UserError` or `OperatorError` with the reason why it cannot be drawn."""
    picture = request.style.picture
    if picture is None:
        raise OperatorError("no_picture", f"The style {request.style.id} has no picture to put people into.")
    if not request.people:
        raise UserError("nobody", "Say who is to be put into the picture.")
    faces = {number: _check_template_face(picture, number) for number in sorted(request.people)}
    ranked = {number: rank_references(person, faces[number], number) for number, person in request.people.items()}
    variations = _variations(request, picture.image, min(len(each) for each in ranked.values()))
    return _Plan(picture, faces, ranked, variations)


def _check_template_face(picture: StylePicture, number: int) -> Face:
    """Face `number` of the template; raises `UserError` or `OperatorError` where it cannot be drawn over."""
    if not 1 <= number <= len(picture.faces):
        has = "no face" if not picture.faces else f"{len(picture.faces)} face(s), numbered from left to right"
        raise UserError("template_face_missing", f"The picture has {has}; there is no face {number}.")
    face = picture.faces[number - 1]
    if full_mesh(face) is None:
        raise OperatorError(
            "no_mesh",
            "Putting a face into a picture needs a face mesh. Set engines.faces to blazeface in the settings.",
        )
    other = "Choose another picture, or leave this face as it is."
    if face.box.width < MIN_TEMPLATE_WIDTH:
        size = f"{face.box.width:.0f} pixels wide; at least {MIN_TEMPLATE_WIDTH:.0f} are needed"
        raise UserError("template_face_small", f"Face {number} of the picture is {size}. {other}")
    if share_outside(picture.image, face) > MAX_OUTSIDE:
        raise UserError("template_face_cut", f"Face {number} of the picture is cut off by its border. {other}")
    if abs(face.pose.yaw) > MAX_TEMPLATE_YAW or abs(face.pose.pitch) > MAX_TEMPLATE_PITCH:
        raise UserError("template_profile", f"Face {number} of the picture is turned too far away. {other}")
    return face


def _variations(request: PortraitRequest, image: Image, references: int) -> list[Variation]:
    """One variation per candidate: first each reference as it is, then with a random outline and contrast."""
    large = image.shape[0] * image.shape[1] > LARGE_PIXELS
    count = max(1, request.count) if large else max(request.count, MIN_CANDIDATES)
    random = random_generator(request.seed)
    variations = []
    for at in range(count):
        outline, contrast = OUTLINE, 1.0
        if at >= references:
            outline, contrast = float(random.uniform(0.45, 0.95)), float(random.uniform(0.88, 1.08))
        variations.append(
            Variation(at % references, round(outline, 3), round(contrast, 3), int(random.integers(2**31)))
        )
    return variations


def crop_to_size(image: Image, size: Size | None, boxes: Sequence[Box]) -> Image:
    """The picture at `size`: scaled to cover it, then cropped so that the drawn faces stay in the middle.

    `boxes` are the faces' in `image`; without a size it stays as it is.
    """
    if size is None or (size.height, size.width) == image.shape[:2]:
        return image
    scaled = scale_to_cover(image, size, cv2.INTER_CUBIC)
    factor = max(size.width / image.shape[1], size.height / image.shape[0])
    x, y = np.mean([box.centre for box in boxes], axis=0) * factor
    left = int(np.clip(x - size.width / 2, 0, scaled.shape[1] - size.width))
    top = int(np.clip(y - size.height * 0.45, 0, scaled.shape[0] - size.height))
    return np.ascontiguousarray(scaled[top : top + size.height, left : left + size.width], np.uint8)


def make(settings: Settings, models: ModelStore, engines: Engines) -> Fusion:
    """The engine; there is nothing to load, as faces come with their meshes. Matter and swapper are loaded when needed."""

    def silhouette(image: Image, face: Face) -> Mask | None:
        try:
            return engines.matter().silhouette(image, face)
        except OperatorError as error:
            if error.code != "missing_model":
                raise
            return None  # arms and hands then keep the template's tone

    return Fusion(silhouette, engines.faceswapper)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """What is missing of the face swapper that the settings name; without one no model file is needed."""
    name = settings.engines.faceswap
    return status_of("faceswap", name, settings, models) if name else []
