"""ID photos of selfies as people frame them: no head floats, each refusal has its code, whoever is shown gets one."""

import numpy as np

from pipelines.engines import Engines
from pipelines.idphotos import presets
from pipelines.idphotos.idphoto import IdPhotoOptions, make_id_photo
from pipelines.idphotos.source_photo import SourcePhoto
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.idphotos import serves_id_photo
from portrait.ports import FaceFinder
from portrait.types import Face
from tests import selfies
from tests.framed_selfies import FORTY, Framed, take

PRESETS = presets.load_presets()
SHOWN = {
    "arm's length", "shoulders cut below", "square", "wide", "tall", "man, arm's length", "laughing man, arm's length",
}  # fmt: skip
"""Selfies that show head, hair and shoulders down to where an ID photo ends."""
BORDERLINE = {"shoulders cut at the sides", "neck cut", "leaned left", "man, levelled by the camera"}
"""Selfies whose border touches a lock of hair, or runs just below the picture: either answer is right."""


def outcome(photo: SourcePhoto) -> str:
    """`made`, or the code of the refusal; fails for a picture in which the person does not reach the lower edge."""
    options = IdPhotoOptions(PRESETS.find("icao"), "#00ff00")
    try:
        made = make_id_photo(photo, options, PRESETS)
    except UserError as error:
        return error.code
    assert {rule.name: rule for rule in made.rules}["shoulders"].ok
    lowest = np.abs(made.image[-1].astype(int) - (0, 255, 0)).max(axis=1) > 60
    filled, middle = np.flatnonzero(lowest), len(lowest) / 2
    assert filled[0] < 0.75 * middle
    assert filled[-1] > 1.25 * middle
    return "made"


def test_nobody_floats_and_whoever_is_shown_gets_an_id_photo(
    astronaut: Image, astronaut_face: Face, group_faces: list[Face], finder: FaceFinder, engines: Engines
) -> None:
    group, matter = selfies.group(), engines.matter({})  # the segmenter's: quick, and framing is tried here

    def source(selfie: Framed) -> SourcePhoto:
        person = (group, group_faces[selfie.person - 1]) if selfie.person else (astronaut, astronaut_face)
        return SourcePhoto(take(selfie, *person), finder, matter)

    found, served = {}, {}
    for selfie in FORTY:
        try:
            photo = source(selfie)
        except UserError as error:
            found[selfie.name] = error.code
            continue
        served[selfie.name] = serves_id_photo(photo.silhouette, photo.face)
        found[selfie.name] = outcome(photo)
    assert {code for code in found.values() if code != "made"} <= {"head_cut", "no_shoulders", "no_face"}
    made = {name for name, code in found.items() if code == "made"}
    assert made - BORDERLINE == SHOWN
    assert {name for name, serves in served.items() if serves != (name in made)} <= BORDERLINE
