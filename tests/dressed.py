"""Selfies and templates with other skin, a fringe, sunglasses or a beard, made of the photos that come with the libraries.

Every function takes and gives H×W×3 uint8 RGB. Lengths are shares of the face's width.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.faces.mesh import EYES, FOREHEAD_ROW, LIPS, MOUTH, OVAL
from portrait.images.color import from_linear, to_lab, to_linear
from portrait.types import Face
from tests import selfies

MELANIN = np.array([1.35, 1.95, 2.45], np.float32)
"""Logarithm of light skin's reflectance over that of deep brown skin, in linear red, green and blue."""


BODY = {
    "player 1": (
        "92,392 98,385 130,393 155,388 158,397 160,406 150,410 127,425 145,470 157,490 170,487 165,510 160,545 165,560 "
        "150,567 135,558 120,560 112,540 100,510 97,480 92,440",
        "185,478 190,463 192,450 200,445 225,437 228,430 243,430 250,440 258,447 265,460 274,490 283,540 298,570 303,600 "
        "303,640 290,658 275,655 262,645 245,610 228,560 225,530 225,510 218,495 195,490 182,490",
        "0,440 20,430 30,465 35,490 45,510 35,530 20,520 0,512",
    ),
    "player 3": (
        "459,358 465,358 475,385 487,400 500,405 512,410 522,405 520,424 509,434 498,425 483,408 468,388",
        "562,368 570,350 578,335 590,328 592,342 580,362 568,370",
        "411,557 440,540 480,523 497,520 510,550 520,560 545,550 580,525 600,505 612,490 617,475 612,450 614,438 630,425 "
        "640,420 665,415 678,435 680,450 668,480 650,510 635,540 610,575 585,610 565,630 535,637 525,625 497,622 490,640 "
        "470,620 440,590",
    ),
    "player 4": (
        "785,472 800,470 815,465 828,452 844,430 850,425 853,440 848,458 842,470 838,500 836,540 834,555 822,556 812,530 "
        "800,505 790,492",
        "850,402 855,390 865,383 870,388 868,400 860,418 852,423 848,420",
        "690,580 693,555 697,530 705,515 720,510 740,502 758,505 770,520 768,530 757,528 748,525 750,545 748,565 730,585 "
        "700,598 680,610 650,622 640,580",
        "700,618 740,597 810,588 845,572 845,618 800,620 720,624",
        "878,550 890,530 913,520 925,560 925,590 905,625 895,625 897,565",
    ),
    "player 6": (
        "1107,423 1123,419 1130,430 1141,434 1147,420 1155,385 1175,392 1200,388 1222,372 1217,388 1213,415 1212,431 "
        "1226,442 1232,470 1232,530 1215,533 1203,535 1190,523 1160,488 1130,450",
        "1063,440 1075,425 1092,422 1110,440 1118,470 1118,500 1105,520 1098,528 1085,580 1075,620 1060,645 1040,656 "
        "1020,648 1020,580 1047,520 1047,500 1020,505 1020,440 1040,428 1055,435",
        "1183,585 1195,575 1205,568 1240,570 1258,585 1256,608 1280,620 1280,690 1262,678 1240,650 1225,622 1205,612",
        "1245,447 1265,455 1280,475 1280,520 1275,495",
    ),
}
"""Outlines x,y of necks, arms and hands in `selfies.group`, drawn by hand: walls and hair have the colours of skin there."""


def body_of(name: str, factor: int) -> Mask | None:
    """Skin of a player's neck, arms and hands, 0..1, in their photo of `selfies.people` enlarged by `factor`; None of others.

    The outlines are within 5 pixels of the skin's edge, which is looked for there.
    """
    if name not in BODY:
        return None
    image, (left, top, _, _) = selfies.player(name), selfies.PLAYERS[name]
    rough = _fill(image, *(_points(each) - (left, top) for each in BODY[name]), hull=False).astype(np.uint8)
    inner, outer = cv2.erode(rough, np.ones((5, 5), np.uint8)), cv2.dilate(rough, np.ones((7, 7), np.uint8))
    labels = np.where(inner > 0, cv2.GC_FGD, np.where(outer > 0, cv2.GC_PR_BGD, cv2.GC_BGD)).astype(np.uint8)
    cv2.setRNGSeed(0)
    room, person = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image[..., ::-1].copy(), labels, (0, 0, 1, 1), room, person, 2, cv2.GC_INIT_WITH_MASK)
    skin = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.resize(cv2.GaussianBlur(skin, (0, 0), 0.8), None, fx=factor, fy=factor), np.float32)


