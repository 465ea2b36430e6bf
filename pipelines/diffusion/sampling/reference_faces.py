"""ReferenceEmbedder: the faces of a person's reference photos with embeddings of the space that an adapter reads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import dist

from portrait.errors import UserError
from portrait.ports import FaceFinder
from portrait.types import Box, Face, Identity, Reference

NO_REFERENCE = "None of this person's photos shows their face well enough to draw from."


@dataclass(frozen=True, slots=True)
class ReferenceEmbedder:
    """Embeds the faces of reference photos in one space; runs its finder only on photos without an embedding there."""

    space: str
    """The embedding space: `buffalo_l`, `antelopev2` …"""
    finder: Callable[[], FaceFinder]
    """Loads the finder of that space; called only when a photo needs it."""

    def best_face(self, person: Identity) -> Face:
        """The face of the best reference; raises `UserError` (`no_reference`)."""
        return self.embed_references(person, 1)[0].face

    def embed_references(self, person: Identity, most: int) -> list[Reference]:
        """The best `most` references in which a face is found, each with its embedding; raises `UserError` (`no_reference`)."""
        embedded: list[Reference] = []
        for reference in person.references:
            face = reference.face if self.space in reference.face.embeddings else self._embed(reference)
            if face is not None:
                embedded.append(replace(reference, face=face))
            if len(embedded) == most:
                break
        if not embedded:
            raise UserError("no_reference", NO_REFERENCE)
        return embedded

    def _embed(self, reference: Reference) -> Face | None:
        """The same face with an embedding; None where this finder sees no face there, whoever else is in the photo."""
        finder, known = self.finder(), reference.face.box
        same = [face for face in finder.faces(reference.image, embedded=0) if is_same_face(face.box, known)]
        if not same:
            return None
        nearest = min(same, key=lambda face: dist(face.box.centre, known.centre))
        face = finder.embed(reference.image, nearest)
        return face if self.space in face.embeddings else None


def is_same_face(one: Box, other: Box) -> bool:
    """Whether two boxes, maybe of two finders, are of one face: each holds the centre of the other."""
    return _holds(one, other.centre) and _holds(other, one.centre)


def _holds(box: Box, point: tuple[float, float]) -> bool:
    return box.left <= point[0] <= box.right and box.top <= point[1] <= box.bottom
