"""The face of the person in a photo: which of several it is, and a square of the photo with all of it."""

from html import escape

from app.components import widgets
from tasks import schemas

FACE_ROOM = 2.6
"""Side of the square around a face, in its widths or heights: the hair, the chin and the ears are in it."""
_LARGEST_SIDE = 1600
"""Pixels of the long side of a photo of which a card shows a part."""


def is_open(photo: schemas.Selfie) -> bool:
    """Whether it is to be said which face of a photo is the person's."""
    several = any(each.code == "several_faces" for each in photo.reasons)
    return several and photo.face is None and len(photo.faces) > 1


def face_square(photo: schemas.Selfie, alt: str, dimmed: bool = False) -> str:
    """A square of a photo with the whole face of the person; its upper middle where no face was found."""
    style, side = "object-position: 50% 20%", widgets.CARD
    at = persons_face(photo)
    if at >= 0:
        style, side = _around(photo.faces[at], photo.width, photo.height)
    url = widgets.picture_url("selfie", photo.id, side)
    kind = " p-dim" if dimmed else ""
    image = f'<img src="{escape(url)}" alt="{escape(alt)}" style="{style}" loading="lazy">'
    return f'<p class="p-selfie{kind}">{image}</p>'


def _around(box: schemas.FaceBox, width: int, height: int) -> tuple[str, int]:
    """Where a photo lies in the square around a face, as a style; and its long side in pixels that the square needs."""
    across, down = (box.right - box.left) * width, (box.bottom - box.top) * height
    side = min(FACE_ROOM * max(across, down), width, height)
    left = min(max(0.0, (box.left + box.right) / 2 * width - side / 2), width - side)
    # A little higher than the middle of the face, for the hair.
    top = min(max(0.0, (box.top + box.bottom) / 2 * height - 0.1 * down - side / 2), height - side)
    shares = {"width": width / side, "height": height / side, "left": -left / side, "top": -top / side}
    style = ";".join(f"{name}:{100 * share:.2f}%" for name, share in shares.items())
    needed = widgets.THUMB * max(width, height) / side
    return f"position:absolute;max-width:none;object-fit:fill;{style}", round(
        min(max(needed, widgets.THUMB), _LARGEST_SIDE)
    )


def persons_face(photo: schemas.Selfie) -> int:
    """Index of the face that was chosen, or else of the largest; -1 where there is none, or nobody said which."""
    if not photo.faces or is_open(photo):
        return -1
    boxes, point = photo.faces, photo.face
    if point is None:
        return max(range(len(boxes)), key=lambda at: _width(boxes[at]) * (boxes[at].bottom - boxes[at].top))

    def away(at: int) -> float:
        box = boxes[at]
        x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        return ((x - point.x) / _width(box)) ** 2 + ((y - point.y) / max(box.bottom - box.top, 1e-6)) ** 2

    return min(range(len(boxes)), key=away)


def _width(box: schemas.FaceBox) -> float:
    return max(box.right - box.left, 1e-6)
