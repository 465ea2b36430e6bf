"""What a style is tried out with before it is published: a look at its picture, and three people drawn in it."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import build, image_io, model_requirements, sample_people
from pipelines.deliver import Deliver
from pipelines.engines import Engines, names
from pipelines.model_store.store import Models
from pipelines.refine import steps_of
from pipelines.settings import Settings
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import size_of
from portrait.generation.options import Technique
from portrait.ports import Progress
from portrait.types import Identity, Portrait, PortraitRequest, Style
from tasks.ledger.rows import DraftNews, DraftRow
from tasks.styles.service import known, words
from templates import lint
from templates.catalog import Entry
from templates.hashes import looked_at
from templates.lint import Finding


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One drawing of a test; without a portrait where `fault` says why there is none."""

    number: int
    sitter: str
    distance: float | None = None
    """Of the drawn face to the person."""
    fault: str = ""
    portrait: Portrait | None = None

    def told(self) -> dict[str, Any]:
        """As a draft keeps it."""
        return {"number": self.number, "sitter": self.sitter, "distance": self.distance, "fault": self.fault}


@dataclass(frozen=True, slots=True)
class Trials:
    """Trying styles out on this machine."""

    settings: Settings
    engines: Engines

    def look(self, entry: Entry) -> list[Finding]:
        """Everything that is wrong: words as this machine is equipped, and the faces of the picture."""
        found = words(entry, self.installed())
        place = None if any(each.code == "picture_missing" for each in found) else entry.picture()
        if place is None:
            return found
        try:
            image = image_io.read(place).image
        except UserError as error:
            return [*found, Finding("picture_unreadable", "error", "picture", error.message)]
        faces = self.engines.finder().faces(image, embedded=0)
        return found + lint.picture(entry.style, lint.Seen(size_of(image), tuple(faces)))

    def checked(self, entry: Entry) -> Mapping[str, Any]:
        """The same as a draft keeps it: with what the look depends on."""
        return {"of": looked_at(entry), "findings": [asdict(each) for each in self.look(entry)]}

    def draw(self, style: Style, folder: Path, progress: Progress) -> list[Sample]:
        """Three people in a style, into 1.jpg …; where a photo is absent or somebody cannot be drawn, it is said.

        Raises `OperatorError` where this machine cannot draw styles of that kind; what is missing is said.
        """
        made = style.kind == "text" or style.engines[:1] == ("diffusion",)
        technique = self._technique(style) if made else None
        folder.mkdir(parents=True, exist_ok=True)
        people, absent = self._people(progress)
        samples = []
        for number, sitter in enumerate(sample_people.SITTERS, 1):
            sample = Sample(number, sitter.name, None, absent.get(sitter.name, ""))
            if not sample.fault:
                request = PortraitRequest(_cast(style, people, sitter.name), style, 0, 1, technique=technique)
                sample = self._drawn(sample, request, folder, progress)
            samples.append(sample)
        return samples

    def news(
        self, draft: DraftRow, entry: Entry, samples: Sequence[Sample] | None = None, at: tuple[str, float] = ("", 0.0)
    ) -> DraftNews:
        """What is written down of a draft: a look, and what a test drew, by which job and when."""
        told = None
        if samples is not None:
            drawn = [each.told() for each in samples]
            told = {"job": at[0], "edition": draft.edition, "at": at[1], "samples": drawn}
        return DraftNews(draft.id, draft.edition, self.checked(entry), told)

    def installed(self) -> lint.Installed:
        """What this machine has for styles."""
        models = {state.model.name: "" for state in Models(self.settings.models).list() if state.state == "here"}
        bases = {
            name: model_requirements.family_of(self.settings, name)
            for name, lacks in build.bases(self.settings).items()
            if not lacks
        }
        return replace(known(), loras=models, bases=bases, engines=frozenset(names("painters")))

    def _people(self, progress: Progress) -> tuple[dict[str, Identity], dict[str, str]]:
        """Who can be drawn, and why others cannot, by name."""
        people: dict[str, Identity] = {}
        absent: dict[str, str] = {}
        prepare = build.prepare(self.settings, self.engines)
        with tempfile.TemporaryDirectory(prefix="sitters.") as desk:
            for sitter in sample_people.SITTERS:
                try:
                    people[sitter.name] = sample_people.identity(sitter, prepare, Path(desk), progress)
                except UserError as error:
                    absent[sitter.name] = error.message
        return people, absent

    def _drawn(self, sample: Sample, request: PortraitRequest, folder: Path, progress: Progress) -> Sample:
        """The best portrait of a request as the sample's file."""
        steps = steps_of(request)
        flow = build.render(self.engines, [request.way], steps, self.settings.draw)
        try:
            portrait = flow(request, progress)[0]
        except UserError as error:
            return replace(sample, fault=error.message)
        Deliver("jpg")(portrait, folder / str(sample.number))
        far = [each.distance for each in portrait.likeness.values()]
        return replace(sample, distance=round(float(np.mean(far)), 4) if far else None, portrait=portrait)

    def _technique(self, style: Style) -> Technique:
        """The first base here with a way of telling it who from photos alone; raises `OperatorError` (`missing_model`)."""
        families = style.scene.families if style.scene else ()
        lacks: list[Sequence[str]] = []
        for base, missing in build.bases(self.settings).items():
            family = model_requirements.family_of(self.settings, base)
            if families and family and family not in families:
                continue
            for way in model_requirements.MODELS:
                if way != "lora":
                    lines = [*missing, *model_requirements.missing(way, family, Models(self.settings.models))]
                    if not lines:
                        return Technique(base=base, identities=(way,))
                    lacks.append(lines)
        told = " ".join(min(lacks, key=len)) if lacks else f"No base of {', '.join(families)} is known."
        raise OperatorError("missing_model", f"Styles of words cannot be tried out here yet. {told}")


def _cast(style: Style, people: Mapping[str, Identity], first: str) -> dict[int, Identity]:
    """Who is which face: the first is who the sample is of, the others follow."""
    order = list(people)
    at = order.index(first)
    faces = len(style.picture.faces) if style.picture else 1
    return {face: people[order[(at + face - 1) % len(order)]] for face in range(1, faces + 1)}