def toned(image: Image, face: Face, depth: float, body: Mask | None = None) -> Image:
    """The same person with darker skin (`depth` 1: deep brown of light) or lighter (-0.2): face, ears and neck, and what `body`
    says of it where it is known.

    Melanin absorbs in the skin, so what shines on it stays: narrow lights, of the lightest of it, are left nearly as they
    were. Overexposed skin is no shine.
    """
    whole = skin_of(image, face) if body is None else np.maximum(skin_of(image, face), body)
    skin, linear = whole[..., None], to_linear(image)
    light = linear.min(axis=2, keepdims=True)
    broad = cv2.GaussianBlur(light, (0, 0), 0.08 * float(np.ptp(_mesh(face)[:468, 0])))[..., None]
    shine = np.maximum(light - np.maximum(np.percentile(light[skin > 0.5], 85), broad), 0) * (depth > 0)
    absorbed = np.exp(-MELANIN * depth * skin)
    return from_linear((linear - shine) * absorbed + shine * np.exp(-2.6 * depth * skin))


def skin_of(image: Image, face: Face) -> Mask:
    """Skin of a person, 0..1: the face without eyes and what is between the lips, and where it has their colour, the
    forehead, the ears and the neck."""
    mesh = _mesh(face)
    unit = float(np.ptp(mesh[:468, 0]))
    lab = cv2.GaussianBlur(to_lab(image), (0, 0), max(0.5, 0.012 * unit))
    middle = np.median(lab[_fill(image, *(mesh[[each]] + _disc(0.1 * unit) for each in (50, 280))) > 0.5], axis=0)
    apart = lab - middle
    alike = (apart[..., 0] > 6) | ((apart[..., 0] > -26) & (np.hypot(apart[..., 1], apart[..., 2]) < 16))
    # Overexposed skin is light and has no colour.
    alike |= (apart[..., 0] > -6) & (np.hypot(lab[..., 1], lab[..., 2]) < 14)
    # A fringe may be nearly as light as the skin, but it is yellower.
    hue = np.arctan2(lab[..., 2], lab[..., 1]) - np.arctan2(middle[2], middle[1])
    hair = (hue > 0.18) & (apart[..., 0] < -10) & (np.arange(image.shape[0]) < mesh[168, 1])[:, None]
    alike &= ~hair
    up = mesh[10] - mesh[152]
    forehead = np.vstack([mesh[list(FOREHEAD_ROW)], mesh[list(FOREHEAD_ROW)[2:-2]] + 0.2 * up])
    jaw = mesh[[136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365]]
    ears = np.vstack([mesh[234] + _disc(0.09 * unit), mesh[454] + _disc(0.09 * unit)])
    above, beside = _fill(image, forehead), _fill(image, np.vstack([jaw, jaw - 0.3 * up]), ears[:24], ears[24:])
    inside = _fill(image, mesh[list(OVAL)]) * (alike | ((apart[..., 0] > -40) & ~hair))
    # Hair beside a neck may be about as light as skin, but is more colourful.
    plain = (apart[..., 0] > -30) & (np.hypot(apart[..., 1], apart[..., 2]) < 12)
    skin = ((inside > 0) | ((above > 0) & alike) | ((beside > 0) & plain)).astype(np.uint8)
    skin = cv2.morphologyEx(skin, cv2.MORPH_OPEN, np.ones((max(1, round(0.03 * unit)),) * 2, np.uint8))
    _, labels = cv2.connectedComponents(skin, connectivity=4)
    x, y = mesh[1]
    skin = (labels == labels[int(y), int(x)]).astype(np.float32)
    soft = cv2.GaussianBlur(skin, (0, 0), 0.015 * unit) * (
        1 - _fill(image, *(mesh[list(each)] for each in (*EYES, MOUTH)))
    )
    return np.asarray(soft * (1 - 0.4 * _fill(image, mesh[list(LIPS)])), np.float32)


def fringe(image: Image, face: Face, seed: int = 0, to: float = 0.1) -> Image:
    """With strands of dark hair that hang over forehead and brows, one of them between the brows down to `to` of the way
    from the brows to the nose's tip, each with its shadow on the skin."""
    mesh, random = _mesh(face), np.random.default_rng(seed)
    unit = float(np.ptp(mesh[:468, 0]))
    top, brow, tip = mesh[10], mesh[9], mesh[1]
    axis, across = brow - top, (mesh[263] - mesh[33]) / np.linalg.norm(mesh[263] - mesh[33])
    strands = np.zeros(image.shape[:2], np.uint8)
    for at, reach in [(x, random.uniform(0.5, 0.95)) for x in np.linspace(-0.25, 0.25, 14)] + [
        (-0.02, 1.0),
        (0.05, 1.0),
    ]:
        start = top - 0.75 * axis + across * unit * (at + random.uniform(-0.02, 0.02))
        end = top + axis * reach + across * unit * (0.6 * at + random.uniform(-0.03, 0.03))
        end = brow + (tip - brow) * to + across * unit * 0.5 * at if reach == 1.0 else end
        bend = across * unit * random.uniform(-0.06, 0.06)
        t = np.linspace(0, 1, 24)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * ((start + end) / 2 + bend) + t**2 * end
        for piece, share in zip(range(23), np.linspace(1, 0.35, 23), strict=True):
            ends = [tuple(int(value * 16) for value in point) for point in curve[piece : piece + 2]]
            cv2.line(strands, ends[0], ends[1], 255, max(1, round(0.018 * unit * share)), cv2.LINE_AA, 4)
    shadow = cv2.GaussianBlur(np.roll(strands, (round(0.02 * unit), round(0.012 * unit)), (0, 1)), (0, 0), 0.02 * unit)
    linear = to_linear(image) * (1 - 0.35 * shadow[..., None] / np.float32(255))
    share = cv2.GaussianBlur(strands, (0, 0), max(0.5, 0.003 * unit))[..., None] / np.float32(255)
    grain = random.normal(1, 0.15, image.shape[:2]).astype(np.float32)[..., None]
    return from_linear(linear * (1 - share) + np.array([0.028, 0.017, 0.012], np.float32) * grain * share)


