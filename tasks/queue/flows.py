"""One job's work: the flow its kind asks for, on the owner's files, into a staging folder."""

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
from pipelines.model_store.store import Models
from pipelines.prepare import Wishes
from pipelines.refine import steps_of
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.errors import Cancelled, OperatorError, UserError
from portrait.generation import edits
from portrait.generation.edits import Edit
from portrait.ports import Progress
from portrait.training import Lesson
from portrait.types import Identity, PortraitRequest, Refinement, Style
from tasks.files import Files, publish
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Store
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import IdentityRow, SetRow
from tasks.queue import options, results
from tasks.styles.available import Offered
from tasks.styles.samples import Trials
from tasks.styles.service import Workshop
from templates import lint
from templates.catalog import Entry
from templates.style import style_of

LESSON_WISHES = ("steps", "rank", "rate", "batch", "seed", "text", "token", "prior")
"""What a job may wish otherwise than the settings; see `portrait.training.Lesson`."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a worker can do here, and what the rest still lacks."""

    words: frozenset[str]
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed job with what it takes to do it."""

    job: Job
    store: Store
    files: Files
    staging: Path
    """A folder of its own, thrown away unless it is published."""
    progress: Progress
    now: Callable[[], float]
    names: dict[str, str] = field(default_factory=dict)
    """What the person calls a file, by its id: filled by the flow, so that messages speak the person's words."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it, and how the staged files get into place."""

    outcome: Outcome
    publish: Callable[[], None]


