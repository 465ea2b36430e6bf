"""Training sets as folders: written atomically, and read as the same value.

SET/set.json (schema version, people, photos, verdicts), crops/0001.png with its caption beside it in 0001.txt (the layout
that other trainers read too), references/01.jpg at native resolution.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.folders import atomic
from pipelines.folders.stored_pictures import stored_crop, stored_reference
from portrait.arrays import Image, read_numbers
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import eye_shares
from portrait.faces.likeness import mean_embedding
from portrait.photos.groups import Turned
from portrait.types import (  # fmt: skip
    Box,
    Crop,
    Face,
    Likeness,
    PersonQuestion,
    PhotoUses,
    Pose,
    Quality,
    Reason,
    Reference,
    ScoredPhoto,
    SetUses,
    TrainingSet,
)

SCHEMA = 1
DESCRIPTION_FILE, REPORT_FILE = "set.json", "report.html"
JPEG_QUALITY = 98
"""JPEG quality of references, without chroma subsampling: a tenth of the time of a PNG, and no difference to be seen."""


def write(training: TrainingSet, folder: Path) -> None:
    """Write the set to `folder`; an earlier set there is replaced, anything else there is left alone.

    Raises `UserError` (`folder_taken`) when the folder holds something that is not a set, `OperatorError`
    (`cannot_write`) when the disk refuses.
    """
    if folder.exists() and not (folder / DESCRIPTION_FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            "folder_taken", f"{folder} holds other things. Name a new or empty folder for the training set."
        )
    try:
        with atomic.replace_folder(folder) as staged:
            _write_content(training, staged)
    except OSError as error:
        raise OperatorError(
            "cannot_write", f"The training set cannot be written to {folder}: {error.strerror}."
        ) from error


def read(folder: Path) -> TrainingSet:
    """Read a set, without the pictures of photos that were not used; the others are read when they are looked at.

    Raises `UserError` (`broken_set`), `OperatorError` (`no_permission`).
    """
    try:
        with atomic.reported_reading(folder):
            description = atomic.read_json(folder / DESCRIPTION_FILE)
        if description["schema"] != SCHEMA:
            raise UserError("broken_set", f"{folder} was written by another version. Prepare the photos again.")
        return TrainingSet(
            crops=tuple(_read_crop(folder, each) for each in description["crops"]),
            references=tuple(_read_reference(folder, each) for each in description["references"]),
            mean_embeddings={space: read_numbers(vector, 1) for space, vector in description["likeness"].items()},
            photos=tuple(_read_photo(each) for each in description["photos"]),
            trigger=description["trigger"],
            class_word=description["class_word"],
            questions=tuple(_read_question(each) for each in description.get("questions", ())),
            uses=_read_uses(description),
            traits={str(name): str(value) for name, value in description.get("traits", {}).items()},
            asks_guardian=description.get("asks_guardian"),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError("broken_set", f"{folder} is not a whole training set. Prepare the photos again.") from error


def read_enlarged(folder: Path) -> tuple[Reference, ...]:
    """Return the references of a set whose small faces were given detail; none where there is no whole set."""
    try:
        description = atomic.read_json(folder / DESCRIPTION_FILE)
        enlarged = [each for each in description["references"] if each.get("enlarged", 1) > 1]
        return tuple(_read_reference(folder, each) for each in enlarged)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, UserError):
        return ()


def read_reference_names(folder: Path) -> list[str]:
    """Return the names of the photos that a set's references are, the best first; none where there is no whole set."""
    try:
        description = atomic.read_json(folder / DESCRIPTION_FILE)
        return [str(each["name"]) for each in description["references"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def read_traits(folder: Path) -> dict[str, str]:
    """Return what the person of a set chose to say of themselves, by trait; nothing where there is no whole set."""
    try:
        description = atomic.read_json(folder / DESCRIPTION_FILE)
        return {str(name): str(value) for name, value in description.get("traits", {}).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def is_set(folder: Path) -> bool:
    """Return whether a folder holds a training set."""
    return (folder / DESCRIPTION_FILE).is_file()


def find_crop(folder: Path, source: str) -> Path | None:
    """Return the crop that was cut from the photo `source`; None when there is none, or no set."""
    try:
        description = atomic.read_json(folder / DESCRIPTION_FILE)
        return next((folder / each["file"] for each in description["crops"] if each["source"] == source), None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_photo(folder: Path, source: str) -> bool:
    """Remove what was made of one photo from a set; returns False when that leaves nothing to draw from.

    The mean embedding is computed again from the references that are left. After a call that was interrupted, another one
    removes the rest. Raises `UserError` (`broken_set`), `OperatorError` (`cannot_write`).
    """
    try:
        description = atomic.read_json(folder / DESCRIPTION_FILE)
        used = any(each["source"] == source for each in description["crops"])
        before = _listed_files(description)
        for part, name in (("crops", "source"), ("references", "name"), ("photos", "file")):
            description[part] = [each for each in description[part] if each[name] != source]
        asked = [_without(each, source) for each in description.get("questions", ())]
        description["questions"] = [each for each in asked if each["unsure"]]
        if used:
            description["likeness"] = _mean_of_references(description)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "broken_set", f"{folder.name} is not a whole training set. Prepare the photos again."
        ) from error
    with atomic.reported("The training set cannot be written"):
        atomic.write_file(folder / DESCRIPTION_FILE, json.dumps(description, ensure_ascii=False))
        (folder / REPORT_FILE).unlink(missing_ok=True)  # photos are inside
        there = {
            str(each.relative_to(folder)) for part in ("crops", "references") for each in folder.glob(f"{part}/**/*")
        }
        for name in (before | there) - _listed_files(description):
            if not (folder / name).is_dir():
                (folder / name).unlink(missing_ok=True)
    return bool(description["crops"] and description["references"])


def read_mean(folder: Path) -> Mapping[str, Sequence[float]] | None:
    """Return the mean embeddings of a set by space; None where there is no whole set."""
    try:
        return atomic.read_json(folder / DESCRIPTION_FILE)["likeness"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _listed_files(description: Mapping[str, Any]) -> set[str]:
    """Return the files of a set's crops and references, relative to its folder."""
    crops, references = description["crops"], description["references"]
    pictures = {each[key] for each in (*crops, *references) for key in ("file", "before") if each.get(key)}
    return pictures | {str(Path(each["file"]).with_suffix(".txt")) for each in crops}


def _mean_of_references(description: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the mean embedding of the references in each space in which all have one."""
    found = [each.get("face", {}).get("embeddings", {}) for each in description["references"]]
    spaces = [space for space in description.get("likeness", {}) if found and all(space in each for each in found)]
    return {space: mean_embedding(space, [read_numbers(each[space], 1) for each in found]).tolist() for space in spaces}


def photos_to_dicts(photos: Sequence[ScoredPhoto]) -> list[dict[str, Any]]:
    """Return photos with their verdicts as JSON, as the command line, `set.json` and the API show them."""
    return [
        {
            "file": photo.name,
            "verdict": photo.verdict,
            "reasons": [{"code": each.code, "tip": each.tip} for each in photo.reasons],
            "likeness": _likeness_to_dict(photo.likeness),
            "quality": _quality_to_dict(photo.quality),
            "serves": None if photo.uses is None else _photo_uses_to_dict(photo.uses),
            "faces": [_box_to_dict(box) for box in photo.faces],
            **({"eyes": eyes} if (eyes := _stored_eyes(photo)) else {}),
            **({"traits": dict(photo.traits)} if photo.traits else {}),
        }
        for photo in photos
    ]


def _stored_eyes(photo: ScoredPhoto) -> list[float]:
    """Return where the person's eyes are in the photo as it is stored, as `eye_shares`; empty where it is not known.

    The photo may have been turned to stand upright, and the person be one of several in it.
    """
    if photo.face is None or photo.selfie is None:
        return []
    window, turned = photo.window, Turned(photo.quarter_turns)
    x1, y1, x2, y2 = eye_shares(photo.face, photo.selfie.image)
    upright = [(window.left + x * window.width, window.top + y * window.height) for x, y in ((x1, y1), (x2, y2))]
    return [round(share, 4) for x, y in upright for share in turned.stored_point(x, y)]


def summary_to_dict(training: TrainingSet) -> dict[str, Any]:
    """Return what a set serves, what would open the rest, and whom it asks about, as JSON for `set.json` and programs."""
    uses = training.uses
    served = uses and {
        "studio": list(uses.compositions),
        "idphoto": uses.idphoto,
        "template": list(uses.templates),
        "training": uses.training,
    }
    return {
        "serves": served,
        "opens": [{"code": each.code, "tip": each.tip} for each in (uses.openings if uses else ())],
        "questions": [question_to_dict(each) for each in training.questions],
        **({"traits": dict(training.traits)} if training.traits else {}),
        "asks_guardian": training.asks_guardian,
    }


def question_to_dict(question: PersonQuestion) -> dict[str, Any]:
    """Return a question about photos as JSON."""
    return {
        "person": list(question.person),
        "unsure": list(question.unsure),
        "distance": round(question.distance, 4),
        "signs": list(question.signs),
    }


def _write_content(training: TrainingSet, folder: Path) -> None:
    (folder / "crops").mkdir()
    (folder / "references").mkdir()
    description = {
        "schema": SCHEMA,
        "trigger": training.trigger,
        "class_word": training.class_word,
        "likeness": {space: vector.tolist() for space, vector in training.mean_embeddings.items()},
        "photos": photos_to_dicts(training.photos),
        **summary_to_dict(training),
        "crops": [_write_crop(folder, number, each) for number, each in enumerate(training.crops, 1)],
        "references": [_write_reference(folder, number, each) for number, each in enumerate(training.references, 1)],
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, ensure_ascii=False), "utf-8")


def _write_crop(folder: Path, number: int, each: Crop) -> dict[str, Any]:
    name = f"crops/{number:04}.png"
    _save_image(folder / name, each.image)
    (folder / name).with_suffix(".txt").write_text(each.caption + "\n", "utf-8")
    before = None
    if each.before is not None:
        before = f"crops/before/{number:04}.png"
        (folder / "crops/before").mkdir(exist_ok=True)
        _save_image(folder / before, each.before)
    return {"file": name, "caption": each.caption, "source": each.source, "before": before}


def _write_reference(folder: Path, number: int, each: Reference) -> dict[str, Any]:
    name = f"references/{number:02}.jpg"
    _save_image(folder / name, each.image)
    face = each.face
    return {
        "file": name,
        "name": each.name,
        "selfie": each.selfie,
        "enlarged": each.enlarged,
        "quality": _quality_to_dict(each.quality),
        "face": {
            "box": [face.box.left, face.box.top, face.box.right, face.box.bottom],
            "landmarks": np.round(face.landmarks, 2).tolist(),
            "mesh": None if face.mesh is None else np.round(face.mesh, 2).tolist(),
            "embeddings": {space: vector.tolist() for space, vector in face.embeddings.items()},
            "pose": [face.pose.yaw, face.pose.pitch, face.pose.roll],
            "confidence": face.confidence,
        },
    }


def _save_image(path: Path, image: Image) -> None:
    options = (
        [cv2.IMWRITE_PNG_COMPRESSION, 1]
        if path.suffix == ".png"
        else [
            cv2.IMWRITE_JPEG_QUALITY,
            JPEG_QUALITY,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
    )
    done, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise OperatorError("cannot_write", f"{path.name} could not be encoded.")
    path.write_bytes(data.tobytes())


def _read_crop(folder: Path, each: Mapping[str, Any]) -> Crop:
    before = folder / each["before"] if each["before"] else None
    return stored_crop(folder / each["file"], before, caption=each["caption"], source=each["source"])


def _read_reference(folder: Path, each: Mapping[str, Any]) -> Reference:
    face = each["face"]
    return stored_reference(
        folder / each["file"],
        name=each["name"],
        face=Face(
            Box(*face["box"]),
            read_numbers(face["landmarks"], 2),
            None if face["mesh"] is None else read_numbers(face["mesh"], 2),
            {space: read_numbers(vector, 1) for space, vector in face["embeddings"].items()},
            Pose(*face["pose"]),
            face["confidence"],
        ),
        quality=Quality(**each["quality"]),
        selfie=each.get("selfie", ""),
        enlarged=each.get("enlarged", 1.0),
    )


def _read_photo(each: Mapping[str, Any]) -> ScoredPhoto:
    return ScoredPhoto(
        each["file"],
        each["verdict"],
        tuple(Reason(reason["code"], reason["tip"]) for reason in each["reasons"]),
        quality=Quality(**each["quality"]) if each["quality"] else None,
        likeness=Likeness(**each["likeness"]) if each["likeness"] else None,
        uses=_read_photo_uses(each.get("serves")),
        faces=tuple(Box(**box) for box in each.get("faces", ())),
        traits=each.get("traits", {}),
    )


def _box_to_dict(box: Box) -> dict[str, float]:
    return {name: round(getattr(box, name), 5) for name in ("left", "top", "right", "bottom")}


def _photo_uses_to_dict(uses: PhotoUses) -> dict[str, Any]:
    return {"studio": list(uses.compositions), "idphoto": uses.idphoto, "template": uses.template}


def _read_photo_uses(serves: Mapping[str, Any] | None) -> PhotoUses | None:
    return None if serves is None else PhotoUses(tuple(serves["studio"]), serves["idphoto"], serves["template"])


def _read_uses(description: Mapping[str, Any]) -> SetUses | None:
    serves = description.get("serves")
    if serves is None:
        return None
    openings = tuple(Reason(each["code"], each["tip"]) for each in description["opens"])
    turns = tuple(serves["template"])
    return SetUses(tuple(serves["studio"]), serves["idphoto"], turns, serves["training"], openings)


def _read_question(each: Mapping[str, Any]) -> PersonQuestion:
    return PersonQuestion(tuple(each["person"]), tuple(each["unsure"]), each["distance"], tuple(each["signs"]))


def _without(question: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A question without one photo."""
    return {**question, **{part: [name for name in question[part] if name != source] for part in ("person", "unsure")}}


def _likeness_to_dict(likeness: Likeness | None) -> dict[str, Any] | None:
    return None if likeness is None else {"space": likeness.space, "distance": round(likeness.distance, 4)}


def _quality_to_dict(quality: Quality | None) -> dict[str, float] | None:
    if quality is None:
        return None
    names = ("sharpness", "exposure", "frontality", "size", "eyes", "framing", "total")
    return {name: round(getattr(quality, name), 4) for name in names}
