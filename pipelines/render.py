"""Renders the portraits of a request: draw candidates, measure, choose, refine."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import image_io, refine
from portrait.arrays import LARGEST_SIDE, SMALLEST_SIDE
from portrait.errors import UserError
from portrait.faces.likeness import distance
from portrait.generation import edits, options
from portrait.generation.options import GenerationOptions
from portrait.photos.quality import eye_opening, measure_sharpness
from portrait.ports import FaceFinder, Guard, Painter, Progress, Refiner, ReproduciblePainter
from portrait.types import Candidate, Face, Likeness, Portrait, PortraitRequest, Style, StylePicture

MAX_COUNT = 16
"""Portraits of one style in one request."""


@dataclass(frozen=True, slots=True)
class Render:
    """Renders the portraits of a request."""

    painters: Mapping[str, Painter]
    """By the mode of a request."""
    finder: FaceFinder
    refiners: Mapping[str, Refiner] = field(default_factory=dict)
    """By the name of the step."""
    guard: Guard | None = None
    """What a diffusion model draws must pass it, and so must the reference photos."""
    redraws: int = 0
    """Most drawings that are added, in modes that draw from seeds, for those whose face is not the person's."""

    def __call__(self, request: PortraitRequest, progress: Progress) -> list[Portrait]:
        """Return `request.count` portraits, the best first; raises `UserError` when none can be drawn."""
        check_request(request)
        self._check_references(request)
        request = self._locate_face(request)
        drawn = self._draw(request, progress)
        # What an edit keeps of the picture may hold the face: drawing again would not change it.
        if self.redraws and request.is_generated and request.edit is None:
            drawn += self._redraw(drawn, request, progress)
        if not drawn:
            raise UserError("blocked", "What was drawn may not be delivered. Choose another style, or another seed.")
        chosen = sorted(drawn, key=lambda each: -each.portrait.scores["total"])[: request.count]
        if not refine.steps_of(request):
            return [each.portrait for each in chosen]
        # Only what will be delivered is refined, and then measured as it will be delivered.
        refined = [self._refine(each.candidate, each.number, each.request, progress) for each in chosen]
        return choose(refined, request.count)

    def _locate_face(self, request: PortraitRequest) -> PortraitRequest:
        """Return the request with the landmarks of the face in the picture that its edit begins from."""
        edit = request.edit
        if edit is None:
            return request
        faces = self.finder.faces(edit.picture, embedded=0)
        return replace(request, edit=replace(edit, face=faces[0].landmarks if faces else None))

    def _draw(self, request: PortraitRequest, progress: Progress) -> "list[_MeasuredCandidate]":
        """Draw and measure every candidate of a request; what the guard refuses is left out."""
        candidates = self.painters[request.mode].paint(request, progress)
        drawn = []
        for number, candidate in enumerate(candidates):
            progress(number, len(candidates), "Measuring", candidate.image)
            if request.is_generated and self.guard is not None and not self.guard.allows(candidate.image):
                continue
            drawn.append(_MeasuredCandidate(self._measure(candidate, number, request), candidate, number, request))
        return drawn

    def _check_references(self, request: PortraitRequest) -> None:
        """Raise `UserError` (`blocked`) when the guard refuses a reference photo of a diffusion model."""
        if self.guard is None or not request.is_generated:
            return
        for person in request.people.values():
            if any(not self.guard.allows(reference.image) for reference in person.references):
                raise UserError("blocked", "A photo of this person may not be used here. Take it out, and train again.")

    def _redraw(
        self, drawn: "Sequence[_MeasuredCandidate]", request: PortraitRequest, progress: Progress
    ) -> "list[_MeasuredCandidate]":
        """Draw replacements, with seeds of their own, until enough show the person or `redraws` are used up."""
        found: list[_MeasuredCandidate] = []
        tried = 0
        while tried < self.redraws:
            alike = sum(self._is_same_person(each.portrait) for each in (*drawn, *found))
            missing = min(request.count - alike, self.redraws - tried)
            if missing <= 0:
                break
            seed = request.seed + request.count + tried
            found += self._draw(replace(request, seed=seed, count=missing), progress)
            tried += missing
        return found

    def _is_same_person(self, portrait: Portrait) -> bool:
        """Return whether every drawn face is within the finder's distance for one person."""
        return bool(portrait.likeness) and all(
            each.distance <= self.finder.same_person for each in portrait.likeness.values()
        )

    def reproduce(
        self, request: PortraitRequest, candidate: int, progress: Progress, drawn: Mapping[str, Any] | None = None
    ) -> Portrait:
        """Draw the one portrait of a recipe again; `drawn` are the recipe's facts of its drawing.

        Raises `OperatorError` (`model_differs`) where other models would draw it.
        """
        check_request(request)
        request = self._locate_face(request)
        painter = self.painters[request.mode]
        if drawn and isinstance(painter, ReproduciblePainter):
            painter.check_models(request, drawn)
        candidates = painter.paint(request, progress)
        if candidate >= len(candidates):
            raise UserError("recipe_differs", "The recipe names a drawing that these photos no longer give.")
        if request.is_generated and self.guard is not None and not self.guard.allows(candidates[candidate].image):
            raise UserError("blocked", "What was drawn may not be delivered. Choose another style, or another seed.")
        return self._refine(candidates[candidate], candidate, request, progress)

    def _refine(self, candidate: Candidate, number: int, request: PortraitRequest, progress: Progress) -> Portrait:
        """Apply the refinement steps of style and request to a candidate, and measure the result."""
        steps = refine.steps_of(request)
        image = refine.Refine(self.refiners, self.finder)(candidate.image, steps, progress)
        return self._measure(replace(candidate, image=image), number, request)

    def _measure(self, candidate: Candidate, number: int, request: PortraitRequest) -> Portrait:
        """Measure a drawing: likeness by face number, and scores; nothing is taken from how it was drawn."""
        faces = self.finder.faces(candidate.image, embedded=max(4, len(request.people)))
        drawn = {place: _find_drawn_face(faces, place, request, candidate) for place in request.people}
        space = self.finder.space
        likeness = {
            place: Likeness(
                space, distance(space, face.embeddings[space], request.people[place].mean_embeddings[space])
            )
            for place, face in drawn.items()
            if face is not None and space in face.embeddings
        }
        faces_found = [face for face in drawn.values() if face is not None]
        scores = {
            "faces": float(len(faces)),
            "sharpness": min((measure_sharpness(candidate.image, face) for face in faces_found), default=0.0),
            "eyes": min((eye_opening(face) for face in faces_found), default=0.0),
        }
        scores["total"] = _total_score(scores, likeness, len(drawn), self.finder.same_person)
        return Portrait(
            candidate.image,
            candidate.before,
            candidate.reference_names,
            likeness,
            scores,
            recipe(request, candidate, number),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _MeasuredCandidate:
    """A candidate with its measures, and the request that draws it."""

    portrait: Portrait
    candidate: Candidate
    number: int
    request: PortraitRequest


def check_request(request: PortraitRequest) -> None:
    """Raise `UserError` for what no painter could draw."""
    size = request.size
    if size is not None and not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (size.width, size.height)):
        raise UserError("bad_size", f"A portrait's sides are {SMALLEST_SIDE} to {LARGEST_SIDE} pixels.")
    if not 1 <= request.count <= MAX_COUNT:
        raise UserError("bad_count", f"Ask for 1 to {MAX_COUNT} portraits of a style.")
    if not request.people:
        raise UserError("nobody", "No face of the picture was given a person.")
    if request.style.kind != "template" and set(request.people) != {1}:
        raise UserError("template_face_missing", "This style shows one person: leave --face out, or choose a picture.")
    if request.edit is not None:
        if request.style.kind != "text" or request.size is not None:
            raise UserError("bad_edit", "Only portraits that were drawn of words can be edited, each at its own size.")
        edits.check(request.edit)


