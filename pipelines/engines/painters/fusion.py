"""Painter that puts a person's face into a template: no model but the face mesh, no GPU; the default for templates.

The selfie whose pose and expression are nearest to the template's face is warped onto it. Where that selfie hardly shows the
far side of a turned head, the near side is mirrored there, and nowhere else: a mirrored face is less like the person.
Everything outside of the template's face keeps its pixels, but for skin that is led over to the person's tone, and the frame
of their glasses.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask, Points, Size, Vector, random_generator
from portrait.errors import OperatorError, UserError
from portrait.faces.glasses import wears_sunglasses
from portrait.faces.mesh import MESH_POINTS
from portrait.fusion.blending import (
    OWN_SKIN,
    PLAIN,
    WORKING_WIDTH,
    TargetFace,
    analyze_target,
    bare_skin_mask,
    blend_into,
    covered_skin_mask,
    missing_noise,
    painted_skin,
)
from portrait.fusion.body_skin import Silhouette
from portrait.fusion.frames import put_on_glasses, take_off_glasses
from portrait.fusion.occluders import face_width, lens_mask, rim_mask, skin_color_distance, split_hidden, with_glasses
from portrait.fusion.references import full_mesh, is_usable, rank_references, without_sunglasses
from portrait.fusion.relighting import join_halves, relight
from portrait.fusion.skin_tone import lead_picture, settle_tone, shift_to_tone
from portrait.fusion.warp import (
    MIRROR,
    interpolate_points,
    match_pose,
    point_visibility,
    pull_in_silhouette,
    shrink_with_mesh,
    thin_plate_spline,
    upsample_grid,
    warp_image,
)
from portrait.images.color import to_lab
from portrait.images.resize import resize, scale_to_cover
from portrait.photos.quality import share_outside
from portrait.ports import Progress
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


@dataclass(frozen=True, slots=True)
class _Variation:
    """What sets one candidate apart."""

    rank: int
    """Which reference: 0 is the nearest."""
    outline: float
    contrast: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class _TemplateFace:
    """A face of a template: its crop, where that lies in the template, and the face at working size."""

    number: int
    left: int
    top: int
    image: Image
    mesh: Points
    """In the pixels of `image`."""
    face: Face
    target: TargetFace
    tone: Vector | None
    """L, a, b that the skin is to have; None leaves it as the template has it."""
    glasses: bool
    """Whether the template wears glasses, which stay; looked for only where there is a `tone`."""


@dataclass(frozen=True, slots=True, eq=False)
class _WarpedFace:
    """A selfie warped onto a template's face, as large as the face's crop of the template."""

    source: Image
    mirrored: Image
    """The mirrored selfie; `source` itself where nothing of it is needed."""
    source_weight: Mask
    """How much of each pixel is taken from `source` rather than `mirrored`; at working size."""


@dataclass(frozen=True, slots=True, eq=False)
class _BlendedFace:
    """A warped face in the template's light; images and masks at working size."""

    warped: Image
    """The warped selfie in its own light."""
    image: Image
    alpha: Mask
    """How much of each pixel the face replaces in the template."""
    detail: Mask
    """How much of each pixel is the selfie's, rather than bare skin painted where hair was."""
    noise: float
    """Standard deviation of the grain that is added, levels of 255."""
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What a request draws: where, from which references, in which variations."""

    picture: StylePicture
    faces: dict[int, Face]
    """By number, from left to right."""
    ranked: dict[int, list[Reference]]
    """References of the person for each face, the nearest first."""
    variations: list[_Variation]


class Fusion:
    """Draws people into templates by warping one of their selfies."""

    def __init__(self, silhouette: Silhouette | None = None) -> None:
        """`silhouette` tells a person from what is behind them, so that their arms and hands are found, too."""
        self._silhouette = silhouette

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
        """The request with its picture's skin led over to the people's own, and the facts of it; both unchanged
        where the template's skin is wished."""
        picture = request.style.picture
        if picture is None or not request.keeps_skin:
            return request, {}
        people = {number: without_sunglasses(person, number) for number, person in request.people.items()}
        photos = {
            number: [(each.image, each.face) for each in person.references if is_usable(each)][:MEASURED_PHOTOS]
            for number, person in people.items()
        }
        led, tones = lead_picture(picture, photos, self._silhouette)
        style = replace(request.style, picture=led)
        return replace(request, people=people, style=style), {"skin": tones} if tones else {}

    def draw_led(self, request: PortraitRequest, progress: Progress, most: int | None = None) -> Iterator[Candidate]:
        """The candidates of a request whose picture `lead_over` gave, at most `most` of them, one by one."""
        plan = _plan(request)
        faces, ranked, variations = plan.faces, plan.ranked, plan.variations[:most]
        total = len(variations) * len(faces)
        progress(0, total, "Looking at the picture")
        templates = [_prepare_face(plan.picture, face, number) for number, face in faces.items()]
        for at, variation in enumerate(variations):
            image, drawn_from = plan.picture.image.copy(), {}
            for step, template in enumerate(templates):
                progress(at * len(templates) + step, total, f"Drawing face {template.number}")
                reference = ranked[template.number][variation.rank % len(ranked[template.number])]
                _swap_face(image, template, reference, variation)
                drawn_from[template.number] = reference.name
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
        template = _prepare_face(replace(plan.picture, image=image), plan.faces[number], number)
        _swap_face(out, template, ranked[variation.rank % len(ranked)], variation)
        return out


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


