"""The flows of jobs: from the parameters of a claimed job and its owner's files to results in a staging folder."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipelines import build, render, template_faces
from pipelines.deliver import Deliver
from pipelines.engines import Engines, matte_engine, status
from pipelines.folders import cut_outs, identities, training_sets
from pipelines.marks.marks import open_marks
from pipelines.memory import return_memory
from pipelines.model_store.store import ModelStore
from pipelines.prepare import Overrides
from pipelines.refine import steps_of
from pipelines.settings import Settings
from portrait.arrays import Image, Size
from portrait.errors import Cancelled, OperatorError, UserError
from portrait.fusion.warp import forget_outlines
from portrait.idphoto_spec import spec_from_dict
from portrait.ports import FaceFinder, Progress
from portrait.studio import preview
from portrait.training import TrainingJob
from portrait.traits import with_traits
from portrait.types import Identity, PortraitRequest, Refinement, Style, TrainingSet
from tasks.files import Files
from tasks.ledger.database import new_id
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import IdentityRow, TrainingSetRow
from tasks.private_files import check_readable
from tasks.queue import options, results
from tasks.queue.delivery import PortraitDelivery, edited_file
from tasks.queue.guards import JobGuards
from tasks.queue.running.checkpoints import CheckpointKeeper
from tasks.queue.running.context import Abilities, FlowResult, Flows, JobContext
from tasks.styles.available import AvailableStyles
from tasks.styles.card_samples import CardSamples
from tasks.styles.samples import StyleTester
from tasks.styles.service import StyleService
from tasks.styles.terms import to_allowed_style
from templates import lint
from templates.catalog import Entry

TRAINING_OVERRIDES = ("steps", "rank", "rate", "batch", "seed", "text", "token", "prior")
"""Training settings that a job may override; see `portrait.training.TrainingJob`."""


class PortraitFlows:
    """The flows of this installation; engines stay loaded from job to job."""

    def __init__(self, settings: Settings, engines: Engines) -> None:
        self._settings = settings
        self._engines = engines
        self._card_samples = CardSamples(StyleTester(settings, engines), self._load_style)

    def abilities(self) -> Abilities:
        """Ask the engines of every ability whether they are ready."""
        names = self._settings.engines
        models = ModelStore(self._settings.models)
        finding, mattes = [("faces", names.faces)], matte_engine(self._settings, models)
        required = {"look": finding, "prepare": [*finding, ("restorers", names.restorers), ("mattes", mattes)]}
        for kind in ("studio", "template"):
            required[f"draw:{kind}"] = [*finding, ("painters", build.PAINTERS[kind]), ("mattes", mattes)]
        required["draw:idphoto"] = [*finding, ("mattes", mattes)]
        unguarded = build.missing_picture_guard(self._settings)
        missing = {
            word: [*unguarded, *(line for each in engines for line in status(*each, self._settings, models))]
            for word, engines in required.items()
        }
        # Diffusion engines are not asked: that would load their libraries into workers that never draw.
        bases = build.missing_by_base(self._settings)
        missing |= {f"train:{base}": lines for base, lines in build.missing_for_training(self._settings).items()}
        missing["draw:text"] = [*missing["look"], *min(bases.values(), key=len), *build.missing_guard(self._settings)]
        missing["draw:inpaint"] = list(dict.fromkeys([*missing["draw:template"], *missing["draw:text"]]))
        missing |= build.missing_by_ability(self._settings)
        ready = frozenset(word for word, lines in missing.items() if not lines)
        return Abilities(ready, {word: lines for word, lines in missing.items() if lines})

    def __call__(self, context: JobContext) -> FlowResult:
        """Run the flow of the job's kind; raises `OperatorError` (`unknown_kind`), and what `JobGuards` raises."""
        JobGuards(self._settings, context.ledger, context.files).check(context.job)
        flows = {"prepare": self._prepare, "train": self._train, "generate": self._generate, "look": self._detect_faces}
        flow = {**flows, "check": self._check_draft, "test": self._check_draft}.get(context.job.kind)
        if flow is None:
            raise OperatorError(
                "unknown_kind", f"This worker knows no jobs of the kind {context.job.kind!r}. Update it."
            )
        try:
            return flow(context)
        finally:
            return_memory()

    def release_idle(self) -> None:
        """Release idle diffusion bases, which take most of a GPU; see `draw.idle_minutes`."""
        self._engines.unload_idle()

    def forget(self) -> None:
        """Drop cut-outs, weights and outlines of people."""
        self._engines.forget()
        forget_outlines()

    def draw_sample(self, styles: AvailableStyles, files: Files, able: Collection[str], progress: Progress) -> bool:
        """Draw the sample people in one style; see `tasks.styles.card_samples`."""
        return self._card_samples.draw_next(styles, files, able, progress)

    def shows(self, image: Image) -> bool:
        """Whether the guard lets a picture of what is not finished be shown; raises `OperatorError` (`guard_missing`)."""
        return self._engines.picture_guard().allows(image)

    def close(self) -> None:
        """Close engines that hold native handles."""
        self._engines.__exit__(None, None, None)

    def _prepare(self, context: JobContext) -> FlowResult:
        """Turn a person's photos into a training set and an identity."""
        job, person = context.job, str(context.job.params["person"])
        photos = context.ledger.people.selfies(job.owner, person)
        context.names.update({photo.id: photo.name for photo in photos})
        paths = [context.files.fetch(context.files.selfie(job.owner, person, photo.id)) for photo in photos]
        check_readable(paths)
        overrides = Overrides(
            [at for at, photo in enumerate(photos) if photo.wish == "include"],
            [at for at, photo in enumerate(photos) if photo.wish == "exclude"],
            {at: (photo.face["x"], photo.face["y"]) for at, photo in enumerate(photos) if photo.face},
            context.ledger.people.get(job.owner, person).traits,
        )
        earlier = context.ledger.people.training_sets(job.owner, person)[:1]
        folders = [context.files.fetch_folder(context.files.training_set(job.owner, person, row.id)) for row in earlier]
        known = [reference for folder in folders for reference in training_sets.read_enlarged(folder)]
        training = build.prepare(self._settings, self._engines)(paths, overrides, context.progress, known)
        JobGuards(self._settings, context.ledger, context.files).check_training_set(training)
        training_sets.write(training, context.staging / "set")
        self._write_cut_out(training, context.staging / "set")
        photo_dicts = training_sets.photos_to_dicts(training.photos)
        now = context.now()
        set_row = TrainingSetRow(new_id("set", now), job.owner, person, job.id, photo_dicts, now)
        identity = IdentityRow(new_id("identity", now), job.owner, person, set_row.id, now)
        outcome = Outcome(
            {"person": person, "training_set": set_row.id, "identity": identity.id},
            training_set=set_row,
            identity=identity,
            verdicts=results.verdicts_by_selfie(photo_dicts, training.questions),
            asks_guardian=training.asks_guardian,
        )
        place = context.files.training_set(job.owner, person, set_row.id)
        staged = context.upload("set", place)
        return FlowResult(outcome, lambda: context.files.publish(staged, place))

    def _write_cut_out(self, training: TrainingSet, folder: Path) -> None:
        """Write the small cut-outs with which the API previews studio styles, where a photo serves them."""
        # With SciPy, which a worker with nothing to do does not hold.
        from pipelines.engines.painters.studio import Studio

        painter = self._engines.painter(build.PAINTERS["studio"])
        served = training.uses.compositions if training.uses is not None else ()
        for suited in cut_outs.SUITED.values():
            if isinstance(painter, Studio) and set(suited) & set(served):
                cut_out = painter.cut_out(training.references, preview.SIZE, suited)
                if cut_out is not None:
                    cut_outs.write(cut_out, cut_outs.place(folder, suited))

    def _train(self, context: JobContext) -> FlowResult:
        """Train a LoRA on a training set to a new identity; checkpoints outlive the worker until the job has ended."""
        job, params = context.job, context.job.params
        person, set_id = str(params["person"]), str(params["training_set"])
        if context.ledger.people.training_set(job.owner, set_id).person != person:
            raise UserError("not_found", "The training set is not of that person.")
        folder = context.files.fetch_folder(context.files.training_set(job.owner, person, set_id))
        training = training_sets.read(folder)
        training = with_traits(training, dict(params.get("traits") or {}))
        start = self._identity(context, str(params["start"])) if params.get("start") else None
        work_dir = context.files.fetch_folder(context.files.work_dir(job.owner, person, job.id))
        work_dir.mkdir(parents=True, exist_ok=True)
        progress = CheckpointKeeper(context.files, work_dir, context.progress)
        overrides = {name: params[name] for name in TRAINING_OVERRIDES if params.get(name) is not None}
        training_job = TrainingJob(training, str(params["base"]), work_dir, start, overrides)
        try:
            trained = build.train(self._engines)(training_job, context.staging / "identity", progress)
        except Cancelled as error:
            if error.code == "cancelled":  # not when another worker goes on
                context.files.remove(work_dir)
            else:
                progress.keep()
            raise
        now = context.now()
        row = IdentityRow(new_id("identity", now), job.owner, person, set_id, now, str(params["base"]))
        summary = {name: trained.description[name] for name in ("steps", "chosen", "notes")}
        outcome = Outcome({"person": person, "identity": row.id, **summary}, identity=row)

        place = context.files.identity(job.owner, person, row.id)
        staged = context.upload("identity", place)

        def publish_identity() -> None:
            context.files.publish(staged, place)
            context.files.remove(work_dir)

        return FlowResult(outcome, publish_identity)

    def _generate(self, context: JobContext) -> FlowResult:
        """Draw portraits of identities in a style, each delivered as soon as it is finished; or reproduce or edit one."""
        job, params = context.job, context.job.params
        delivery = self._open_delivery(context)  # before anything is drawn that could not be marked
        people = {int(place): self._identity(context, id) for place, id in dict(params["identities"]).items()}
        recipe = context.ledger.portraits.get(job.owner, str(params["remake"])).recipe if params.get("remake") else None
        if params.get("photo"):
            people = {place: self._of_photo(context, person, str(params["photo"])) for place, person in people.items()}
        points = {**render.places_of_recipe(recipe or {}), **render.places_of_recipe(params)}
        style = self._style(context, points, counted_before=recipe is not None and not points)
        if style.picture is not None:
            people = template_faces.renumber(people, style.picture, points)
        size = params.get("size")
        request = PortraitRequest(
            people,
            style,
            int(params.get("seed", 0)),
            int(params.get("count", 1)),
            Size(*size) if size else None,
            options=options.generation_options(params, context.template, recipe),
            skin=params.get("skin"),
            idphoto=spec_from_dict(params.get("idphoto")),
        )
        if recipe is not None:  # the refiners that were applied then are applied again
            steps = tuple(Refinement(**step, method=recipe.get("refining", 1)) for step in recipe.get("refiners", ()))
            request = replace(
                request,
                style=replace(style, refiners=()),
                refiners=steps,
                skin=render.skin_of_recipe(recipe),
                idphoto=spec_from_dict(recipe.get("idphoto")),
            )
        if params.get("edit"):
            original = edited_file(job, context.ledger, context.files)
            edit = options.load_edit(params["edit"], original, context.template)
            request = replace(request, size=None, style=replace(style, refiners=()), edit=edit)
        flow = build.render(self._engines, [request.mode], steps_of(request), self._settings.draw)
        if recipe is None:
            drawn = flow(request, context.progress, delivery)
        else:
            drawn = [flow.reproduce(request, int(recipe["candidate"]), context.progress, recipe.get("drawn", {}))]
        ids = [delivery(portrait).id for portrait in drawn]
        return FlowResult(Outcome({"portraits": ids}, ranking=ids), lambda: None)

    def _open_delivery(self, context: JobContext) -> PortraitDelivery:
        job, ledger, files, format = context.job, context.ledger, context.files, context.job.params.get("format", "jpg")
        original = edited_file(job, ledger, files) if job.params.get("edit") else None
        write = Deliver(str(format), open_marks(self._settings.marks), original)
        return PortraitDelivery(job, ledger, files, context.staging / "portraits", context.now, write, context.now())

    def _identity(self, context: JobContext, id: str) -> Identity:
        row = context.ledger.people.identity(context.job.owner, id)
        place = context.files.training_set(context.job.owner, row.person, row.training_set)
        training = training_sets.read(context.files.fetch_folder(place))
        if not row.base:
            return Identity(row.id, training.references, training.mean_embeddings)
        place = context.files.identity(context.job.owner, row.person, row.id)
        trained = identities.read(context.files.fetch_folder(place)).identity
        own = {"references": training.references, "mean_embeddings": training.mean_embeddings}
        return replace(trained, id=row.id, base=row.base, **own)

    def _of_photo(self, context: JobContext, person: Identity, id: str) -> Identity:
        """The person as one of their photos alone shows them: a reference, or any other that can be used."""
        kept = tuple(each for each in person.references if each.name == id)
        if not kept:
            photo = context.ledger.people.selfie(context.job.owner, id)
            context.names[id] = photo.name
            path = context.files.fetch(context.files.selfie(context.job.owner, photo.person, id))
            chosen = Overrides([0], faces={0: (photo.face["x"], photo.face["y"])} if photo.face else {})
            quick = replace(self._settings, prepare=replace(self._settings.prepare, small_face=0))
            kept = build.prepare(quick, self._engines)([path], chosen, context.progress).references
        return replace(person, references=kept)

    def _style(
        self, context: JobContext, points: Mapping[int, tuple[float, float]], counted_before: bool = False
    ) -> Style:
        """Load the style of the job, or the owner's uploaded picture as a style, with the faces at `points`."""
        params = context.job.params
        attach = partial(render.attach_template, points=tuple(points.values()), counted_before=counted_before)
        if params.get("template"):
            return self._uploaded_style(context, str(params["template"]), attach)
        version = params.get("version")
        styles = AvailableStyles(context.ledger, context.files)
        entry = styles.find(str(params["style"]), version and int(version))
        return self._load_style(entry, params.get("traits"), attach)

    def _load_style(
        self,
        entry: Entry,
        traits: Mapping[str, str] | None = None,
        attach: Callable[[Style, Path, FaceFinder], Style] = render.attach_template,
    ) -> Style:
        """Build a style with its picture attached; raises `OperatorError` (`bad_style`), `UserError` (`licence_refused`)."""
        style, picture = to_allowed_style(entry.style, self._settings, traits), entry.picture()
        if picture is None:
            return style
        for wrong in lint.lint_picture_file(picture, entry.style):
            raise OperatorError("bad_style", f"The style {style.id} cannot be drawn. {wrong.tip}")
        return attach(style, picture, self._engines.finder())

    def _uploaded_style(
        self,
        context: JobContext,
        id: str,
        attach: Callable[[Style, Path, FaceFinder], Style] = render.attach_template,
    ) -> Style:
        template = context.ledger.templates.get(context.job.owner, id)
        context.names[id] = template.name
        style = Style(f"picture-{id}", 1, "template", template.name)
        return attach(style, context.template(id), self._engines.finder())

    def _check_draft(self, context: JobContext) -> FlowResult:
        """Check a draft's picture; for a test, render the sample people too."""
        params, service = context.job.params, StyleService(context.ledger, context.files, context.now, self._settings)
        draft = service.draft(str(params["style"]), str(params["edition"]))
        entry, tester = service.entry(draft), StyleTester(self._settings, self._engines)
        if context.job.kind == "check":
            return FlowResult(Outcome({"style": draft.id}, draft=tester.draft_findings(draft, entry)), lambda: None)
        staged = context.staging / "test"
        named, identities = (dict(params.get(name) or {}) for name in ("people", "identities"))
        own = {str(named[number]): self._identity(context, str(identities[number])) for number in sorted(named)}
        known = (own, {}) if own else None
        samples = tester.render_samples(self._load_style(entry), staged, context.progress, known)
        findings = tester.draft_findings(draft, entry, samples, (context.job.id, context.now()))
        outcome = Outcome({"style": draft.id, "samples": len(samples)}, draft=findings)
        return FlowResult(outcome, lambda: service.publish_test(draft, staged))

    def _detect_faces(self, context: JobContext) -> FlowResult:
        """Detect the faces of an uploaded picture, numbered from left to right."""
        id = str(context.job.params["template"])
        picture = self._uploaded_style(context, id).picture
        if picture is None:
            raise OperatorError("no_picture", "The template has no picture.")
        self._engines.picture_guard().check(picture.image)
        return FlowResult(results.faces_found(id, picture), lambda: None)


def open_flows(settings: Settings) -> Flows:
    """Open the default flows of a worker."""
    return PortraitFlows(settings, build.open_engines(settings))
