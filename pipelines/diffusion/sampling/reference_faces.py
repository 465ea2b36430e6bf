"""ReferenceEmbedder: the faces of a person's reference photos with embeddings of the space that an adapter reads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import hypot

from portrait.errors import UserError
from portrait.ports import FaceFinder
from portrait.types import Face, Identity, Reference

MAX_FACES = 4
"""Faces of a photo that are embedded, to find the person's own among them."""


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
            raise UserError("no_reference", "None of this person's photos shows their face well enough to draw from.")
        return embedded

    def _embed(self, reference: Reference) -> Face | None:
        """The same face with an embedding: the one whose box is nearest to where it was found before; None without any."""
        found = self.finder().faces(reference.image, embedded=MAX_FACES)
        faces = [face for face in found if self.space in face.embeddings]
        x, y = reference.face.box.centre
        return min(faces, key=lambda face: hypot(face.box.centre[0] - x, face.box.centre[1] - y), default=None)
