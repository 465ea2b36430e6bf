"""Reasons why a photo is not used: codes, tips for the person, thresholds.

Apart from `quality`, so that the command line and the settings can read them without loading numpy.
"""

from dataclasses import dataclass

TIPS = {
    "unreadable": "This file could not be read as a photo. Export it again as JPEG or PNG, or choose another one.",
    "no_permission": "This file may not be read: it belongs to another user. Change its permissions, or choose another one.",
    "format_missing": "This photo is in a format for which a package is missing here. Save it as JPEG, or install the package.",
    "too_large": "This picture has more pixels than a photo should. Save a smaller copy and add that.",
    "blocked": "This picture may not be used here. Choose another one.",
    "no_face": "No face was found. Choose a photo in which your face is clearly visible.",
    "several_faces": "Several people are about equally large. Crop the photo to yourself, or choose one of you alone.",
    "face_small": "Your face is too small in this photo. Come closer, or crop less away when you send it.",
    "face_cut": "Part of your face is outside the photo. Choose one that shows your whole head.",
    "blurred": "This photo is blurred. Hold still, wipe the lens, or use more light.",
    "dark": "Your face is too dark. Turn towards a window or a lamp.",
    "bright": "Your face is overexposed. Step out of direct sun or turn the flash off.",
    "turned_away": "Your head is turned far to the side. It is kept in reserve; photos that face the camera work better.",
    "eyes_closed": "Your eyes look closed. It is kept in reserve; choose one with open eyes.",
    "sunglasses": "Sunglasses hide your eyes. Take them off, or choose a photo without them.",
    "face_unclear": "Your face could not be read in this photo. Choose one that shows it from the front.",
    "duplicate": "This is the same picture as another one you gave. One copy is enough.",
    "another_person": "This looks like somebody else. Photos must all show the same person.",
    "maybe_another_person": "It is not sure that this is the same person. Keep the photo in or leave it out.",
    "enough": "This photo is good, but better or more varied ones were chosen already.",
    "excluded": "You left this photo out.",
}
"""What a person can do about each code."""

RESERVE = {"turned_away", "eyes_closed", "maybe_another_person", "enough", "excluded"}
"""Codes with which a photo may still be used if there are too few; any other code refuses it."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits beyond which a code applies; measured on the synthetic selfies of docs/judging.md unless a source is named."""

    sharp: float = 0.27
    """Least sharpness (`measure_sharpness`): photos without blur read 0.43 and more, a Gaussian blur of 2 % of the face's
    width 0.30 at most."""
    dark: float = 55.0
    """Least light on the face, 0..255 (`quality.face_light`): 210 in good light, 60 after a loss of four stops."""
    clipped: float = 0.25
    """Largest share of the face at luma 250 or more: that much of it has no skin tone left."""
    turned: float = 35.0
    """Largest yaw in degrees of `geometry.pose_from_mesh`, about 45° of a real head: the far eye begins to hide."""
    tilted: float = 30.0
    """Largest pitch in degrees, up or down."""
    eyes: float = 0.2
    """Least opening of the eyes (`eye_opening`): open ones measured 0.24–0.46, shut or lowered ones 0.14–0.20."""
    small: float = 64.0
    """Least width of the face in native pixels. The embedding sees 150 px of a face with a quarter of padding (about 100 px
    of face); below two thirds of that it drifts."""
    cut: float = 0.05
    """Largest share of the face's box outside the picture."""
    crowd: float = 4.0
    """The largest face must have this many times the area of the next: FaceChain's number."""
    full_size: float = 256.0
    """Face width in native pixels from which more does not help a 512 px crop."""