class Flows(Protocol):
    """What a worker process can do."""

    def abilities(self) -> Abilities:
        """What it can do here."""
        ...

    def __call__(self, work: Work) -> Done:
        """Do a job; raises what its flow raises."""
        ...

    def rest(self) -> None:
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
        models = Models(self._settings.models)
        lacks = {
            word: [line for folder, name in needed for line in status(folder, name, self._settings, models)]
            for word, needed in takes.items()
        }
        # The engines of diffusion are not asked themselves: that would load their libraries into workers that never draw.
        bases = build.bases(self._settings)
        lacks |= {f"train:{base}": lines for base, lines in bases.items()}
        lacks["draw:text"] = [*lacks["look"], *min(bases.values(), key=len), *build.guarding(self._settings)]
        lacks["draw:inpaint"] = list(dict.fromkeys([*lacks["draw:template"], *lacks["draw:text"]]))
        lacks |= build.ways(self._settings)
        return Abilities(
            frozenset(word for word, lines in lacks.items() if not lines),
            {word: lines for word, lines in lacks.items() if lines},
        )

    def __call__(self, work: Work) -> Done:
        """Prepare or generate, as the job says."""
        if work.job.kind == "prepare":
            return self._prepare(work)
        if work.job.kind == "generate":
            return self._generate(work)
        if work.job.kind == "look":
            return self._look(work)
        if work.job.kind == "train":
            return self._train(work)
        if work.job.kind in ("check", "test"):
            return self._tried(work)
        raise OperatorError("unknown_kind", f"This worker knows no jobs of the kind {work.job.kind!r}. Update it.")

    def rest(self) -> None:
        """Bases of diffusion, which take most of a GPU; see `draw.idle_minutes`."""
        self._engines.rest()

    def close(self) -> None:
        """Close engines that hold native handles."""
        self._engines.__exit__(None, None, None)

    def _prepare(self, work: Work) -> Done:
        """A person's photos to a training set and an identity."""
        job, person = work.job, str(work.job.wants["person"])
        photos = work.store.people.selfies(job.owner, person)
        work.names.update({photo.id: photo.name for photo in photos})
        paths = [work.files.selfie(job.owner, person, photo.id) for photo in photos]
        wishes = Wishes(
            [at for at, photo in enumerate(photos) if photo.wish == "include"],
            [at for at, photo in enumerate(photos) if photo.wish == "exclude"],
        )
        training = build.prepare(self._settings, self._engines)(paths, wishes, work.progress)
        training_sets.write(training, work.staging / "set")
        told = training_sets.verdicts(training.photos)
        now = work.now()
        made = SetRow(new_id("set", now), job.owner, person, job.id, told, now)
        identity = IdentityRow(new_id("identity", now), job.owner, person, made.id, now)
        outcome = Outcome(
            {"person": person, "training_set": made.id, "identity": identity.id},
            training_set=made,
            identity=identity,
            verdicts=results.verdicts_by_selfie(told),
        )
        place = work.files.training_set(job.owner, person, made.id)
        return Done(outcome, lambda: publish(work.staging / "set", place))

    def _train(self, work: Work) -> Done:
        """A training set to an identity with a LoRA; checkpoints outlive the worker, and go when the job is done with."""
        job, wants = work.job, work.job.wants
        person, set_id = str(wants["person"]), str(wants["training_set"])
        if work.store.people.training_set(job.owner, set_id).person != person:
            raise UserError("not_found", "The training set is not of that person.")
        training = training_sets.read(work.files.training_set(job.owner, person, set_id))
        start = self._identity(work, str(wants["start"])) if wants.get("start") else None
        desk = work.files.desk(job.owner, person, job.id)
        desk.mkdir(parents=True, exist_ok=True)
        wishes = {name: wants[name] for name in LESSON_WISHES if wants.get(name) is not None}
        lesson = Lesson(training, str(wants["base"]), desk, start, wishes)
        try:
            made = build.train(self._engines)(lesson, work.staging / "identity", work.progress)
        except Cancelled as error:
            if error.code == "cancelled":  # not when another worker goes on
                shutil.rmtree(desk, ignore_errors=True)
            raise
        now = work.now()
        row = IdentityRow(new_id("identity", now), job.owner, person, set_id, now, str(wants["base"]))
        told = {name: made.description[name] for name in ("steps", "chosen", "notes")}
        outcome = Outcome({"person": person, "identity": row.id, **told}, identity=row)

        def settle() -> None:
            publish(work.staging / "identity", work.files.identity(job.owner, person, row.id))
            shutil.rmtree(desk, ignore_errors=True)

        return Done(outcome, settle)

    def _generate(self, work: Work) -> Done:
        """Identities and a style to portraits."""
        job, wants = work.job, work.job.wants
        people = {int(place): self._identity(work, id) for place, id in dict(wants["identities"]).items()}
        style = self._style(work)
        size = wants.get("size")
        request = PortraitRequest(
            people,
            style,
            int(wants.get("seed", 0)),
            int(wants.get("count", 1)),
            Size(*size) if size else None,
            technique=options.technique(wants, lambda id: work.files.template(job.owner, id)),
        )
        recipe = work.store.portraits.get(job.owner, str(wants["remake"])).recipe if wants.get("remake") else None
        if recipe is not None:  # what was done to it then is done again
            steps = tuple(Refinement(**step) for step in recipe.get("refiners", ()))
            request = replace(request, style=replace(style, refiners=()), refiners=steps)
        if wants.get("edit"):
            request = replace(request, size=None, style=replace(style, refiners=()), edit=edit_of(work))
        flow = build.render(self._engines, [request.way], steps_of(request), self._settings.draw)
        if recipe is None:
            drawn = flow(request, work.progress)
        else:
            drawn = [flow.again(request, int(recipe["candidate"]), work.progress, recipe.get("drawn", {}))]
        deliver = Deliver(str(wants.get("format", "jpg")))
        now = work.now()  # one time for all, or the later ones would sort as newer
        rows = [
            results.portrait_row(
                job, number, portrait, deliver(portrait, work.staging / "portraits" / f"{number:02}"), now
            )
            for number, portrait in enumerate(drawn, 1)
        ]
        outcome = Outcome({"portraits": [row.id for row in rows]}, portraits=rows)
        place = work.files.portraits(job.owner, job.id)
        return Done(outcome, lambda: publish(work.staging / "portraits", place))

    def _identity(self, work: Work, id: str) -> Identity:
        row = work.store.people.identity(work.job.owner, id)
        training = training_sets.read(work.files.training_set(work.job.owner, row.person, row.training_set))
        drawn = Identity(row.id, training.references, training.likeness)
        if not row.base:
            return drawn
        learned = identities.read(work.files.identity(work.job.owner, row.person, row.id)).identity
        return replace(learned, id=row.id, references=drawn.references, likeness=drawn.likeness, base=row.base)

    def _style(self, work: Work) -> Style:
        """The style that is wanted, or the owner's own picture as one."""
        wants = work.job.wants
        if wants.get("template"):
            return self._hung(work, str(wants["template"]))
        version = wants.get("version")
        offered = Offered(work.store, work.files)
        return self._drawable(offered.find(str(wants["style"]), version and int(version)), wants.get("traits"))

    def _drawable(self, entry: Entry, traits: Mapping[str, str] | None = None) -> Style:
        """A style with its picture hung; raises `OperatorError` (`bad_style`) for another picture than was published."""
        style, picture = style_of(entry.style, traits), entry.picture()
        if picture is None:
            return style
        for wrong in lint.file(picture, entry.style):
            raise OperatorError("bad_style", f"The style {style.id} cannot be drawn. {wrong.tip}")
        return render.hang(style, picture, self._engines.finder())

    def _hung(self, work: Work, id: str) -> Style:
        template = work.store.templates.get(work.job.owner, id)
        work.names[id] = template.name
        style = Style(f"picture-{id}", 1, "template", template.name)
        return render.hang(style, work.files.template(work.job.owner, id), self._engines.finder())

    def _tried(self, work: Work) -> Done:
        """Look at a draft's picture; for a test, draw three people in it too."""
        wants, workshop = work.job.wants, Workshop(work.store, work.files, work.now)
        draft = workshop.draft(str(wants["style"]), str(wants["edition"]))
        entry, trials = workshop.entry(draft), Trials(self._settings, self._engines)
        if work.job.kind == "check":
            return Done(Outcome({"style": draft.id}, draft=trials.news(draft, entry)), lambda: None)
        staged = work.staging / "test"
        samples = trials.draw(self._drawable(entry), staged, work.progress)
        news = trials.news(draft, entry, samples, (work.job.id, work.now()))
        outcome = Outcome({"style": draft.id, "samples": len(samples)}, draft=news)
        return Done(outcome, lambda: workshop.keep_test(draft, staged))

    def _look(self, work: Work) -> Done:
        """Find and number the faces of a picture that people shall be put into."""
        id = str(work.job.wants["template"])
        picture = self._hung(work, id).picture
        if picture is None:
            raise OperatorError("no_picture", "The template has no picture.")
        height, width = picture.image.shape[:2]
        boxes = [results.share_of(face.box, width, height) for face in picture.faces]
        return Done(Outcome({"template": id, "faces": len(boxes)}, faces=(id, boxes)), lambda: None)


def edit_of(work: Work) -> Edit:
    """What shall become of the portrait that a job names; raises `UserError` (`not_found`) when it was deleted."""
    wants = dict(work.job.wants["edit"])
    row = work.store.portraits.get(work.job.owner, str(wants["portrait"]))
    file = work.files.portrait(work.job.owner, row.job, row.file)
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise UserError("not_found", "The portrait that was to be edited is not there any more.") from error
    hash = hashlib.sha256(content).hexdigest()
    return edits.read({**wants, "picture": hash}, image_io.decode(content, file.name).image)


def open_flows(settings: Settings) -> Flows:
    """The flows that a worker runs unless it is told others."""
    return PortraitFlows(settings, build.open_engines(settings))
