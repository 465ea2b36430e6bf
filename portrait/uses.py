"""What a photo, and a set of photos, can serve: studio portraits by composition, ID photos, templates, training."""

from collections.abc import Sequence

from portrait.arrays import Mask, Size
from portrait.fusion.references import MAX_SELFIE_YAW
from portrait.idphotos import serves_id_photo
from portrait.studio.composition import compositions
from portrait.types import Composition, Face, PhotoUses, Reason, SetUses, Turn

STUDIO_SIZE = Size(1024, 1280)
"""Size for which compositions are tried: that of a studio portrait where nobody asks for another."""
SIDE_YAW = 15.0
"""Yaw from which a head counts as turned: half of what templates may have in all."""
LEARNING_PHOTOS = 5
"""Photos from which a person can be learned: EasyPhoto asks for 5 to 20."""
OPENINGS = {
    "studio": "One photo with all of the head in it, from a little further away, would open studio portraits.",
    "idphoto": "One photo that faces the camera, with all of the hair and both shoulders, would open ID photos.",
    "template": "One photo that faces the camera would open portraits in pictures.",
    "training": "Five photos or more would open training a model on the person.",
}
"""What would open each kind that a set cannot serve."""


def photo_uses(silhouette: Mask, face: Face) -> PhotoUses:
    """What a photo serves; `silhouette` is a rough mask of the person in it, as large as the photo."""
    if face.mesh is None:
        return PhotoUses(compositions(silhouette, face, STUDIO_SIZE))
    return PhotoUses(compositions(silhouette, face, STUDIO_SIZE), serves_id_photo(silhouette, face), _turn(face))


def set_uses(references: Sequence[PhotoUses], photos: int) -> SetUses:
    """What a set serves that has these references and `photos` photos in all, and what would open the rest."""
    wide: dict[Composition, None] = dict.fromkeys(name for each in references for name in each.compositions)
    turns: dict[Turn, None] = dict.fromkeys(each.template for each in references if each.template)
    served = {
        "studio": bool(wide),
        "idphoto": any(each.idphoto for each in references),
        "template": bool(turns),
        "training": photos >= LEARNING_PHOTOS,
    }
    missing = tuple(Reason(kind, OPENINGS[kind]) for kind, holds in served.items() if not holds)
    return SetUses(tuple(wide), served["idphoto"], tuple(turns), served["training"], missing)


def served_in_words(uses: PhotoUses | SetUses) -> list[str]:
    """The kinds of portraits that a photo or a set serves, in English words."""
    templates = uses.template if isinstance(uses, PhotoUses) else uses.templates
    served = {"studio": uses.compositions, "ID photos": uses.idphoto, "templates": templates}
    return [kind for kind, holds in served.items() if holds]


def _turn(face: Face) -> Turn:
    if abs(face.pose.yaw) > MAX_SELFIE_YAW:
        return ""
    if abs(face.pose.yaw) < SIDE_YAW:
        return "front"
    return "right" if face.pose.yaw > 0 else "left"
