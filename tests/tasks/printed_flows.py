"""Flows without engines that give what documents ask for: judged photos, a LoRA, portraits that can be edited."""

import json
from io import BytesIO
from pathlib import Path

import PIL.Image

from pipelines.settings import Settings
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import IdentityRow, PortraitRow, TrainingSetRow
from tasks.queue.flows import Abilities, FlowResult, JobContext
from tests import fakes
from tests.tasks.fake_flows import FakeFlows

BASES = ("sdxl", "flux2_klein")
ABILITIES = frozenset(
    {
        *("prepare", "look", "draw:studio", "draw:text", "draw:template", "draw:inpaint"),
        *(f"train:{base}" for base in BASES),
        *(f"base:{base}" for base in BASES),
        *(f"base:{base}:{word}" for base in BASES for word in ("lora", "instantid", "reference", "instruct")),
    }
)


class PrintedFlows(FakeFlows):
    """Does at once what jobs of documents ask for."""

    def abilities(self) -> Abilities:
        return Abilities(ABILITIES, {"draw:idphoto": ["No model for it."]})

    def __call__(self, context: JobContext) -> FlowResult:
        job = context.job
        context.progress(1, 2, "Working")
        if job.kind == "generate":
            return self._generate(context)
        if job.kind == "look":
            face = {"left": 0.3, "top": 0.2, "right": 0.7, "bottom": 0.6}
            return FlowResult(
                Outcome({"template": job.params["template"]}, faces=(job.params["template"], [face])), lambda: None
            )
        return self._prepare(context) if job.kind == "prepare" else self._learn(context)

    def _prepare(self, context: JobContext) -> FlowResult:
        job, now = context.job, context.now()
        photos = [row.id for row in context.ledger.people.selfies(job.owner, job.params["person"])]
        row = TrainingSetRow(new_id("set", now), job.owner, job.params["person"], job.id, [], now)
        made = context.staging / "set"
        made.mkdir()
        (made / "set.json").write_text(json.dumps({"crops": [], "references": [], "photos": []}))
        identity = _identity(job, row.id, now, "")
        verdicts = {id: {"verdict": "use", "quality": {"total": 0.9}} for id in photos}
        outcome = Outcome({"identity": identity.id}, training_set=row, identity=identity, verdicts=verdicts)
        place = context.files.training_set(job.owner, row.person, row.id)
        return FlowResult(outcome, lambda: context.files.publish(made, place))

    def _learn(self, context: JobContext) -> FlowResult:
        job = context.job
        identity = _identity(job, str(job.params["training_set"]), context.now(), str(job.params["base"]))
        return FlowResult(Outcome({"identity": identity.id}, identity=identity), lambda: None)

    def _generate(self, context: JobContext) -> FlowResult:
        job, folder = context.job, context.staging / "portraits"
        folder.mkdir()
        rows = [_portrait(context, number, folder / f"{number:02}.jpg") for number in range(1, job.params["count"] + 1)]
        place = context.files.portraits(job.owner, job.id)
        outcome = Outcome({"portraits": [row.id for row in rows]}, portraits=rows)
        return FlowResult(outcome, lambda: context.files.publish(folder, place))


def open_flows(_: Settings) -> PrintedFlows:
    return PrintedFlows()


def photo(seed: int) -> bytes:
    """A JPEG that the API takes for a photo."""
    content = BytesIO()
    PIL.Image.fromarray(fakes.picture(1, seed, 160)).save(content, "JPEG")
    return content.getvalue()


def _identity(job: Job, training_set: str, now: float, base: str) -> IdentityRow:
    return IdentityRow(new_id("identity", now), job.owner, str(job.params["person"]), training_set, now, base)


def _portrait(context: JobContext, number: int, file: Path) -> PortraitRow:
    """Write a picture, and return its row with the recipe that an edit asks for."""
    job, now = context.job, context.now()
    file.write_bytes(photo(number))
    kind = "text" if job.queue == "gpu.generate" else "studio"
    recipe = {"seed": 1, "count": job.params["count"], "candidate": number - 1, "style": {"kind": kind}}
    return PortraitRow(
        id=new_id("portrait", now, number),
        owner=job.owner,
        job=job.id,
        number=number,
        file=file.name,
        format="jpg",
        bytes=file.stat().st_size,
        width=160,
        height=160,
        style=str(job.params["style"]),
        style_version=1,
        likeness={"1": {"space": "dlib", "distance": 0.3}},
        scores={},
        recipe=recipe,
        created=now,
    )
