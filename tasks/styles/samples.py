"""Style tester: lints a style with its picture, and renders samples of three people before it is published."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import build, image_io, model_requirements
from pipelines.deliver import Deliver
from pipelines.engines import Engines, engine_names
from pipelines.guards.pictures import BLOCKED
from pipelines.marks.marks import open_marks
from pipelines.model_store.store import ModelStore
from pipelines.refine import steps_of
from pipelines.settings import Settings
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import image_size
from portrait.faces.likeness import likeness_step
from portrait.generation.options import GenerationOptions
from portrait.ports import Progress
from portrait.types import Identity, Portrait, PortraitRequest, Style
from tasks.ledger.rows import DraftFindings, DraftRow
from tasks.styles import sample_people
from tasks.styles.service import installed, lint_entry
from templates import lint
from templates.catalog import Entry
from templates.hashes import check_hash
from templates.lint import Finding


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sample render of a test; without a portrait where `fault` says why there is none."""

    number: int
    person: str
    """Name of the sample person, or the id of a person of the operator's own."""
    distance: float | None = None
    """Likeness of the drawn face to the person: a distance, smaller is more alike."""
    step: int | None = None
    """The distance in words: see `portrait.faces.likeness.likeness_step`."""
    fault: str = ""
    portrait: Portrait | None = None

    def to_dict(self) -> dict[str, Any]:
        """The sample as it is stored with a draft."""
        measured = {"distance": self.distance, "step": self.step}
        is_own = self.person not in {each.name for each in sample_people.SAMPLE_PEOPLE}
        who = {"sitter": "", "person": self.person} if is_own else {"sitter": self.person}
        return {"number": self.number, **who, **measured, "fault": self.fault}