def choose(portraits: Sequence[Portrait], count: int) -> list[Portrait]:
    """Return the best by total score, in which a face that is not found counts as unlike."""
    return sorted(portraits, key=lambda each: -each.scores["total"])[:count]


def attach_template(style: Style, path: Path, finder: FaceFinder) -> Style:
    """Return the style with its picture, the faces in it found and numbered from left to right.

    Raises `UserError`: `template_unreadable`, `template_no_face`.
    """
    try:
        image = image_io.read(path).image
    except UserError as error:
        raise UserError("template_unreadable", f"The picture {path.name} cannot be used. {error.message}") from error
    faces = sorted(finder.faces(image, embedded=0), key=lambda face: face.box.left)
    if not faces:
        raise UserError(
            "template_no_face", f"No face was found in {path.name}. Choose a picture that shows one clearly."
        )
    return replace(style, picture=StylePicture(image, tuple(faces)))


def recipe(request: PortraitRequest, candidate: Candidate, number: int) -> dict[str, object]:
    """Return what draws this candidate again, as JSON: the request, and which of its candidates this is."""
    refined = [asdict(step) for step in refine.steps_of(request)]
    return {
        "schema": 1,
        "style": {"id": request.style.id, "version": request.style.version, "kind": request.style.kind},
        "people": {str(place): person.id for place, person in request.people.items()},
        "seed": request.seed,
        "count": request.count,
        "size": None if request.size is None else [request.size.width, request.size.height],
        "candidate": number,
        "variation": dict(candidate.variation),
        **({"refiners": refined} if refined else {}),
        **({"technique": _options_to_dict(request.options)} if request.options else {}),
        **({"edit": edits.to_dict(request.edit)} if request.edit else {}),
        **({"drawn": dict(candidate.facts)} if candidate.facts else {}),
    }


def _options_to_dict(generation_options: GenerationOptions) -> dict[str, object]:
    """Return the options as recipes hold them: always with the preset, since naming one changes how a template is drawn."""
    return {"preset": generation_options.preset, **options.to_dict(generation_options)}


def _find_drawn_face(faces: Sequence[Face], place: int, request: PortraitRequest, candidate: Candidate) -> Face | None:
    """Return the face of one person in a drawing: the largest in a studio, the nearest to its place in a template."""
    picture = request.style.picture
    if not faces or picture is None:
        return faces[0] if faces else None
    height, width = candidate.image.shape[:2]
    # A portrait in another size than the template's is cut from its middle: places are compared as shares of the width.
    share = np.array([width / picture.image.shape[1], height / picture.image.shape[0]])
    wanted = np.array(picture.faces[place - 1].box.centre) * (share if request.size is None else share.max())
    if request.size is not None and len(picture.faces) == 1:
        return faces[0]
    return min(faces, key=lambda face: float(np.hypot(*(np.array(face.box.centre) - wanted))))


def _total_score(scores: Mapping[str, float], likeness: Mapping[int, Likeness], wanted: int, limit: float) -> float:
    """Return the score 0..1 by which portraits are ranked: likeness counts most; a face that is not found counts as unlike.

    Eyes count as they are judged in photos, nothing where they are shut.
    """
    alike = [max(0.0, 1 - each.distance / (2 * limit)) for each in likeness.values()]
    mean = sum(alike) / wanted if wanted else 0.0
    eyes = min(1.0, max(0.0, (scores["eyes"] - 0.12) / 0.16))
    return float(0.75 * mean + 0.1 * min(1.0, scores["sharpness"] / 0.45) + 0.15 * eyes)
