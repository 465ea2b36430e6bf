"""ID-photo painter: frames a person's photos by an authority's rule; nothing is generated."""

from contextlib import suppress
from dataclasses import dataclass

from pipelines import refine
from pipelines.engines import Engines
from pipelines.idphotos.idphoto import IdPhoto, IdPhotoOptions, SourcePhoto, make_id_photo, make_report, no_face_error
from pipelines.idphotos.presets import DPI, Presets, load_presets
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import UserError
from portrait.ports import FaceFinder, Matter, Progress
from portrait.types import Candidate, PortraitRequest

KEEP_BACKGROUND = "kept"
"""The `background` of a style that keeps the photo's own."""
MAX_PHOTOS = 4
"""Reference photos that are tried, the best ones."""


@dataclass(frozen=True, slots=True)
class IdPhotoPainter:
    """Frames a person's reference photos by a rule, for styles of the kind `idphoto`."""

    finder: FaceFinder
    matter: Matter
    presets: Presets

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """Return the photos that break the fewest rules, framed; the results of the rules stand in the facts.

        Raises `UserError`: `bad_size`, `bad_refiner` for what an ID photo cannot have; `unknown_preset`, `no_face`.
        """
        style = request.style
        if request.size is not None:
            raise UserError("bad_size", "An ID photo has the size of its rule. Leave the size out.")
        if refine.steps_of(request):
            raise UserError(
                "bad_refiner", "Nothing is done to the face of an ID photo. Leave refining and enlarging out."
            )
        keeps_background = style.background == KEEP_BACKGROUND
        options = IdPhotoOptions(
            self.presets.find(style.preset), "" if keeps_background else style.background, keeps_background
        )
        self.presets.background_color(options.preset, options.background)
        references = request.people[1].references[:MAX_PHOTOS]
        made: list[tuple[IdPhoto, str]] = []
        for number, reference in enumerate(references):
            progress(number, len(references), "Drawing", reference.image)
            with suppress(UserError):  # no face on this one; another of the photos may do
                source = SourcePhoto(reference.image, self.finder, self.matter)
                made.append((make_id_photo(source, options, self.presets), reference.name))
        if not made:
            raise no_face_error()
        # Python sorts stably: of equals the better photo, which comes first, stays first.
        made.sort(key=lambda each: sum(not rule.ok for rule in (*each[0].rules, *each[0].photo_rules)))
        return [
            Candidate(photo.image, {1: name}, {"photo": float(number)}, None, self._facts(photo, options))
            for number, (photo, name) in enumerate(made[: request.count])
        ]

    def _facts(self, photo: IdPhoto, options: IdPhotoOptions) -> dict[str, object]:
        """Return the results of the rules, and what they ask of the file, as recipes hold them."""
        report = make_report(photo, self.presets, options)
        kilobytes = photo.preset.file_size
        return {
            "preset": photo.preset.id,
            "background": report["background"],
            "file": {"dpi": DPI, "kilobytes": [kilobytes.low, kilobytes.high]},
            "rules": [*report["rules"], *report["photo"]],
            "notes": report["notes"],
        }


def make(settings: Settings, models: ModelStore, engines: Engines) -> IdPhotoPainter:
    """Read the presets; the face finder and the matter are those of the settings."""
    return IdPhotoPainter(engines.finder(), engines.matter(), load_presets())


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Nothing is missing: the face finder and the matter have a status of their own."""
    return []
