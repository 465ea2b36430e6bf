"""Landmark indices and outlines of MediaPipe's face mesh, from its published figure; left and right are those of the picture.

Outlines are polygons, in order along the edge, unless their docstring says otherwise.
"""

MESH_POINTS = 468
"""Points of the mesh proper; the ten of the irises follow."""
EYE_LEFT, EYE_LEFT_INNER = 33, 133
EYE_RIGHT, EYE_RIGHT_INNER = 263, 362
NOSE_TIP, NOSE_BASE = 1, 2
MOUTH_LEFT, MOUTH_RIGHT = 61, 291
FOREHEAD, CHIN = 10, 152
INNER_LIPS = (13, 14)
"""Middle of the inner edges of the upper and lower lip."""
FACE_SIDES = (234, 454)
"""Where the mesh ends before the ears, left and right."""

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
EYE_ROWS = tuple((*eye[:9], *reversed(eye[9:])) for eye in EYES)
BROW_ROWS = tuple((*reversed(brow[5:]), *brow[:5]) for brow in BROWS)
"""The same points row by row, the lower row first: the edge of a hull that OpenCV fills depends on their order."""
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
"""Outer edge of the lips, which encloses the mouth."""
MOUTH = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""Between the lips; closed, it has no area."""
NOSE = (168, 193, 245, 126, 129, 98, 2, 327, 358, 355, 465, 417)
"""From the root between the eyes to the wings and the base."""
PHILTRUM = (98, 97, 2, 326, 327, 270, 269, 267, 0, 37, 39, 40)
NOSTRILS = (48, 64, 98, 97, 2, 326, 327, 294, 278, 275, 4, 45)
"""The nose's tip with its nostrils."""
UNDER_EYES = (
    (130, 25, 110, 24, 23, 22, 26, 112, 243, 128, 121, 120, 119, 118, 117, 111),
    (359, 255, 339, 254, 253, 252, 256, 341, 463, 357, 350, 349, 348, 347, 346, 340),
)
"""Two rows of points under each eye, from MediaPipe's face-landmarks-detection package; their hull is meant."""
CHEEKS = ((117, 118, 101, 36, 205, 187, 123), (346, 347, 330, 266, 425, 411, 352))
FOREHEAD_ROW = (127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356)
"""Upper edge of the mesh, from left to right."""
JAW_ROW = (172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397)
"""Lower edge of the mesh, from left to right."""
MIDLINE = (
    0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 94, 151, 152, 164, 168, 175, 195, 197, 199, 200,
)  # fmt: skip
AROUND_LEFT_EYE = (
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 35, 56, 110, 112, 113, 124, 130, 156, 189, 190, 221, 222, 223, 224, 225,
    226, 228, 229, 230, 231, 232, 233, 243, 244, 247,
)  # fmt: skip
"""The skin around the left eye as far as its brow."""

REGIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "oval": (OVAL,),
    "eyes": EYES,
    "brows": BROWS,
    "lips": (LIPS,),
    "mouth": (MOUTH,),
    "philtrum": (PHILTRUM,),
    "nostrils": (NOSTRILS,),
}
"""Outlines by the name of the region."""