def _variations(request: PortraitRequest, image: Image, references: int) -> list[_Variation]:
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
            _Variation(at % references, round(outline, 3), round(contrast, 3), int(random.integers(2**31)))
        )
    return variations


# --- One face --------------------------------------------------------------------------------------------------------


def _prepare_face(picture: StylePicture, face: Face, number: int) -> _TemplateFace:
    cut, mesh, left, top = _crop_face(picture.image, face, 0.25)
    small, points = shrink_with_mesh(cut, mesh, min(1.0, WORKING_WIDTH / face_width(mesh)))
    tone = picture.tones.get(number)
    target = analyze_target(small, points, PLAIN if tone is None else OWN_SKIN)
    glasses = False
    if tone is not None:
        worn = (lens_mask if wears_sunglasses(picture.image, face) else rim_mask)(small, points)
        glasses, target = bool(worn.any()), replace(target, occluded=with_glasses(target.occluded, worn, points))
    return _TemplateFace(number, left, top, cut.copy(), mesh, face, target, tone, glasses)


def _swap_face(image: Image, template: _TemplateFace, reference: Reference, variation: _Variation) -> None:
    """Draw a reference over a face of `image`, which is changed inside of the face's oval, and where glasses stand out."""
    target, yaw = template.target, reference.face.pose.yaw
    cut, mesh, _, _ = _crop_face(reference.image, reference.face, 0.35)
    source, points = shrink_with_mesh(cut, mesh, min(1.0, 1.3 * face_width(template.mesh) / face_width(mesh)))
    source, frame = (source, None) if template.tone is None else take_off_glasses(source, points)
    goal = match_pose(points, target.mesh, yaw - template.face.pose.yaw, variation.outline)
    warped = _warp_face(source, points, goal, yaw, template)
    small_source, small_mirrored = (resize(each, target.shape) for each in (warped.source, warped.mirrored))
    mixed = _mix(small_source, small_mirrored, warped.source_weight)
    odd = skin_color_distance(mixed, goal, template.tone is not None)
    occluded, kept = split_hidden(mixed, goal, odd, template.tone is not None)
    drawn = relight(target, to_lab(small_source), goal, occluded, variation.contrast, kept)
    if warped.mirrored is not warped.source:
        other = relight(target, to_lab(small_mirrored), goal, occluded, variation.contrast, kept)
        drawn = join_halves(target, drawn, other, warped.source_weight)
    bare = covered_skin_mask(target, goal, occluded)
    drawn = np.asarray(drawn + (painted_skin(target, drawn, goal, bare) - drawn) * bare[..., None], np.float32)
    if template.tone is not None:
        drawn = shift_to_tone(drawn, goal, bare_skin_mask(goal, np.maximum(occluded, kept)), template.tone)
    face, alpha = blend_into(target, drawn, goal, occluded, kept, odd * (1 - kept))
    if template.tone is not None:
        face = settle_tone(target.image, face, alpha, target.mesh, template.tone)
    noise = missing_noise(template.image, warped.source, template.mesh)
    _composite(image, template, warped, _BlendedFace(mixed, face, alpha, 1 - bare, noise, variation.seed))
    if frame is not None and not template.glasses:
        tall, wide = template.image.shape[:2]
        part = image[template.top : template.top + tall, template.left : template.left + wide]
        part[:] = put_on_glasses(part, target, frame, goal, points)


