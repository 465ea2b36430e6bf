"""The flows of jobs: from the parameters of a claimed job and its owner's files to results in a staging folder."""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pipelines import build, image_io, render
from pipelines.deliver import Deliver
from pipelines.engines import Engines, status
from pipelines.folders import identities, training_sets
from pipelines.model_store.store import ModelStore
from pipelines.prepare import Overrides
from pipelines.refine import steps_of
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.errors import Cancelled, OperatorError, UserError
from portrait.generation import edits
from portrait.generation.edits import Edit
from portrait.ports import Progress
from portrait.training import TrainingJob
from portrait.types import Identity, PortraitRequest, Refinement, Style
from tasks.files import Files, publish
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import IdentityRow, TrainingSetRow
from tasks.queue import options, results
from tasks.styles.available import AvailableStyles
from tasks.styles.samples import StyleTester
from tasks.styles.service import StyleService
from templates import lint
from templates.catalog import Entry
from templates.style import to_style

TRAINING_OVERRIDES = ("steps", "rank", "rate", "batch", "seed", "text", "token", "prior")
"""What a job may wish otherwise than the settings; see `portrait.training.Lesson`."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a worker can do here, and what the rest still lacks."""

    words: frozenset[str]
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobContext:
    """A claimed job with what it takes to do it."""

    job: Job
    ledger: Ledger
    files: Files
    staging: Path
    """A folder of its own, thrown away unless it is published."""
    progress: Progress
    now: Callable[[], float]
    names: dict[str, str] = field(default_factory=dict)
    """What the person calls a file, by its id: filled by the flow, so that messages speak the person's words."""


@dataclass(frozen=True, slots=True)
class FlowResult:
    """What came of it, and how the staged files get into place."""

    outcome: Outcome
    publish: Callable[[], None]


class Flows(Protocol):
    """What a worker process can do."""

    def abilities(self) -> Abilities:
        """What it can do here."""
        ...

    def __call__(self, context: JobContext) -> FlowResult:
        """Do a job; raises what its flow raises."""
        ...

    def release_idle(self) -> None:
        """Let go of models that were not used for long."""
        ...

    def close(self) -> None:
        """Let the engines go."""
        ...


