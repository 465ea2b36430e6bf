"""The report page of a training set: every photo with its verdict, tips and crop; one HTML file without scripts."""

from collections import Counter
from pathlib import Path
from typing import Any

import cv2

from pipelines.folders import atomic
from pipelines.pages.html import render_template, to_data_uri
from portrait.arrays import Image
from portrait.faces import likeness
from portrait.types import Crop, Face, ScoredPhoto, TrainingSet, Verdict
from portrait.uses import served_in_words

PAGE_FILE = "report.html"
ENOUGH_PHOTOS = 10
"""Photos from which more teach little: EasyPhoto asks for 5 to 20, FaceChain for 1 to 10."""

VERDICTS: dict[Verdict, str] = {"use": "Used", "spare": "In reserve", "refuse": "Not used"}
PARTS = {
    "sharpness": "Sharp",
    "exposure": "Light",
    "frontality": "Facing",
    "size": "Size",
    "eyes": "Eyes open",
    "framing": "Framing",
}


def write(training: TrainingSet, folder: Path) -> Path:
    """Write `report.html` into a set's folder; raises `OperatorError` (`cannot_write`)."""
    return atomic.write_file(folder / PAGE_FILE, render(training))


def render(training: TrainingSet) -> str:
    """Return the page as text."""
    crops = {each.source: (number, each) for number, each in enumerate(training.crops, 1)}
    photos = sorted(training.photos, key=lambda photo: list(VERDICTS).index(photo.verdict))
    counts = Counter(photo.verdict for photo in training.photos)
    return render_template(
        "report.html.j2",
        cards=[_card(photo, crops) for photo in photos],
        lead=crops[training.references[0].name][0] if training.references else None,
        counts=[(VERDICTS[verdict], counts[verdict]) for verdict in VERDICTS if counts[verdict]],
        notes=_notes(training),
        trigger=f"{training.trigger} {training.class_word}",
    )


def _notes(training: TrainingSet) -> list[str]:
    """Return what the person should know about the set as a whole."""
    notes = []
    codes = Counter(reason.code for photo in training.photos for reason in photo.reasons)
    if strangers := codes["another_person"]:
        notes.append(
            f"The photos show more than one person. The larger group is used; {_count(strangers, 'photo')} of somebody else "
            "left out."
        )
    notes += [
        f"Are these one person? {', '.join(each.unsure)} may show somebody else than {', '.join(each.person)}. They are kept "
        "in reserve: include them if they do not, or leave them out."
        for each in training.questions
    ]
    if training.uses is not None:
        served = ", ".join(served_in_words(training.uses)) or "training alone"
        notes += [f"These photos serve {served}.", *(each.tip for each in training.uses.openings)]
    used = len(training.crops)
    if used < ENOUGH_PHOTOS:
        notes.append(f"{_count(ENOUGH_PHOTOS - used, 'more photo')} would help: other days, other light, other angles.")
    if enhanced := sum(each.before is not None for each in training.crops):
        notes.append(f"{_count(enhanced, 'photo')} enhanced; before and after stand side by side below.")
    return notes


def _card(photo: ScoredPhoto, crops: dict[str, tuple[int, Crop]]) -> dict[str, Any]:
    """Return one photo as the template shows it."""
    number, crop = crops.get(photo.name, (0, None)) if photo.verdict == "use" else (0, None)
    return {
        "name": photo.name,
        "verdict": photo.verdict,
        "label": VERDICTS[photo.verdict],
        "tips": [(reason.code, reason.tip) for reason in photo.reasons],
        "photo": to_data_uri(_mark_face(photo.selfie.image, photo.face)) if photo.selfie is not None else "",
        "crop": to_data_uri(crop.image) if crop is not None else "",
        "before": to_data_uri(crop.before) if crop is not None and crop.before is not None else "",
        "full": f"crops/{number:04}.png" if crop is not None else "",
        "bars": [(word, round(100 * getattr(photo.quality, part))) for part, word in PARTS.items() if photo.quality],
        "likeness": likeness_in_words(photo),
        "serves": "" if photo.uses is None else ", ".join(served_in_words(photo.uses)) or "training alone",
    }


def likeness_in_words(photo: ScoredPhoto) -> str:
    """Return the likeness of a photo to the others of the person in words; empty where it was not measured."""
    found = photo.likeness
    return "" if found is None else likeness.likeness_in_words(found.space, found.distance)


def _mark_face(image: Image, face: Face | None) -> Image:
    """Return the photo with a frame around its face, so that everyone sees which one was judged."""
    if face is None:
        return image
    image, box = image.copy(), face.box
    width = max(2, round(max(image.shape[:2]) / 250))
    corners = (round(box.left), round(box.top)), (round(box.right), round(box.bottom))
    cv2.rectangle(image, *corners, (255, 255, 255), width + 2)
    cv2.rectangle(image, *corners, (40, 120, 240), width)
    return image


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
