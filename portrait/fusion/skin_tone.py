"""Keeps a person's own skin in a template: the tone of a skin without its light, and a template led over to another tone.

A photo shows the skin's own colour times the light. Here colours of skin are measured in linear light, the light is taken off
by what the rest of the picture says of it, and a template's skin is multiplied by the quotient of the two skins: its shadows
and the colour of its light stay, what shines on it stays white.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.faces.skin import skin_mask
from portrait.fusion.beards import has_beard, shave
from portrait.fusion.body_skin import MEASURED_WIDTH, Silhouette, bare_skin, body_skin_mask, crop_face
from portrait.fusion.occluders import along_face, face_width, feature_mask
from portrait.images.color import GREY, blend, cast_gains, from_lab, from_linear, light_gains, to_lab, to_linear
from portrait.images.filters import smoothstep, vector_length
from portrait.images.masks import distance_inside
from portrait.images.resize import shrink_to_side
from portrait.types import Face, StylePicture

Floats = NDArray[np.float32]

LIGHT_SIDE = 256
"""Longer side in pixels of the picture from which the light is read."""
WHITE = 0.78
"""Linear luminance that the lightest hundredth of a well lit picture has at least: a white wall in the light."""
SAME_TONE = 6.0
"""ΔE below which only the drawn face takes the person's tone: two photos of one person differ by as much."""
TOLD_TONE = 12.0
"""ΔE from which it is told that the body's skin was led over, too."""
SURE = (3.0, 12.0)
"""ΔE between two skins up to which their difference is taken for an error of the measure, and from which for wholly true:
where hair, neck and shadows are warm, a face that is only a little paler looks grey."""
OVEREXPOSED = (0.9, 1.15)
"""Luminance over that of the skin's middle from which a lack of colour is the light's doing, and from which wholly."""
NEARLY_WHITE = 0.55
"""Linear luminance of a skin's middle from which it is overexposed itself, as are all its lighter parts without colour."""
MORE_COLOUR = (1.0, 1.3)
"""Colour in that of the skin from which something is more colourful than it, and from which wholly."""
COLOUR_POWER = 0.25
"""Power of how much less colour the wished skin has than the template's, by which that falls: 0 keeps all, and leaves orange
cheeks; 1 as little as skin has, and turns brown strands of hair grey. Chosen on the pairs of the benchmark."""
SHADED = 0.25
"""Colour beyond that of the wished, darker skin, in the latter's, that skin in shade keeps in any case: beside a face that the
light has bleached a template's neck has more, and all of it on brown skin would be orange."""
GLOSS = 0.3
"""Share of what shines on a template's skin that is the light's own colour; the rest is overexposed skin."""
YELLOW = 70.0
"""Hue of the yellowest skin in CIELAB, degrees, in light without a colour."""
VIVID = (60.0, 78.0), (32.0, 22.0)
"""Two L, and the chroma (CIELAB) of the most colourful skin of that lightness: light skin has less colour than brown skin, by
every spectrophotometer; the limits are ours, for the colours that cameras give."""
MOST_CHANGE = 10.0
"""Largest factor of one channel; a template in near darkness would show nothing but noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """The light of a picture as its colours tell it: what takes it off, and what puts it on another skin."""

    gains: Floats
    """Of red, green, blue: they remove the cast."""
    plain: float
    """Gain that a well exposed picture would have had."""
    curved: float
    """Slope at black of the curve that raises the shadows."""

    def neutral(self, skin: Floats) -> Floats:
        """A linear colour under this light as it is in white and sufficient light."""
        raised = skin * self.gains * np.float32(self.plain)
        return (raised * self.curved / (1 + (self.curved - 1) * raised)).astype(np.float32)

    def lit(self, skin: Floats) -> Floats:
        """A linear colour in white light as it is under this one; the inverse of `neutral`."""
        lowered = skin / (self.curved - (self.curved - 1) * skin)
        return (lowered / self.plain / self.gains).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class SkinChange:
    """From a template's skin to the wished one."""

    template: Floats
    """L, a, b of the template's skin."""
    wished: Floats
    """L, a, b that the skin is to have: the person's, but for what of the difference may be an error of the measure."""
    person: Floats
    """L, a, b of the person's skin in the template's light, as measured."""
    skin: Floats
    """The template's skin in linear light, red, green, blue."""
    factor: Floats
    """What it is multiplied by."""
    shine: float
    """Linear luminance of the template's skin above which light is taken for shine."""

    @property
    def distance(self) -> float:
        """ΔE (CIE 1976) between the two."""
        return float(np.linalg.norm(self.wished - self.template))


