"""Converts the results of flows into ledger rows: verdicts, face boxes, portraits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.jobs import Job
from tasks.ledger.queue import Outcome, Verdicts
from tasks.ledger.rows import PortraitRow

if TYPE_CHECKING:  # the keeper imports this file, and does not load numpy for it
    from portrait.types import Box, PersonQuestion, Portrait, StylePicture


def to_shares(box: "Box", width: int, height: int) -> dict[str, float]:
    """Convert a box into shares of the picture's width and height, 0..1."""
    sides = {"left": width, "top": height, "right": width, "bottom": height}
    return {name: round(min(1.0, max(0.0, getattr(box, name) / of)), 5) for name, of in sides.items()}


def verdicts_by_selfie(photos: Sequence[Mapping[str, Any]], questions: "Sequence[PersonQuestion]" = ()) -> Verdicts:
    """Index the result of `training_sets.photos_to_dicts` by the id of the selfie, which is the name of its file."""
    doubts = {name: number for number, each in enumerate(questions, 1) for name in each.unsure}
    return {
        str(each["file"]): {
            "verdict": each["verdict"],
            "reasons": each["reasons"],
            "quality": {**(each["quality"] or {}), "likeness": each["likeness"]},
            "uses": {
                "serves": each.get("serves"),
                **({"doubt": doubts[each["file"]]} if each["file"] in doubts else {}),
                **({"traits": each["traits"]} if each.get("traits") else {}),
                **({"eyes": each["eyes"]} if each.get("eyes") else {}),
            },
            "faces": each.get("faces", []),
        }
        for each in photos
    }


def faces_found(template: str, picture: "StylePicture") -> Outcome:
    """Return what a job says of an uploaded picture: its faces, numbered from the left, and where some may be missed."""
    height, width = picture.image.shape[:2]
    boxes = [to_shares(face.box, width, height) for face in picture.faces]
    missed = [to_shares(box, width, height) for box in picture.missed]
    result = {"template": template, "faces": len(boxes), **({"missed": missed} if missed else {})}
    return Outcome(result, faces=(template, boxes))


def portrait_row(job: Job, named: tuple[int, str], portrait: "Portrait", file: Path, now: float) -> PortraitRow:
    """Build the row of a delivered file; `named` are its number in the job and its id."""
    number, id = named
    height, width = portrait.image.shape[:2]
    return PortraitRow(
        id=id,
        owner=job.owner,
        job=job.id,
        number=number,
        file=file.name,
        format=file.suffix.removeprefix("."),
        bytes=file.stat().st_size,
        width=width,
        height=height,
        style=str(job.params.get("style") or job.params.get("template")),
        style_version=int(job.params.get("version", 1)),
        likeness={
            str(place): {"space": each.space, "distance": round(each.distance, 4)}
            for place, each in portrait.likeness.items()
        },
        scores={name: round(score, 4) for name, score in portrait.scores.items()},
        recipe=_stored_recipe(portrait),
        created=now,
        distance=max((round(each.distance, 4) for each in portrait.likeness.values()), default=None),
        rules_broken=int(portrait.scores.get("rules_broken", 0)),
    )


def _stored_recipe(portrait: "Portrait") -> dict[str, Any]:
    """The recipe as the ledger keeps it: with the ids of the photos that were drawn from, which no file has."""
    photos = {str(place): name for place, name in portrait.reference_names.items()}
    return {**portrait.recipe, **({"photos": photos} if photos else {})}
