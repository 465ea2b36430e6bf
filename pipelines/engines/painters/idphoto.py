"""ID-photo painter: frames a person's photos by an authority's rule; nothing is generated."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from pipelines import refine
from pipelines.engines import Engines, matte_facts
from pipelines.engines.painters import numbers_drawn
from pipelines.idphotos.idphoto import METHOD, IdPhoto, IdPhotoOptions, make_each, make_report
from pipelines.idphotos.presets import Presets, apply_spec, load_presets
from pipelines.idphotos.source_photo import SourcePhoto
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
    matter: Callable[[Mapping[str, object] | None], Matter]
    """Given the facts of a recipe by which a portrait is drawn again, or None."""
    presets: Presets

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """Return the photos that break the fewest rules, framed; the results of the rules stand in the facts.

        Raises `UserError`: `bad_size`, `bad_refiner` for what an ID photo cannot have; `unknown_preset`, `bad_background`,
        `bad_file_size` for a spec that does not hold; `no_face`, `head_cut`, `head_lost`, `no_shoulders`, `frame_outside`
        where no photo serves.
        """
        return list(self.draw_each(request, progress))

    def draw_each(self, request: PortraitRequest, progress: Progress) -> Iterator[Candidate]:
        """The candidates of `paint` one by one; see `portrait.ports.StreamingPainter`."""
        if request.size is not None:
            raise UserError("bad_size", "An ID photo has the size of its rule. Leave the size out.")
        if refine.steps_of(request):
            raise UserError(
                "bad_refiner", "Nothing is done to the face of an ID photo. Leave refining and enlarging out."
            )
        options, matter = self._options(request), self.matter(request.drawn)
        references = request.people[1].references[:MAX_PHOTOS]
        names: list[str] = []
        photos: list[SourcePhoto] = []
        for number, reference in enumerate(references):
            progress(number, len(references), "Drawing", reference.image)
            with suppress(UserError):  # no face on this one; another of the photos may do
                photos.append(SourcePhoto(reference.image, self.finder, matter))
                names.append(reference.name)
        made = islice(make_each(photos, options, self.presets, request.count), request.count)
        for number, (photo, at) in enumerate(made):
            if number not in numbers_drawn(request, request.count):
                continue
            facts = self._facts(photo, options, matter)
            yield Candidate(photo.image, {1: names[at]}, {"photo": float(number)}, None, facts)

    def _options(self, request: PortraitRequest) -> IdPhotoOptions:
        """Return what the style and the request ask for."""
        spec = request.idphoto
        background = spec.background or ("" if spec.preset else request.style.background)
        keeps_background = background == KEEP_BACKGROUND
        options = IdPhotoOptions(
            apply_spec(self.presets.find(spec.preset or request.style.preset), spec),
            "" if keeps_background else background,
            keeps_background,
            METHOD if request.drawn is None else int(str(request.drawn.get("method", 1))),
        )
        self.presets.background_color(options.preset, options.background)
        return options

    def _facts(self, photo: IdPhoto, options: IdPhotoOptions, matter: Matter) -> dict[str, object]:
        """Return the results of the rules, and what they ask of the file, as recipes hold them."""
        report = make_report(photo, self.presets, options)
        kilobytes = photo.preset.file_size
        later = ("title", "source", "checked", "millimetres") if options.method > 1 else ()
        return {
            "preset": photo.preset.id,
            "background": report["background"],
            "file": {"dpi": photo.preset.dpi, "kilobytes": [kilobytes.low, kilobytes.high]},
            "rules": [*report["rules"], *report["photo"]],
            "notes": report["notes"],
            **{name: report[name] for name in later},
            **({"method": options.method} if options.method > 1 else {}),
            **matte_facts(matter),
        }


def make(settings: Settings, models: ModelStore, engines: Engines) -> IdPhotoPainter:
    """Read the presets; the face finder and the matter are those of the settings."""
    return IdPhotoPainter(engines.finder(), engines.matter, load_presets())


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Nothing is missing: the face finder and the matter have a status of their own."""
    return []
