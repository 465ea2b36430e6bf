"""Draws one face over a template's: a person's selfie warped onto it, or what a face swapper made of it.

Light, colour and seam are decided at working size; the result is pasted in the picture's own pixels.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from portrait.arrays import Image, Mask, Points, Vector, random_generator
from portrait.faces.alignment import feathered_square
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
from portrait.fusion.frames import put_on_glasses, take_off_glasses
from portrait.fusion.occluders import (
    face_width,
    hair_over_brows,
    lens_mask,
    rim_mask,
    skin_color_distance,
    split_hidden,
    with_glasses,
)
from portrait.fusion.relighting import join_halves, relight
from portrait.fusion.skin_tone import settle_tone, shift_to_tone
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
from portrait.images.resize import resize
from portrait.ports import AlignedFace
from portrait.types import Face, Reference, StylePicture

KNOWN_EDGE = 0.06
"""Share of a swapper's square over which its face fades out at the square's edge: chins and foreheads may lie beyond it."""
_BACK, _REPEAT = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE


@dataclass(frozen=True, slots=True)
class Variation:
    """What sets one candidate of a template apart."""

    rank: int
    """Which reference: 0 is the nearest."""
    outline: float
    contrast: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class TemplateFace:
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


def prepare_face(picture: StylePicture, face: Face, number: int) -> TemplateFace:
    """Measure face `number` of a template once for all that is drawn over it; it has a full mesh."""
    cut, mesh, left, top = _crop_face(picture.image, face, 0.25)
    small, points = shrink_with_mesh(cut, mesh, min(1.0, WORKING_WIDTH / face_width(mesh)))
    tone = picture.tones.get(number)
    target = analyze_target(small, points, PLAIN if tone is None else OWN_SKIN)
    glasses = False
    if tone is not None:
        worn = (lens_mask if wears_sunglasses(picture.image, face) else rim_mask)(small, points)
        glasses, target = bool(worn.any()), replace(target, occluded=with_glasses(target.occluded, worn, points))
    return TemplateFace(number, left, top, cut.copy(), mesh, face, target, tone, glasses)


def draw_reference(image: Image, template: TemplateFace, reference: Reference, variation: Variation) -> None:
    """Draw a reference over a face of `image`, which is changed inside of the face's oval, and where glasses stand out."""
    target, yaw = template.target, reference.face.pose.yaw
    cut, mesh, _, _ = _crop_face(reference.image, reference.face, 0.35)
    source, points = shrink_with_mesh(cut, mesh, min(1.0, 1.3 * face_width(template.mesh) / face_width(mesh)))
    source, frame = (source, None) if template.tone is None else take_off_glasses(source, points)
    goal = match_pose(points, target.mesh, yaw - template.face.pose.yaw, variation.outline)
    warped = _warp_face(source, points, goal, yaw, template)
    small_source, small_mirrored = (resize(each, target.shape) for each in (warped.source, warped.mirrored))
    mixed = _mix(small_source, small_mirrored, warped.source_weight)
    own = template.tone is not None
    odd = skin_color_distance(mixed, goal, own, hair=own)
    occluded, kept = split_hidden(mixed, goal, odd, own)
    crossed = np.zeros(target.shape, np.float32) if template.tone is None else hair_over_brows(mixed, goal, occluded)
    occluded = np.maximum(occluded, crossed)
    drawn = relight(target, to_lab(small_source), goal, occluded, variation.contrast, kept)
    if warped.mirrored is not warped.source:
        other = relight(target, to_lab(small_mirrored), goal, occluded, variation.contrast, kept)
        drawn = join_halves(target, drawn, other, warped.source_weight)
    bare = covered_skin_mask(target, goal, occluded, crossed)
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


def draw_swapped(image: Image, template: TemplateFace, swapped: AlignedFace, seed: int) -> None:
    """Draw what a face swapper made of a template's face over it in `image`, with the mask and the skin of `draw_reference`.

    The network keeps the template's pose, expression and light, so nothing is warped or lit anew. Nothing is taken from beyond
    the square that it drew; what it leaves out of the template's grain is added.
    """
    target, mesh = template.target, template.target.mesh
    tall, wide = template.image.shape[:2]
    to_crop = swapped.matrix.copy()
    to_crop[:, 2] += swapped.matrix[:, :2] @ (template.left, template.top)
    drawn = np.asarray(cv2.warpAffine(swapped.image, to_crop, (wide, tall), flags=_BACK, borderMode=_REPEAT), np.uint8)
    known = feathered_square(swapped.image.shape[0], KNOWN_EDGE)
    inside = cv2.warpAffine(known, to_crop, (wide, tall), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    small, nothing = resize(drawn, target.shape), np.zeros(target.shape, np.float32)
    lab = to_lab(small)
    if template.tone is not None:
        lab = shift_to_tone(lab, mesh, bare_skin_mask(mesh, target.occluded), template.tone)
    face, alpha = blend_into(target, lab, mesh, nothing)
    alpha = alpha * resize(np.asarray(inside, np.float32), target.shape)
    if template.tone is not None:
        face = settle_tone(target.image, face, alpha, target.mesh, template.tone)
    noise = missing_noise(template.image, drawn, template.mesh)
    whole = nothing + 1
    _composite(image, template, _WarpedFace(drawn, drawn, whole), _BlendedFace(small, face, alpha, whole, noise, seed))


def _warp_face(source: Image, points: Points, goal: Points, yaw: float, template: TemplateFace) -> _WarpedFace:
    """Warp a selfie onto the template's face so that its `points` lie on `goal`, which is at working size."""
    shape, native = template.target.shape, (template.image.shape[0], template.image.shape[1])
    points_in = pull_in_silhouette(points, yaw)
    seen, reach = point_visibility(points, yaw), 0.05 * template.target.width
    weight = interpolate_points(seen, goal, shape, reach) if seen.min() < 0.99 else np.ones(shape, np.float32)
    # The mirrored selfie is left out where less than a hundredth of it would show.
    meshes = [points_in[:MESH_POINTS], points_in[MIRROR]] if weight.min() < 0.99 else [points_in[:MESH_POINTS]]
    images = [warp_image(source, upsample_grid(grid, native)) for grid in thin_plate_spline(goal, meshes, shape)]
    return _WarpedFace(images[0], images[-1], weight)


def _composite(image: Image, template: TemplateFace, warped: _WarpedFace, blended: _BlendedFace) -> None:
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