@dataclass(frozen=True, slots=True)
class StyleTester:
    """Lints styles and renders samples of them with the engines of this machine."""

    settings: Settings
    engines: Engines

    def findings(self, entry: Entry) -> list[Finding]:
        """All findings of lint: of the fields, given what is installed here, and of the picture and the faces in it.

        Raises `OperatorError` (`guard_missing`) where no picture passes because none can be judged.
        """
        found = lint_entry(entry, self.installed())
        place = None if any(each.code == "picture_missing" for each in found) else entry.picture()
        if place is None:
            return found
        try:
            image = image_io.read(place).image
        except UserError as error:
            return [*found, Finding("picture_unreadable", "error", "picture", error.message)]
        if not self.engines.picture_guard().allows(image):
            return [*found, Finding("picture_blocked", "error", "picture", BLOCKED)]
        faces = self.engines.finder().faces(image, embedded=0)
        return found + lint.lint_picture(entry.style, lint.DetectedFaces(image_size(image), tuple(faces)))

    def check(self, entry: Entry) -> Mapping[str, Any]:
        """The findings as they are stored with a draft: `of` is the hash of what they depend on."""
        return {"of": check_hash(entry), "findings": [asdict(each) for each in self.findings(entry)]}

    def render_samples(
        self,
        style: Style,
        folder: Path,
        progress: Progress,
        known: tuple[dict[str, Identity], dict[str, str]] | None = None,
    ) -> list[Sample]:
        """Render three sample people in a style into 1.jpg … 3.jpg; `fault` says why one could not be rendered.

        `known` are the sample people, where `sample_people` made them before, or people of the operator's own by their ids.
        Raises `OperatorError` where this machine cannot draw styles of that kind; its message says what is missing.
        """
        diffusion = style.kind == "text" or style.engines[:1] == ("diffusion",)
        options = self._generation_options(style) if diffusion else None
        folder.mkdir(parents=True, exist_ok=True)
        people, absent = known or self.sample_people(progress)
        samples = []
        in_order = [each.name for each in sample_people.SAMPLE_PEOPLE if {each.name} & {*people, *absent}]
        for number, name in enumerate(dict.fromkeys([*in_order, *people]), 1):
            sample = Sample(number, name, fault=absent.get(name, ""))
            if not sample.fault:
                request = PortraitRequest(_assign_faces(style, people, name), style, 0, 1, options=options)
                sample = self._render_sample(sample, request, folder, progress)
            samples.append(sample)
        return samples

    def draft_findings(
        self, draft: DraftRow, entry: Entry, samples: Sequence[Sample] | None = None, at: tuple[str, float] = ("", 0.0)
    ) -> DraftFindings:
        """What is stored with a draft: its check, and the samples of a test with the job that rendered them and the time."""
        tested = None
        if samples is not None:
            rendered = [each.to_dict() for each in samples]
            tested = {"job": at[0], "edition": draft.edition, "at": at[1], "samples": rendered}
        return DraftFindings(draft.id, draft.edition, self.check(entry), tested)

    def installed(self) -> lint.Installed:
        """What lint may count on here: LoRAs, bases and painters of this machine, beside what every machine has."""
        models = ModelStore(self.settings.models)
        loras = {each.name: each.family for each in models.of_kind("lora") if not models.missing(each.name)}
        bases = {
            name: model_requirements.family_of(self.settings, name)
            for name, lacks in build.missing_by_base(self.settings).items()
            if not lacks
        }
        readers = (name for name, family in bases.items() if model_requirements.family_abilities(family).sentences)
        engines = frozenset(engine_names("painters"))
        return replace(
            installed(self.settings), loras=loras, bases=bases, engines=engines, sentences=frozenset(readers)
        )

    def sample_people(self, progress: Progress) -> tuple[dict[str, Identity], dict[str, str]]:
        """Identities of the sample people by name; and by name why the others have none."""
        people: dict[str, Identity] = {}
        absent: dict[str, str] = {}
        # Detail for small faces takes longer than all the renders of a sample.
        quick = replace(self.settings, prepare=replace(self.settings.prepare, small_face=0))
        prepare = build.prepare(quick, self.engines)
        with tempfile.TemporaryDirectory(prefix="sitters.") as work_dir:
            for person in sample_people.SAMPLE_PEOPLE:
                try:
                    people[person.name] = sample_people.make_identity(person, prepare, Path(work_dir), progress)
                except UserError as error:
                    absent[person.name] = error.message
        return people, absent

    def _render_sample(self, sample: Sample, request: PortraitRequest, folder: Path, progress: Progress) -> Sample:
        """Render the best portrait of a request into the sample's file; the sample with its distance or fault."""
        steps = steps_of(request)
        flow = build.render(self.engines, [request.mode], steps, self.settings.draw)
        try:
            portrait = flow(request, progress)[0]
        except UserError as error:
            return replace(sample, fault=error.message)
        Deliver("jpg", open_marks(self.settings.marks))(portrait, folder / str(sample.number))
        measured = list(portrait.likeness.values())
        if not measured:
            return replace(sample, portrait=portrait)
        far = round(float(np.mean([each.distance for each in measured])), 4)
        return replace(sample, distance=far, step=likeness_step(measured[0].space, far), portrait=portrait)

    def _generation_options(self, style: Style) -> GenerationOptions:
        """The first base here with an adapter that needs photos alone; raises `OperatorError` (`missing_model`)."""
        families = style.prompt_spec.families if style.prompt_spec else ()
        lacks: list[Sequence[str]] = []
        for base, missing in build.missing_by_base(self.settings).items():
            family = model_requirements.family_of(self.settings, base)
            if families and family and family not in families:
                continue
            for adapter in model_requirements.IDENTITY_MODELS:
                known = model_requirements.supports_identity(adapter, family)
                if adapter != "lora" and known and (family or adapter != "reference"):
                    models = ModelStore(self.settings.models)
                    lines = [*missing, *model_requirements.missing_models(adapter, family, models)]
                    if not lines:
                        return GenerationOptions(base=base, identities=(adapter,))
                    lacks.append(lines)
        reason = " ".join(min(lacks, key=len)) if lacks else f"No base of {', '.join(families)} is known."
        raise OperatorError("missing_model", f"Styles of words cannot be tried out here yet. {reason}")


def _assign_faces(style: Style, people: Mapping[str, Identity], first: str) -> dict[int, Identity]:
    """Identities by number of the face: `first` on face 1, the others after it in their order."""
    order = list(people)
    at = order.index(first)
    faces = len(style.picture.faces) if style.picture else 1
    return {face: people[order[(at + face - 1) % len(order)]] for face in range(1, faces + 1)}