def _warp_face(source: Image, points: Points, goal: Points, yaw: float, template: _TemplateFace) -> _WarpedFace:
    """Warp a selfie onto the template's face so that its `points` lie on `goal`, which is at working size."""
    shape, native = template.target.shape, (template.image.shape[0], template.image.shape[1])
    points_in = pull_in_silhouette(points, yaw)
    seen, reach = point_visibility(points, yaw), 0.05 * template.target.width
    weight = interpolate_points(seen, goal, shape, reach) if seen.min() < 0.99 else np.ones(shape, np.float32)
    # The mirrored selfie is left out where less than a hundredth of it would show.
    meshes = [points_in[:MESH_POINTS], points_in[MIRROR]] if weight.min() < 0.99 else [points_in[:MESH_POINTS]]
    images = [warp_image(source, upsample_grid(grid, native)) for grid in thin_plate_spline(goal, meshes, shape)]
    return _WarpedFace(images[0], images[-1], weight)


def _composite(image: Image, template: _TemplateFace, warped: _WarpedFace, blended: _BlendedFace) -> None:
    """Paste the blended face into `image` at full size: light and colour from the working size, detail from the selfie.

    It works in strips, so that a face of any size needs little memory.
    """
    tall, wide = template.image.shape[:2]
    native = (tall, wide) == template.target.shape
    random = random_generator(blended.seed)
    alpha, detail, weight = (
        resize(each, (tall, wide)) for each in (blended.alpha, blended.detail, warped.source_weight)
    )
    smooth, blurred = (resize(each, (tall, wide)) for each in (blended.image, blended.warped))
    for start in range(0, tall, 512):
        rows = slice(start, min(start + 512, tall))
        drawn = smooth[rows].astype(np.float32)
        if not native:
            sharp = _mix(warped.source[rows], warped.mirrored[rows], weight[rows])
            drawn += (sharp.astype(np.float32) - blurred[rows]) * detail[rows][..., None]
        drawn += (random.standard_normal(drawn.shape[:2], np.float32) * blended.noise)[..., None]
        mask = alpha[rows][..., None]
        under = image[template.top + rows.start : template.top + rows.stop, template.left : template.left + wide]
        over = under + (drawn - under) * mask
        under[:] = np.where(mask > 0, np.clip(over + 0.5, 0, 255).astype(np.uint8), under)


def _crop_face(image: Image, face: Face, room: float) -> tuple[Image, Points, int, int]:
    """A view of a face with a margin of `room` face sizes, the mesh in its pixels, its left and top in the picture."""
    mesh = face.mesh if face.mesh is not None else np.zeros((MESH_POINTS, 3), np.float32)
    box, margin = face.box, room * max(face.box.width, face.box.height)
    left, top = (max(0, math.floor(edge - margin)) for edge in (box.left, box.top))
    right = min(image.shape[1], math.ceil(box.right + margin))
    bottom = min(image.shape[0], math.ceil(box.bottom + margin))
    moved = mesh[:MESH_POINTS] - np.array([left, top, 0], np.float32)
    return image[top:bottom, left:right], moved.astype(np.float32), left, top


def _mix(one: Image, other: Image, weight: Mask) -> Image:
    """`one` where the weight is 1, `other` where it is 0."""
    if one is other:
        return one
    return np.asarray(other + (one.astype(np.float32) - other) * weight[..., None] + 0.5, np.uint8)


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
    """The engine; there is nothing to load, as faces come with their meshes. The matter is loaded when it is first needed."""

    def silhouette(image: Image, face: Face) -> Mask | None:
        try:
            return engines.matter().silhouette(image, face)
        except OperatorError as error:
            if error.code != "missing_model":
                raise
            return None  # arms and hands then keep the template's tone

    return Fusion(silhouette)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Always empty: the engine needs no model files."""
    return []