def measure_skin(image: Image, face: Face) -> Floats | None:
    """Median colour of a face's skin in linear light (red, green, blue), of the middle half by lightness.

    Only above the mouth, where no beard grows. None where too little skin is seen, or the face has no mesh.
    """
    if face.mesh is None:
        return None
    pixels = _skin_pixels(*crop_face(image, face, MEASURED_WIDTH))
    return None if len(pixels) < 64 else _middle(pixels)


def measure_light(image: Image, face: Face, scene: bool = False) -> Light:
    """The light of a picture; `face` is what shows skin in it.

    In a selfie only what is surely wanting counts, so that dark skin stays dark. Of a `scene` that somebody is put into, the
    whites tell how much light there is, whoever stands in it.
    """
    small = shrink_to_side(image, LIGHT_SIDE)
    moved = transform_face(face, scaling_matrix(small.shape[1] / image.shape[1]))
    mask = skin_mask(small, moved)
    gains = cast_gains(small, mask)
    plain, curved = light_gains(small, mask)
    if scene:
        whites = float(np.percentile(to_linear(small) @ _LUMA, 99))
        plain = max(plain, float(np.clip(WHITE / max(whites, 1e-3), 1, 8)))
    return Light(np.ones(3, np.float32) if gains is None else gains, plain, curved)


def own_tone(photos: Sequence[tuple[Image, Face]]) -> Floats | None:
    """A person's skin in white light, linear red, green, blue: the median over their photos; None where none shows it."""
    tones = [
        measure_light(image, face).neutral(skin)
        for image, face in photos
        if (skin := measure_skin(image, face)) is not None
    ]
    return _less_colourful(np.median(tones, axis=0).astype(np.float32)) if tones else None


def plan_change(image: Image, face: Face, tone: Floats) -> SkinChange | None:
    """The change from the skin of a template's `face` to a person's `tone`; None where the template's is not measured.

    A template without colour stays one: there only the lightness changes.
    """
    if face.mesh is None:
        return None
    small, mesh = crop_face(image, face, MEASURED_WIDTH)
    pixels = _skin_pixels(small, mesh)
    if len(pixels) < 64:
        return None
    skin = _middle(pixels)
    person = np.clip(measure_light(image, face, scene=True).lit(tone), 0.004, 0.92)
    light = pixels @ _LUMA
    shade = _lab(_middle(pixels[light <= np.percentile(light, 33)]))
    colourless = float(np.linalg.norm(_lab(skin)[1:])) < GREY
    person, wished = (_fitting(each, shade, colourless) for each in (person, _beyond_error(person, skin)))
    factor = np.clip(wished / np.maximum(skin, 1e-3), 1 / MOST_CHANGE, MOST_CHANGE).astype(np.float32)
    shine = float(max(np.percentile(light, 80), 1.25 * np.median(light)))
    return SkinChange(_lab(skin), _lab(skin * factor), _lab(person), skin, factor, shine)


