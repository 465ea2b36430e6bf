"""Both guards of what is drawn: the one of all pictures, and the safety checker of what diffusion models draw."""

from dataclasses import dataclass

from pipelines.guards.pictures import NOT_DELIVERED, PictureGuard
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.ports import Guard
from portrait.types import PortraitRequest


@dataclass(frozen=True, slots=True)
class DrawingGuards:
    """Decides what may be drawn from, and what of it is delivered; a guard that is None lets everything pass.

    All of it raises `OperatorError` (`guard_missing`) where pictures cannot be judged and none passes unjudged.
    """

    pictures: PictureGuard | None = None
    """Sees the pictures that a request brings, what a diffusion model draws, and all that is delivered."""
    checker: Guard | None = None
    """Sees what a diffusion model draws, and the reference photos that it draws from."""

    def check_request(self, request: PortraitRequest) -> None:
        """Raise `UserError` (`blocked`) for a picture of the request, or a photo, that may not be used.

        The guard of pictures saw the photos when they were prepared.
        """
        if self.pictures is not None:
            self.pictures.require()
            for picture in pictures_of(request):
                self.pictures.check(picture)
        if self.checker is None or not request.is_generated:
            return
        for person in request.people.values():
            if any(not self.checker.allows(reference.image) for reference in person.references):
                raise UserError("blocked", "A photo of this person may not be used here. Take it out, and train again.")

    def keeps(self, image: Image, request: PortraitRequest) -> bool:
        """Whether a candidate is kept: what diffusion models draw must pass both; the rest is judged when it is delivered."""
        if not request.is_generated:
            return True
        return (self.checker is None or self.checker.allows(image)) and self.delivers(image)

    def delivers(self, image: Image) -> bool:
        """Whether a finished portrait may be delivered."""
        return self.pictures is None or self.pictures.allows(image)

    def check_delivered(self, image: Image) -> None:
        """Raise `UserError` (`blocked`) for a finished portrait that may not be delivered."""
        if not self.delivers(image):
            raise UserError("blocked", NOT_DELIVERED)


def pictures_of(request: PortraitRequest) -> list[Image]:
    """Return the pictures that a request brings beside photos of its people: of the style, the edit and the options."""
    style, edit, given = request.style, request.edit, request.options
    found = [style.picture.image if style.picture else None, style.backdrop_picture]
    found += [style.prompt_spec.look_picture if style.prompt_spec else None]
    if edit is not None:
        found += [edit.picture, *edit.pictures]
    if given is not None:
        found += [each.picture for each in given.control_inputs] + [given.look.picture if given.look else None]
    return [each for each in found if each is not None]