def sunglasses(image: Image, face: Face) -> tuple[Image, Mask]:
    """With opaque dark glasses that mirror the sky a little, and where they are: H×W, 0..1."""
    mesh = _mesh(face)
    unit = float(np.ptp(mesh[:468, 0]))
    drawn = np.zeros(image.shape[:2], np.uint8)
    across = mesh[263] - mesh[33]
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    for eye in EYES:
        x, y = mesh[list(eye)].mean(axis=0) + np.array([0, 0.03 * unit])
        cv2.ellipse(
            drawn, (round(x), round(y)), (round(0.19 * unit), round(0.16 * unit)), angle, 0, 360, 255, -1, cv2.LINE_AA
        )
    thick = max(1, round(0.03 * unit))
    for one, other in ((133, 362), (33, 234), (263, 454)):
        ends = [tuple(int(value) for value in mesh[point]) for point in (one, other)]
        cv2.line(drawn, ends[0], ends[1], 255, thick, cv2.LINE_AA)
    share = (drawn / 255).astype(np.float32)
    rows = np.arange(image.shape[0], dtype=np.float32)[:, None, None]
    sky = np.clip((mesh[168, 1] + 0.05 * unit - rows) / (0.15 * unit), 0, 1) * np.array([30, 38, 52], np.float32)
    glass = np.array([12, 12, 14], np.float32) + sky
    return np.asarray(image + (glass - image) * share[..., None], np.uint8), share


def bearded(image: Image, face: Face, length: float = 0.05, seed: int = 0) -> Image:
    """With a full dark beard and moustache, whose hair is `length` long and reaches below the jaw by as much again."""
    mesh, random = _mesh(face), np.random.default_rng(seed)
    unit = float(np.ptp(mesh[:468, 0]))
    jaw = mesh[[93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323]]
    inner = mesh[[266, 425, 410, 287, 270, 267, 0, 37, 40, 57, 186, 205, 36]]
    middle = mesh[[13, 14]].mean(axis=0)
    area = _fill(image, np.vstack([middle + (jaw - middle) * (1 + 0.6 * length), inner]), hull=False)
    lips = cv2.dilate(_fill(image, mesh[list(LIPS)]), np.ones((3, 3), np.uint8))
    nose = _fill(image, mesh[[98, 97, 2, 326, 327, 278, 4, 48]])
    area = cv2.GaussianBlur(area, (0, 0), 0.035 * unit) * (1 - lips) * (1 - nose)
    rows, columns = np.nonzero(area > 0.05)
    hair = np.zeros(image.shape[:2], np.uint8)
    count = int(len(rows) / max(2.0, 0.012 * unit) ** 1.2)
    for at in random.choice(len(rows), count, replace=False):
        point = np.array([columns[at], rows[at]], float)
        if random.random() > area[rows[at], columns[at]]:
            continue
        way = (point - middle) / max(float(np.linalg.norm(point - middle)), 1) + random.normal(0, 0.35, 2) + (0, 0.5)
        end = point + way * length * unit * random.uniform(0.5, 1.0)
        ends = [tuple(int(value * 16) for value in each) for each in (point, end)]
        cv2.line(hair, ends[0], ends[1], int(random.integers(140, 256)), max(1, round(0.006 * unit)), cv2.LINE_AA, 4)
    share = np.clip(hair / np.float32(255) + 0.45 * area, 0, 0.93)[..., None] * (1 - lips[..., None])
    grain = random.normal(1, 0.3, image.shape[:2]).astype(np.float32)[..., None]
    return from_linear(to_linear(image) * (1 - share) + np.array([0.035, 0.022, 0.015], np.float32) * grain * share)


def _points(outline: str) -> NDArray[np.float64]:
    return np.array([each.split(",") for each in outline.split()], np.float64)


def _mesh(face: Face) -> NDArray[np.float64]:
    if face.mesh is None:
        raise ValueError("this needs a face with a mesh")
    return face.mesh[:, :2].astype(np.float64)


def _disc(radius: float) -> NDArray[np.float64]:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _fill(image: Image, *outlines: NDArray[np.floating], hull: bool = True) -> Mask:
    canvas = np.zeros(image.shape[:2], np.uint8)
    for points in outlines:
        whole = (points * 16).round().astype(np.int32)
        cv2.fillPoly(canvas, [cv2.convexHull(whole) if hull else whole], 1, cv2.LINE_8, 4)
    return canvas.astype(np.float32)