def lead_over(image: Image, mask: Mask, change: SkinChange) -> Image:
    """The picture with the masked skin in the wished tone; where the mask is zero it keeps its pixels.

    What is lighter than the skin itself is shine: it is no skin's colour, so it stays on darker skin, a little dimmer, and
    does not grow on lighter skin.
    """
    rows, columns = (np.flatnonzero((mask > 0).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return image
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    linear, share = to_linear(image[part]), mask[part][..., None]
    light = np.maximum(linear @ _LUMA, 1e-6)[..., None]
    matt = linear * np.minimum(1, change.shine / light)
    # What has less colour than the skin is veiled by grey: the quotient of two skins would turn it blue or orange.
    colour = change.skin / float(change.skin @ _LUMA)
    amount = (matt[..., :1] - matt[..., 2:]) / np.float32(max(float(colour[0] - colour[2]), 0.05))
    most = matt @ _LUMA[:, None]
    vivid = smoothstep(amount / np.maximum(most, 1e-6), *MORE_COLOUR)
    # Overexposed skin has lost its colour to the light, not to a veil.
    lost = smoothstep(light, *(each * min(float(change.skin @ _LUMA), NEARLY_WHITE) for each in OVEREXPOSED))
    lost = lost * share * (1 - vivid)
    amount = np.clip(amount, 0, most)
    skin, grey = (amount + (most - amount) * lost) * colour, (matt - amount * colour) * (1 - lost)
    plain = np.float32(float(change.skin * change.factor @ _LUMA) / float(change.skin @ _LUMA))
    # What has more colour than the skin (a cheek, hair) has more of the wished one's, not of the old one's: that would be pink.
    if plain > 1:
        grey = grey * (_share_of_colour(change) * change.factor / plain) ** (share * vivid)
    else:
        grey = grey * _share_of_shade(change, grey / np.maximum(most, 1e-6)) ** (share * vivid)
    kept = np.float32(np.sqrt(min(1.0, float(plain))))
    drawn = skin * change.factor**share + grey * plain**share
    shine = np.maximum(linear - matt, 0)
    own = (shine @ _LUMA[:, None]) * colour * (change.factor / max(1.0, float(plain))) ** share
    shine = own + (shine * kept**share - own) * GLOSS**share
    # On skin that becomes lighter there is less room for shine: both are mixed as two lights on one film are.
    drawn = drawn + shine * (1 - np.clip(drawn, 0, 1) * share * (plain > 1))
    # Skin does not clip: above what paper reflects, light is rolled off.
    drawn = np.where(drawn > 0.75, 0.75 + 0.25 * np.tanh((drawn - 0.75) / 0.25), drawn)
    drawn = linear + (drawn - linear) * np.minimum(1, 20 * share)
    out = image.copy()
    out[part] = np.where(share > 0, from_linear(drawn), image[part])
    return out


def lead_picture(
    picture: StylePicture, people: Mapping[int, Sequence[tuple[Image, Face]]], silhouette: Silhouette | None
) -> tuple[StylePicture, dict[str, object]]:
    """A template's picture with the skin of the faces of `people` in the tones of their photos, and these `tones` in it.

    Returns with it, by number of the face, what was measured, as JSON: L, a, b of the template's skin and of the wished
    one, and whether the difference is so large that the body's skin matters.
    """
    image, facts, tones = picture.image, {}, {}
    for number, photos in sorted(people.items()):
        face, tone = picture.faces[number - 1], own_tone(photos)
        if has_beard(image, face) and not any(has_beard(*each) for each in photos):
            image = shave(image, face)
        change = None if tone is None else plan_change(image, face, tone)
        if change is None:
            continue
        tones[number] = change.wished
        if change.distance >= SAME_TONE:
            others = [each for each in picture.faces if each is not face]
            image = lead_over(image, body_skin_mask(image, face, others, silhouette), change)
        facts[str(number)] = {
            "template": [round(float(each), 1) for each in change.template],
            "wished": [round(float(each), 1) for each in change.wished],
            **({"body": True} if change.distance >= TOLD_TONE else {}),
        }
    return replace(picture, image=image, tones=tones), facts


def shift_to_tone(face: Floats, mesh: Points, bare: Mask, tone: Floats) -> Floats:
    """A drawn face (CIELAB) moved as a whole so that its bare skin above the mouth has the `tone` L, a, b.

    Light of a template is measured over the whole face, and features bias it: what is left of the difference goes here,
    12 of each at most. Eyes and teeth keep theirs.
    """
    shape = bare.shape[0], bare.shape[1]
    skin = face[(bare > 0.5) & (along_face(mesh, shape) < 0.6)]
    if len(skin) < 64:
        return face
    low, high = np.percentile(skin[:, 0], (25, 75))
    middle = np.median(skin[(skin[:, 0] >= low) & (skin[:, 0] <= high)], axis=0)
    return _moved(face, middle, tone, 1 - feature_mask(mesh, shape, 0.0, 0.01, "eyes mouth"))


def settle_tone(under: Image, face: Image, alpha: Mask, mesh: Points, tone: Floats) -> Image:
    """A drawn `face` whose skin has the `tone` once it lies on the template: what its edge took from there is given back.

    `under`, `alpha`, `mesh`: the template's face, how much of it is replaced, and its mesh. The edge keeps its colours.
    """
    width, shape = face_width(mesh), (under.shape[0], under.shape[1])
    share = smoothstep(distance_inside(alpha > 0.5), 0, 0.07 * width)
    share = share * (1 - feature_mask(mesh, shape, 0.0, 0.01, "eyes mouth"))
    for _ in range(2):  # a part of each step is lost in what lies in front of the face
        pixels = _skin_pixels(blend(under, face, alpha), mesh)
        if len(pixels) < 64:
            return face
        face = from_lab(_moved(to_lab(face), _lab(_middle(pixels)), tone, share))
    return face


# --- Parts -----------------------------------------------------------------------------------------------------------

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def _share_of_colour(change: SkinChange) -> np.float32:
    """Share that stays of what is more colourful than the skin, where the wished skin has less colour; at most 1."""
    before, after = (each / float(each @ _LUMA) - 1 for each in (change.skin, change.skin * change.factor))
    return np.float32(min(1.0, float(np.linalg.norm(after)) / max(float(np.linalg.norm(before)), 1e-3)) ** COLOUR_POWER)


def _share_of_shade(change: SkinChange, beyond: Floats) -> Floats:
    """Share H×W×1 that stays of the colour that something has `beyond` the skin's (H×W×3, in its luminance), where the wished
    skin is the darker one; at least a thousandth. Both together are as much as before, but for `SHADED`."""
    skin, wished = (
        float(np.linalg.norm(each / float(each @ _LUMA) - 1)) for each in (change.skin, change.skin * change.factor)
    )
    length = np.linalg.norm(beyond, axis=2, keepdims=True)
    left = np.maximum(skin + length - wished, SHADED * wished)
    return np.asarray(np.clip(left / np.maximum(length, 1e-6), 1e-3, 1), np.float32)


def _moved(face: Floats, middle: Floats, tone: Floats, share: Mask) -> Floats:
    """A face (CIELAB) whose skin's `middle` (L, a, b) is moved towards the `tone`, 12 of each at most.

    What is nearly white or black has less room left, and what has less colour than the middle has less to lose.
    """
    step = np.clip(tone - middle, -12, 12).astype(np.float32)
    left = face[..., 0] if step[0] < 0 else 97 - face[..., 0]
    room = np.ones((*face.shape[:2], 3), np.float32)
    room[..., 0] = np.clip(left / 12, 0, 1)
    colour, before = (float(np.linalg.norm(each[1:])) for each in (tone, middle))
    if colour < before:
        room[..., 1:] = np.clip(vector_length(face[..., 1:]) / before, 0, 1.5)[..., None]
    return np.asarray(face + step * room * share[..., None], np.float32)


def _fitting(colour: Floats, shade: Floats, colourless: bool) -> Floats:
    """A linear colour of skin as it may be in a template: grey in a `colourless` one, else no yellower than its light is."""
    return np.full(3, float(colour @ _LUMA), np.float32) if colourless else _less_yellow(colour, shade)


def _less_yellow(colour: Floats, shade: Floats) -> Floats:
    """A linear colour of skin, turned towards red where its hue is beyond `YELLOW` and beyond that of a template's skin in
    the `shade` (L, a, b): overexposed skin is yellow, and says so of its light."""
    lab = _lab(colour)
    most = max(YELLOW, math.degrees(math.atan2(float(shade[2]), float(shade[1]))))
    if math.degrees(math.atan2(float(lab[2]), float(lab[1]))) <= most:
        return colour
    chroma, angle = float(np.linalg.norm(lab[1:])), math.radians(most)
    turned = np.array([[[lab[0], chroma * math.cos(angle), chroma * math.sin(angle)]]], np.float32)
    return np.asarray(to_linear(from_lab(turned))[0, 0], np.float32)


def _less_colourful(colour: Floats) -> Floats:
    """A linear colour of skin in white light, with no more chroma than skin as light as it has (`VIVID`): a photo whose light
    was misread shows more."""
    lab = _lab(colour)
    most = float(np.interp(lab[0], *VIVID))
    lab[1:] *= min(1.0, most / max(float(np.linalg.norm(lab[1:])), 1e-6))
    return np.asarray(to_linear(from_lab(lab[None, None]))[0, 0], np.float32)


def _beyond_error(wished: Floats, skin: Floats) -> Floats:
    """A linear colour as far from a template's `skin` as the difference between the two is surely more than an error."""
    apart = _lab(wished) - _lab(skin)
    share = smoothstep(np.float32(np.linalg.norm(apart)), *SURE)
    return np.asarray(to_linear(from_lab((_lab(skin) + share * apart)[None, None]))[0, 0], np.float32)


def _lab(linear: Floats) -> Floats:
    """L, a, b of one linear colour."""
    return to_lab(from_linear(linear)[None, None])[0, 0]


def _middle(pixels: Floats) -> Floats:
    """Median of the linear colours N×3 whose luminance is in the middle half."""
    light = pixels @ _LUMA
    low, high = np.percentile(light, (25, 75))
    return np.median(pixels[(light >= low) & (light <= high)], axis=0).astype(np.float32)


def _skin_pixels(image: Image, mesh: Points, within: NDArray[np.bool_] | bool = True) -> Floats:
    """Linear colours N×3 of the bare skin above the mouth, `within` a part of the picture."""
    return to_linear(image)[bare_skin(image, mesh) & (along_face(mesh, image.shape[:2]) < 0.6) & within]