class PortraitFlows:
    """The flows of this installation; engines stay loaded from job to job."""

    def __init__(self, settings: Settings, engines: Engines) -> None:
        self._settings = settings
        self._engines = engines

    def abilities(self) -> Abilities:
        """By kind of work: the engines it takes, each asked whether it is ready."""
        names = self._settings.engines
        seeing = [("faces", names.faces)]
        takes = {"look": seeing, "prepare": [*seeing, ("restorers", names.restorers), ("mattes", names.mattes)]}
        for kind in ("studio", "template"):
            takes[f"draw:{kind}"] = [*seeing, ("painters", build.PAINTERS[kind]), ("mattes", names.mattes)]
        takes["draw:idphoto"] = [*seeing, ("mattes", names.mattes)]
        models = ModelStore(self._settings.models)
        lacks = {
            word: [line for folder, name in needed for line in status(folder, name, self._settings, models)]
            for word, needed in takes.items()
        }
        # The engines of diffusion are not asked themselves: that would load their libraries into workers that never draw.
        bases = build.missing_by_base(self._settings)
        lacks |= {f"train:{base}": lines for base, lines in bases.items()}
        lacks["draw:text"] = [*lacks["look"], *min(bases.values(), key=len), *build.missing_guard(self._settings)]
        lacks["draw:inpaint"] = list(dict.fromkeys([*lacks["draw:template"], *lacks["draw:text"]]))
        lacks |= build.missing_by_ability(self._settings)
        return Abilities(
            frozenset(word for word, lines in lacks.items() if not lines),
            {word: lines for word, lines in lacks.items() if lines},
        )

    def __call__(self, context: JobContext) -> FlowResult:
        """Prepare or generate, as the job says."""
        if context.job.kind == "prepare":
            return self._prepare(context)
        if context.job.kind == "generate":
            return self._generate(context)
        if context.job.kind == "look":
            return self._detect_faces(context)
        if context.job.kind == "train":
            return self._train(context)
        if context.job.kind in ("check", "test"):
            return self._check_draft(context)
        raise OperatorError("unknown_kind", f"This worker knows no jobs of the kind {context.job.kind!r}. Update it.")

    def release_idle(self) -> None:
        """Bases of diffusion, which take most of a GPU; see `draw.idle_minutes`."""
        self._engines.unload_idle()

    def close(self) -> None:
        """Close engines that hold native handles."""
        self._engines.__exit__(None, None, None)

    def _prepare(self, context: JobContext) -> FlowResult:
        """A person's photos to a training set and an identity."""
        job, person = context.job, str(context.job.params["person"])
        photos = context.ledger.people.selfies(job.owner, person)
        context.names.update({photo.id: photo.name for photo in photos})
        paths = [context.files.selfie(job.owner, person, photo.id) for photo in photos]
        wishes = Overrides(
            [at for at, photo in enumerate(photos) if photo.wish == "include"],
            [at for at, photo in enumerate(photos) if photo.wish == "exclude"],
        )
        training = build.prepare(self._settings, self._engines)(paths, wishes, context.progress)
        training_sets.write(training, context.staging / "set")
        told = training_sets.photos_to_dicts(training.photos)
        now = context.now()
        made = TrainingSetRow(new_id("set", now), job.owner, person, job.id, told, now)
        identity = IdentityRow(new_id("identity", now), job.owner, person, made.id, now)
        outcome = Outcome(
            {"person": person, "training_set": made.id, "identity": identity.id},
            training_set=made,
            identity=identity,
            verdicts=results.verdicts_by_selfie(told),
        )
        place = context.files.training_set(job.owner, person, made.id)
        return FlowResult(outcome, lambda: publish(context.staging / "set", place))

    def _train(self, context: JobContext) -> FlowResult:
        """A training set to an identity with a LoRA; checkpoints outlive the worker, and go when the job is done with."""
        job, wants = context.job, context.job.params
        person, set_id = str(wants["person"]), str(wants["training_set"])
        if context.ledger.people.training_set(job.owner, set_id).person != person:
            raise UserError("not_found", "The training set is not of that person.")
        training = training_sets.read(context.files.training_set(job.owner, person, set_id))
        start = self._identity(context, str(wants["start"])) if wants.get("start") else None
        desk = context.files.work_dir(job.owner, person, job.id)
        desk.mkdir(parents=True, exist_ok=True)
        wishes = {name: wants[name] for name in TRAINING_OVERRIDES if wants.get(name) is not None}
        lesson = TrainingJob(training, str(wants["base"]), desk, start, wishes)
        try:
            made = build.train(self._engines)(lesson, context.staging / "identity", context.progress)
        except Cancelled as error:
            if error.code == "cancelled":  # not when another worker goes on
                shutil.rmtree(desk, ignore_errors=True)
            raise
        now = context.now()
        row = IdentityRow(new_id("identity", now), job.owner, person, set_id, now, str(wants["base"]))
        told = {name: made.description[name] for name in ("steps", "chosen", "notes")}
        outcome = Outcome({"person": person, "identity": row.id, **told}, identity=row)

        def settle() -> None:
            publish(context.staging / "identity", context.files.identity(job.owner, person, row.id))
            shutil.rmtree(desk, ignore_errors=True)

        return FlowResult(outcome, settle)

    def _generate(self, context: JobContext) -> FlowResult:
        """Identities and a style to portraits."""
        job, wants = context.job, context.job.params
        people = {int(place): self._identity(context, id) for place, id in dict(wants["identities"]).items()}
        style = self._style(context)
        size = wants.get("size")
        request = PortraitRequest(
            people,
            style,
            int(wants.get("seed", 0)),
            int(wants.get("count", 1)),
            Size(*size) if size else None,
            options=options.generation_options(wants, lambda id: context.files.template(job.owner, id)),
        )
        recipe = context.ledger.portraits.get(job.owner, str(wants["remake"])).recipe if wants.get("remake") else None
        if recipe is not None:  # what was done to it then is done again
            steps = tuple(Refinement(**step) for step in recipe.get("refiners", ()))
            request = replace(request, style=replace(style, refiners=()), refiners=steps)
        if wants.get("edit"):
            request = replace(request, size=None, style=replace(style, refiners=()), edit=load_edit(context))
        flow = build.render(self._engines, [request.mode], steps_of(request), self._settings.draw)
        if recipe is None:
            drawn = flow(request, context.progress)
        else:
            drawn = [flow.reproduce(request, int(recipe["candidate"]), context.progress, recipe.get("drawn", {}))]
        deliver = Deliver(str(wants.get("format", "jpg")))
        now = context.now()  # one time for all, or the later ones would sort as newer
        rows = [
            results.portrait_row(
                job, number, portrait, deliver(portrait, context.staging / "portraits" / f"{number:02}"), now
            )
            for number, portrait in enumerate(drawn, 1)
        ]
        outcome = Outcome({"portraits": [row.id for row in rows]}, portraits=rows)
        place = context.files.portraits(job.owner, job.id)
        return FlowResult(outcome, lambda: publish(context.staging / "portraits", place))

    def _identity(self, context: JobContext, id: str) -> Identity:
        row = context.ledger.people.identity(context.job.owner, id)
        training = training_sets.read(context.files.training_set(context.job.owner, row.person, row.training_set))
        drawn = Identity(row.id, training.references, training.mean_embeddings)
        if not row.base:
            return drawn
        learned = identities.read(context.files.identity(context.job.owner, row.person, row.id)).identity
        return replace(
            learned, id=row.id, references=drawn.references, mean_embeddings=drawn.mean_embeddings, base=row.base
        )

    def _style(self, context: JobContext) -> Style:
        """The style that is wanted, or the owner's own picture as one."""
        wants = context.job.params
        if wants.get("template"):
            return self._uploaded_style(context, str(wants["template"]))
        version = wants.get("version")
        prompt_traits = AvailableStyles(context.ledger, context.files)
        return self._load_style(prompt_traits.find(str(wants["style"]), version and int(version)), wants.get("traits"))

    def _load_style(self, entry: Entry, traits: Mapping[str, str] | None = None) -> Style:
        """A style with its picture hung; raises `OperatorError` (`bad_style`) for another picture than was published."""
        style, picture = to_style(entry.style, traits), entry.picture()
        if picture is None:
            return style
        for wrong in lint.lint_picture_file(picture, entry.style):
            raise OperatorError("bad_style", f"The style {style.id} cannot be drawn. {wrong.tip}")
        return render.attach_template(style, picture, self._engines.finder())

    def _uploaded_style(self, context: JobContext, id: str) -> Style:
        template = context.ledger.templates.get(context.job.owner, id)
        context.names[id] = template.name
        style = Style(f"picture-{id}", 1, "template", template.name)
        return render.attach_template(style, context.files.template(context.job.owner, id), self._engines.finder())

    def _check_draft(self, context: JobContext) -> FlowResult:
        """Look at a draft's picture; for a test, draw three people in it too."""
        wants, service = context.job.params, StyleService(context.ledger, context.files, context.now)
        draft = service.draft(str(wants["style"]), str(wants["edition"]))
        entry, tester = service.entry(draft), StyleTester(self._settings, self._engines)
        if context.job.kind == "check":
            return FlowResult(Outcome({"style": draft.id}, draft=tester.draft_findings(draft, entry)), lambda: None)
        staged = context.staging / "test"
        samples = tester.render_samples(self._load_style(entry), staged, context.progress)
        news = tester.draft_findings(draft, entry, samples, (context.job.id, context.now()))
        outcome = Outcome({"style": draft.id, "samples": len(samples)}, draft=news)
        return FlowResult(outcome, lambda: service.publish_test(draft, staged))

    def _detect_faces(self, context: JobContext) -> FlowResult:
        """Find and number the faces of a picture that people shall be put into."""
        id = str(context.job.params["template"])
        picture = self._uploaded_style(context, id).picture
        if picture is None:
            raise OperatorError("no_picture", "The template has no picture.")
        height, width = picture.image.shape[:2]
        boxes = [results.to_shares(face.box, width, height) for face in picture.faces]
        return FlowResult(Outcome({"template": id, "faces": len(boxes)}, faces=(id, boxes)), lambda: None)


def load_edit(context: JobContext) -> Edit:
    """What shall become of the portrait that a job names; raises `UserError` (`not_found`) when it was deleted."""
    wants = dict(context.job.params["edit"])
    row = context.ledger.portraits.get(context.job.owner, str(wants["portrait"]))
    file = context.files.portrait(context.job.owner, row.job, row.file)
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise UserError("not_found", "The portrait that was to be edited is not there any more.") from error
    hash = hashlib.sha256(content).hexdigest()
    return edits.from_dict({**wants, "picture": hash}, image_io.decode(content, file.name).image)


def open_flows(settings: Settings) -> Flows:
    """The flows that a worker runs unless it is told others."""
    return PortraitFlows(settings, build.open_engines(settings))
