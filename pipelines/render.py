"""Renders the portraits of a request: draw candidates, measure, choose, refine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import refine, template_faces
from pipelines.guards.drawings import DrawingGuards
from pipelines.guards.pictures import NOT_DELIVERED, PictureGuard
from pipelines.template_faces import find_drawn_face
from portrait.arrays import LARGEST_SIDE, SMALLEST_SIDE
from portrait.errors import UserError
from portrait.faces.geometry import box_slices, eye_shares
from portrait.faces.likeness import distance, mean_embedding
from portrait.generation import edits, options
from portrait.idphoto_spec import spec_to_dict
from portrait.photos.quality import eye_opening, measure_sharpness
from portrait.ports import AnyRefiner, FaceFinder, Guard, Painter, Progress, ReproduciblePainter, StreamingPainter
from portrait.types import (  # fmt: skip
    Candidate,
    Face,
    Identity,
    Likeness,
    Portrait,
    PortraitRequest,
    Reference,
    Skin,
    Style,
)

MAX_COUNT = 16
"""Portraits of one style in one request."""


@dataclass(frozen=True, slots=True)
class Render:
    """Renders the portraits of a request."""

    painters: Mapping[str, Painter]
    """By the mode of a request."""
    finder: FaceFinder
    refiners: Mapping[str, AnyRefiner] = field(default_factory=dict)
    """By the name of the step."""
    guard: Guard | None = None
    """What a diffusion model draws must pass it, and so must the reference photos."""
    redraws: int = 0
    """Most drawings that are added, in modes that draw from seeds, for those whose face is not the person's."""
    pictures: PictureGuard | None = None
    """The pictures that a request brings, what a diffusion model draws and all that is delivered must pass it."""

    @property
    def _guards(self) -> DrawingGuards:
        return DrawingGuards(self.pictures, self.guard)

    def __call__(
        self, request: PortraitRequest, progress: Progress, deliver: Callable[[Portrait], object] | None = None
    ) -> list[Portrait]:
        """Return `request.count` portraits, the best first; raises `UserError` when none can be drawn or may be delivered.

        `deliver` is given portraits as soon as they are finished; those that are not among the returned ones were replaced.
        """
        check_request(request)
        self._guards.check_request(request)
        request = self._locate_face(self._embed_people(request))
        drawn = self._draw(request, progress, deliver)
        # What an edit keeps of the picture may hold the face: drawing again would not change it.
        if self.redraws and request.is_generated and request.edit is None:
            drawn += self._redraw(drawn, request, progress)
        finished: list[Portrait] = []
        # Only what will be delivered is refined, and then measured as it will be delivered.
        for each in sorted(drawn, key=lambda each: _rank(each.portrait)):
            portrait = each.finished or self._finish(each, progress)
            finished += [] if portrait is None else [portrait]
            if len(finished) == request.count:
                break
        if not finished:
            raise UserError("blocked", NOT_DELIVERED)
        return choose(finished, request.count)

    def _embed_people(self, request: PortraitRequest) -> PortraitRequest:
        """Return the request with every person's embedding in the finder's space, by which they will be measured.

        Who was prepared with another face engine is embedded from their reference photos. Raises `UserError`
        (`other_face_engine`) where the present one finds no face in any of them.
        """
        people = {place: self._embed_person(person) for place, person in request.people.items()}
        return replace(request, people=people)

    def _embed_person(self, person: Identity) -> Identity:
        space = self.finder.space
        if space in person.mean_embeddings or not (person.references or person.lora is None):
            return person  # whose LoRA came without photos is drawn, and not measured
        faces = [face for reference in person.references if (face := self._embed_reference(reference)) is not None]
        if not faces:
            raise UserError(
                "other_face_engine",
                f"These photos were judged with another face engine, and the present one ({space}) finds no face in them. "
                "Prepare the photos again.",
            )
        mean = mean_embedding(space, [face.embeddings[space] for face in faces])
        return replace(person, mean_embeddings={**person.mean_embeddings, space: mean})

    def _embed_reference(self, reference: Reference) -> Face | None:
        """Return the face of a reference with its embedding; None where the finder sees none in its place."""
        box = reference.face.box
        rows, columns = box_slices(box, reference.image.shape, room=1.0)
        window = np.ascontiguousarray(reference.image[rows, columns])
        place = np.array(box.centre) - (columns.start, rows.start)
        face = template_faces.nearest_face(self.finder.faces(window, embedded=0), place, box.width / 2)
        embedded = None if face is None else self.finder.embed(window, face)
        return embedded if embedded is not None and self.finder.space in embedded.embeddings else None

    def _locate_face(self, request: PortraitRequest) -> PortraitRequest:
        """Return the request with the landmarks of the face in the picture that its edit begins from."""
        edit = request.edit
        if edit is None:
            return request
        faces = self.finder.faces(edit.picture, embedded=0)
        return replace(request, edit=replace(edit, face=faces[0].landmarks if faces else None))

    def _draw(
        self, request: PortraitRequest, progress: Progress, deliver: Callable[[Portrait], object] | None = None
    ) -> "list[_MeasuredCandidate]":
        """Draw and measure every candidate; `deliver` is given those that are finished. What the guard refuses is left out."""
        painter, held = self.painters[request.mode], refine.HeldProgress(progress)
        if isinstance(painter, StreamingPainter):
            candidates, total, measuring = painter.draw_each(request, held), request.count, held.hold
        else:
            candidates = painter.paint(request, held)
            total, measuring = len(candidates), held
        drawn: list[_MeasuredCandidate] = []
        for number, candidate in enumerate(candidates):
            measuring(number, total, "Measuring", candidate.image)
            if not self._guards.keeps(candidate.image, request):
                continue
            each = _MeasuredCandidate(self._measure(candidate, number, request), candidate, number, request)
            # Where one portrait is asked for, or more were drawn than that, the best is chosen when all are measured.
            if deliver is not None and total == request.count > 1:
                each = replace(each, finished=self._finish(each, held.hold))
                if each.finished is None:
                    continue
                deliver(each.finished)
            drawn.append(each)
        return drawn

    def _finish(self, drawn: "_MeasuredCandidate", progress: Progress) -> Portrait | None:
        """Return the portrait of a candidate as it is delivered; None where the guard keeps it back."""
        portrait = drawn.portrait
        if refine.steps_of(drawn.request):
            portrait = self._refine(drawn.candidate, drawn.number, drawn.request, progress)
        return portrait if self._guards.delivers(portrait.image) else None

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
        """Return whether every drawn face is within the finder's distance for one person, where that can be measured."""
        if not portrait.scores.get("measurable", 1.0):
            return True
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
        self._guards.check_request(request)
        request = replace(self._locate_face(self._embed_people(request)), drawn=drawn, only=candidate)
        painter = self.painters[request.mode]
        if drawn and isinstance(painter, ReproduciblePainter):
            painter.check_models(request, drawn)
        candidates = painter.paint(request, progress)
        if not candidates:
            raise UserError("recipe_differs", "The recipe names a drawing that these photos no longer give.")
        if not self._guards.keeps(candidates[0].image, request):
            raise UserError("blocked", NOT_DELIVERED)
        portrait = self._refine(candidates[0], candidate, request, progress)
        self._guards.check_delivered(portrait.image)
        return portrait

    def _refine(self, candidate: Candidate, number: int, request: PortraitRequest, progress: Progress) -> Portrait:
        """Apply the refinement steps of style and request to a candidate, and measure the result."""

        def find_people(faces: Sequence[Face]) -> dict[int, refine.Subject]:
            found = {place: find_drawn_face(faces, place, request, candidate.image) for place in request.people}
            return {place: refine.Subject(face, request.people[place]) for place, face in found.items() if face}

        recorded: Any = None if request.drawn is None else request.drawn.get("refined", {})
        refining = refine.Refine(self.refiners, self.finder, find_people, recorded)
        refined = refining.refine(candidate.image, refine.steps_of(request), progress)
        facts, scores = {**candidate.facts, **refined.facts}, {**candidate.scores, **refined.scores}
        return self._measure(replace(candidate, image=refined.image, facts=facts, scores=scores), number, request)

    def _measure(self, candidate: Candidate, number: int, request: PortraitRequest) -> Portrait:
        """Measure a drawing: likeness by face number, and scores; nothing is taken from how it was drawn."""
        faces = self.finder.faces(candidate.image, embedded=0)
        found = {place: find_drawn_face(faces, place, request, candidate.image) for place in request.people}
        # Only the faces of the people are embedded, however many there are and however small.
        drawn = {place: face and self.finder.embed(candidate.image, face) for place, face in found.items()}
        space = self.finder.space
        likeness = {
            place: Likeness(
                space, distance(space, face.embeddings[space], request.people[place].mean_embeddings[space])
            )
            for place, face in drawn.items()
            if face is not None and space in face.embeddings and space in request.people[place].mean_embeddings
        }
        measurable = any(space in person.mean_embeddings for person in request.people.values())
        faces_found = [face for face in drawn.values() if face is not None]
        scores = {
            "faces": float(len(faces)),
            "sharpness": min((measure_sharpness(candidate.image, face) for face in faces_found), default=0.0),
            "eyes": min((eye_opening(face) for face in faces_found), default=0.0),
            **candidate.scores,
            **({} if measurable else {"measurable": 0.0}),
        }
        if "rules" in candidate.facts:
            scores["rules_broken"] = float(len(broken_rules(candidate.facts)))
        scores["total"] = _total_score(scores, likeness, len(drawn), self.finder.same_person)
        return Portrait(
            candidate.image,
            candidate.before,
            candidate.reference_names,
            likeness,
            scores,
            recipe(
                request, replace(candidate, facts={**candidate.facts, **_eye_facts(drawn, request, candidate)}), number
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _MeasuredCandidate:
    """A candidate with its measures, and the request that draws it."""

    portrait: Portrait
    candidate: Candidate
    number: int
    request: PortraitRequest
    finished: Portrait | None = None
    """As it was delivered already; None before that."""


def check_request(request: PortraitRequest) -> None:
    """Raise `UserError` for what no painter could draw."""
    options.check_seed(request.seed)
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
    """Return the best by total score, in which a face that is not found counts as unlike.

    ID photos that break fewer rules come first.
    """
    return sorted(portraits, key=_rank)[:count]


def _rank(portrait: Portrait) -> tuple[float, float]:
    return portrait.scores.get("rules_broken", 0.0), -portrait.scores["total"]


def broken_rules(drawn: Mapping[str, Any]) -> list[str]:
    """Return the names of the rules that an ID photo breaks, from the facts of its drawing; none for other portraits."""
    return [rule["rule"] for rule in drawn.get("rules", ()) if not rule["ok"]]


def attach_template(
    style: Style,
    path: Path,
    finder: FaceFinder,
    points: Sequence[tuple[float, float]] = (),
    counted_before: bool = False,
) -> Style:
    """Return the style with its picture and the faces in it, and at `points` (x, y); see `template_faces.read_picture`.

    `counted_before`: as version 0.1.0 found and numbered them. A studio's picture is its backdrop, without faces, and that of
    a style of words is for its look. Raises `UserError`: `template_unreadable`, `template_no_face`, `no_face_there`.
    """
    if style.kind == "text" and style.prompt_spec is not None:
        spec = replace(style.prompt_spec, look_picture=template_faces.read_image(path))
        return replace(style, prompt_spec=spec)
    if style.kind == "studio":
        return replace(style, backdrop_picture=template_faces.read_image(path))
    if counted_before:
        return replace(style, picture=template_faces.read_picture_as_before(path, finder))
    return replace(style, picture=template_faces.read_picture(path, finder, points))


def recipe(request: PortraitRequest, candidate: Candidate, number: int) -> dict[str, object]:
    """Return what draws this candidate again, as JSON: the request, and which of its candidates this is."""
    steps, given = refine.steps_of(request), request.options
    method = given.method if given else options.METHOD
    return {
        "schema": 1,
        "style": {"id": request.style.id, "version": request.style.version, "kind": request.style.kind},
        "people": {str(place): person.id for place, person in request.people.items()},
        "seed": request.seed,
        "count": request.count,
        "size": None if request.size is None else [request.size.width, request.size.height],
        "candidate": number,
        "variation": dict(candidate.variation),
        **({"refiners": [{"name": each.name, "strength": each.strength} for each in steps]} if steps else {}),
        **({"refining": steps[0].method} if steps and steps[0].method > 1 else {}),
        **_template_recipe(request),
        # Always with the preset: naming one changes how a template is drawn.
        **({"technique": {"preset": given.preset, **options.to_dict(given)}} if given else {}),
        **({"method": method} if request.is_generated and method > 1 else {}),
        **({"edit": edits.to_dict(request.edit)} if request.edit else {}),
        **({"idphoto": spec} if request.style.kind == "idphoto" and (spec := spec_to_dict(request.idphoto)) else {}),
        **({"drawn": dict(candidate.facts)} if candidate.facts else {}),
    }


def _eye_facts(
    drawn: Mapping[int, Face | None], request: PortraitRequest, candidate: Candidate
) -> dict[str, dict[str, dict[str, object]]]:
    """Return where the eyes of each drawn face are, as `eye_shares`: in the portrait, in the photo that it was drawn from
    (with that photo's width over its height), and in the template; pictures are laid over each other by them."""
    eyes: dict[str, dict[str, object]] = {}
    picture = request.style.picture
    for place, face in drawn.items():
        if face is None:
            continue
        found: dict[str, object] = {"portrait": eye_shares(face, candidate.image)}
        name = candidate.reference_names.get(place)
        photo = next((each for each in request.people[place].references if each.name == name), None)
        if photo is not None:
            aspect = round(photo.image.shape[1] / photo.image.shape[0], 3)
            found |= {"photo": eye_shares(photo.face, photo.image), "photo_aspect": aspect}
        if picture is not None:
            found["template"] = eye_shares(picture.faces[place - 1], picture.image)
        eyes[str(place)] = found
    return {"eyes": eyes} if eyes else {}


def _template_recipe(request: PortraitRequest) -> dict[str, object]:
    """Return what only recipes of templates have: whose skin tone, where not the template's, and where the faces are."""
    picture = request.style.picture
    places = (
        {}
        if picture is None
        else {str(each): list(picture.places[each]) for each in request.people if each in picture.places}
    )
    return {**({"skin": "person"} if request.keeps_skin else {}), **({"places": places} if places else {})}


def skin_of_recipe(recipe: Mapping[str, Any]) -> Skin:
    """Return whose skin tone a recipe's faces have; without an entry the template's, as in version 0.1.0."""
    return "person" if recipe.get("skin") == "person" else "template"


def places_of_recipe(recipe: Mapping[str, Any]) -> dict[int, tuple[float, float]]:
    """Return where the faces of a recipe are in its template, in pixels; empty in recipes of version 0.1.0."""
    return {int(number): (float(x), float(y)) for number, (x, y) in dict(recipe.get("places", {})).items()}


def _total_score(scores: Mapping[str, float], likeness: Mapping[int, Likeness], wanted: int, limit: float) -> float:
    """Return the score 0..1 by which portraits are ranked: likeness counts most; a face that is not found counts as unlike.

    Eyes count as they are judged in photos, nothing where they are shut; what of the old room sticks to a cut-out counts
    against it.
    """
    alike = [max(0.0, 1 - each.distance / (2 * limit)) for each in likeness.values()]
    mean = sum(alike) / wanted if wanted else 0.0
    eyes = min(1.0, max(0.0, (scores["eyes"] - 0.12) / 0.16))
    total = 0.75 * mean + 0.1 * min(1.0, scores["sharpness"] / 0.45) + 0.15 * eyes - 0.2 * scores.get("residue", 0.0)
    return float(max(total, 0.0))
