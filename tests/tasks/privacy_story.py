"""An installation with everything that can be kept of two people, and the bytes by which each of them could be recognised."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import sqlalchemy as sa
from sqlalchemy import event

from pipelines.folders import identities, training_sets
from pipelines.pages import identity as page
from portrait.arrays import Image
from portrait.types import Box, Crop, Face, Pose, Quality, Reference, ScoredPhoto, TrainingSet
from tasks.files import Files
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.idempotency import StoredResponse
from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import IdentityRow, PortraitRow, SelfieRow, TemplateRow, TrainingSetRow
from tests import selfies
from tests.tasks.stand import new_job

START = 1_000_000.0
"""The time of the story, seconds since 1970; leases of its running jobs end 60 seconds later."""
LEASE = 60.0
LATER = START + 600
"""After every lease of the story."""
TRAINED = ("sharp", "turned")
"""The photos of each person."""


@dataclass
class Known:
    """What is kept of a person, and how to find it again."""

    owner: str
    name: str
    id: str = ""
    selfies: list[str] = field(default_factory=list)
    training_set: str = ""
    identity: str = ""
    learned: str = ""
    drawn: str = ""
    """The job that delivered."""
    portrait: str = ""
    running: Job | None = None
    """A training that a worker has claimed."""
    marks: dict[str, bytes] = field(default_factory=dict)
    """Bytes that belong to nobody else, by what they are of."""

    def mark(self, what: str, content: bytes | str) -> None:
        """Note bytes that must not be found after an erasure."""
        self.marks[what] = content.encode() if isinstance(content, str) else content


def tell(ledger: Ledger, files: Files, owners: tuple[str, str] = ("ann", "ann")) -> tuple[Known, Known]:
    """Have two people go through everything that the installation does."""
    astronaut, group = selfies.astronaut(), selfies.group()
    left, top, right, bottom = selfies.PLAYERS["player 3"]
    pictures = (astronaut[60:380, 90:390], group[top:bottom, left:right])
    names = ("Quillfeather", "Marrowby")
    people = [Known(owner, name) for owner, name in zip(owners, names, strict=True)]
    for seed, (known, picture) in enumerate(zip(people, pictures, strict=True)):
        _Telling(ledger, files, known, np.random.default_rng(seed)).tell(np.ascontiguousarray(picture))
    ledger.database.scrub()
    return people[0], people[1]


@dataclass
class _Telling:
    """The story of one person."""

    ledger: Ledger
    files: Files
    known: Known
    random: np.random.Generator

    def tell(self, photo: Image) -> None:
        known, ledger = self.known, self.ledger
        known.mark("name", known.name)
        known.mark("name in UTF-16", known.name.encode("utf-16-le"))
        known.id = ledger.people.add(known.owner, known.name, "1", f"{known.name} senior", START).id
        self._upload(photo)
        self._prepare(photo)
        self._train()
        self._draw(photo)
        self._work()
        self._remember(photo)

    def _upload(self, photo: Image) -> None:
        for number, name in enumerate(TRAINED):
            shown = np.ascontiguousarray(np.roll(photo, number * 7, axis=1))
            content = _jpeg(shown, 90 - number)
            id = new_id("selfie", START + number)
            saved = self.files.save([content], self.files.selfie(self.known.owner, self.known.id, id), 10**7)
            height, width = shown.shape[:2]
            file_name = f"{self.known.name.lower()}-{name}-holiday.jpg"
            row = SelfieRow(
                id, self.known.owner, self.known.id, file_name, saved.sha256, saved.bytes, width, height, "JPEG", START
            )
            self.ledger.people.add_selfie(row, 9)
            self.known.selfies.append(id)
            self.known.mark(f"photo {name}", content[len(content) // 2 :][:48])
            self.known.mark(f"hash of photo {name}", saved.sha256)
            self.known.mark(f"perceptual hash of photo {name}", f"{_difference_hash(shown):016x}")
            self.known.mark(f"file name {name}", file_name)

    def _prepare(self, photo: Image) -> None:
        job = self._claim("prepare", person=self.known.id)
        made, references, crops, photos = self.known, [], [], []
        embeddings = [self.random.normal(0, 0.1, 128).astype(np.float32) for _ in made.selfies]
        for number, id in enumerate(made.selfies):
            image = np.ascontiguousarray(np.roll(photo, 11 + number * 13, axis=0))
            vector = embeddings[number]
            face = Face(Box(9, 9, 90, 90), np.zeros((68, 2), np.float32), None, {"dlib": vector}, Pose(0, 0, 0), 0.9)
            quality = Quality(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9)
            references.append(Reference(id, image, face, quality))
            crops.append(Crop(image[:200, :200], f"photo of {made.name}, smiling", id))
            photos.append(ScoredPhoto(id, "use", quality=quality))
            self._mark_vector(f"embedding {number}", vector)
        mean = np.stack(embeddings).mean(axis=0).astype(np.float32)
        self._mark_vector("mean embedding", mean)
        training = TrainingSet(tuple(crops), tuple(references), {"dlib": mean}, tuple(photos), "sks", "person")
        staged = self.files.staging(job.id, job.token or "")
        training_sets.write(training, staged / "set")
        verdicts = training_sets.photos_to_dicts(training.photos)
        row = TrainingSetRow(new_id("set", START), made.owner, made.id, job.id, verdicts, START)
        identity = IdentityRow(new_id("identity", START), made.owner, made.id, row.id, START)
        place = self.files.training_set(made.owner, made.id, row.id)
        self.ledger.queue.report(job, START, "looking", 0.5, f"Looking at {made.name.lower()}-sharp-holiday.jpg")
        outcome = Outcome({"person": made.id}, training_set=row, identity=identity)
        self.ledger.queue.finish(job, START + 1, outcome, lambda: self.files.publish(staged / "set", place))
        made.training_set, made.identity = row.id, identity.id
        for kind in ("crops", "references"):
            for number, path in enumerate(sorted(p for p in (place / kind).iterdir() if p.suffix != ".txt")):
                content = path.read_bytes()
                made.mark(f"{kind} {number}", content[len(content) // 2 :][:48])

    def _train(self) -> None:
        made, base = self.known, "sdxl"
        job = self._claim("train", person=made.id, training_set=made.training_set, base=base)
        place = self.files.training_set(made.owner, made.id, made.training_set)
        training = training_sets.read(place)
        weights = self.random.bytes(4096)
        staged = self.files.staging(job.id, job.token or "")
        staged.mkdir(parents=True, exist_ok=True)
        (staged / "lora").write_bytes(weights)
        described = {
            "schema": 1,
            "id": "x",
            "trigger": "sks",
            "class_word": "person",
            "base": {"name": base, "family": base, "hash": "0" * 64},
            "steps": 2,
            "chosen": "2",
            "notes": [],
            "rank": 4,
            "packages": {},
            "scores": {"held_out": {}, "looks": []},
            "likeness": {space: vector.tolist() for space, vector in training.mean_embeddings.items()},
        }
        text = page.render(described, None, training)
        identities.write(staged / "identity", described, {identities.LORA_FILE: staged / "lora"}, text)
        row = IdentityRow(new_id("identity", START + 1), made.owner, made.id, made.training_set, START + 1, base)
        goal = self.files.identity(made.owner, made.id, row.id)
        outcome = Outcome({"person": made.id, "identity": row.id}, identity=row)
        self.ledger.queue.finish(job, START + 2, outcome, lambda: self.files.publish(staged / "identity", goal))
        shutil.rmtree(staged)
        made.learned = row.id
        made.mark("LoRA", weights[2000:2048])
        for number, inlined in enumerate(text.split("base64,")[1:]):
            picture = inlined.split('"')[0]
            made.mark(f"photo {number} in the page", picture[len(picture) // 2 :][:48])

    def _draw(self, photo: Image) -> None:
        made = self.known
        words = f"wearing the amber brooch of {made.name}"
        job = self._claim("generate", people={"1": made.id}, traits={"words": words})
        made.mark("words", "amber brooch of " + made.name)
        staged = self.files.staging(job.id, job.token or "")
        content = _jpeg(np.ascontiguousarray(photo[::-1]), 93)
        self.files.save([content], staged / "portraits" / "01.jpg", 10**7)
        made.mark("portrait", content[len(content) // 2 :][:48])
        row = PortraitRow(
            new_id("portrait", START), made.owner, job.id, 1, "01.jpg", "jpg", len(content), 9, 9, "s", 1,
            {}, {}, {"prompt": words, "reference": made.selfies[0]}, START + 3,
        )  # fmt: skip
        place = self.files.portraits(made.owner, job.id)
        outcome = Outcome({"portraits": [row.id]}, portraits=[row])
        self.ledger.queue.finish(job, START + 3, outcome, lambda: self.files.publish(staged / "portraits", place))
        made.drawn, made.portrait = job.id, row.id

    def _work(self) -> None:
        """A training is under way, and a preview of a drawing."""
        made = self.known
        made.running = self._claim("train", person=made.id, training_set=made.training_set, base="sdxl")
        state = self.random.bytes(4096)
        self.files.save([state], self.files.work_dir(made.owner, made.id, made.running.id) / "state.pt", 10**6)
        made.mark("checkpoint", state[2000:2048])
        staged = self.files.staging(made.running.id, made.running.token or "")
        self.files.save([state[::-1]], staged / "half.bin", 10**6)
        made.mark("staged", state[::-1][2000:2048])
        self.files.save([state[::2]], self.files.preview(made.running.id), 10**6)
        made.mark("preview", state[::2][1000:1048])

    def _remember(self, photo: Image) -> None:
        """What the API keeps: a response that is sent again, and what an owner has beside people."""
        made, ledger = self.known, self.ledger
        ledger.idempotency.begin(made.owner, f"key-{made.name}", "0" * 64, START)
        body = json.dumps({"id": made.id, "name": made.name})
        ledger.idempotency.save_response(made.owner, f"key-{made.name}", StoredResponse(201, {}, body))

    def _claim(self, kind: str, **params: Any) -> Job:
        """A job of the person that a worker has begun."""
        needs = required_abilities(kind, ["studio"], str(params.get("base", "")))
        job = new_job(self.known.owner, START, kind=kind, params=params, needs=needs)
        self.ledger.jobs.add(job, [self.known.id])
        claimed = self.ledger.queue.claim("w", "cpu", set(needs), START, LEASE)
        assert claimed is not None
        assert claimed.id == job.id
        return claimed

    def _mark_vector(self, what: str, vector: np.ndarray) -> None:
        for kind in ("<f4", ">f4", "<f8", ">f8"):
            self.known.mark(f"{what} as {kind}", vector[:8].astype(kind).tobytes())
        self.known.mark(f"{what} as text", json.dumps(vector.tolist())[1:60])


def add_account(ledger: Ledger, files: Files, known: Known) -> str:
    """What an owner has beside people: a picture, webhooks, keys; returns the picture's id."""
    content = _jpeg(np.random.default_rng(len(known.name)).integers(0, 255, (60, 60, 3), np.uint8), 95)
    id = new_id("template", START)
    files.save([content], files.template(known.owner, id), 10**6)
    known.mark("picture", content[len(content) // 2 :][:48])
    job = ledger.jobs.add(new_job(known.owner, START, kind="look", params={"template": id}))
    row = TemplateRow(id, known.owner, f"garden of {known.name}.jpg", len(content), 60, 60, "JPEG", job.id, START)
    ledger.templates.add(row, 9)
    known.mark("name of the picture", f"garden of {known.name}")
    ledger.webhooks.add(known.owner, f"https://example.org/{known.name}", f"whsec_{known.name}", [], START)
    known.mark("secret of the webhook", f"whsec_{known.name}")
    return id


def found(places: Iterator[bytes] | list[bytes], known: Known) -> set[str]:
    """Which marks of a person are in these contents."""
    contents = list(places)
    return {what for what, mark in known.marks.items() if any(mark in content for content in contents)}


def contents(home: Path) -> list[bytes]:
    """Every byte below a folder: files, and their names."""
    names = [str(path.relative_to(home)).encode() for path in home.rglob("*")]
    return [*names, *(path.read_bytes() for path in home.rglob("*") if path.is_file())]


def rows(ledger: Ledger) -> list[bytes]:
    """Every row of every table, as text: for a database whose files are somewhere else."""
    with ledger.database.read() as connection:
        names = sa.inspect(connection).get_table_names()
        return [
            str(tuple(row)).encode()
            for name in names
            for row in connection.execute(sa.text(f'SELECT * FROM "{name}"'))  # noqa: S608 -- names of the schema
        ]


def keep_no_log(server: sa.Connection) -> None:
    """Have PostgreSQL delete its log where it would reuse it, as docs/privacy/erasure.md asks; `server` commits by itself."""
    server.execute(sa.text("ALTER SYSTEM SET wal_recycle = off"))
    server.execute(sa.text("ALTER SYSTEM SET min_wal_size = '32MB'"))
    server.execute(sa.text("SELECT pg_reload_conf()"))


def server_files(ledger: Ledger) -> list[bytes]:
    """What PostgreSQL itself keeps of this database, and its log from before the next two checkpoints."""
    with ledger.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(2):
            connection.execute(sa.text("SELECT pg_switch_wal()"))
            connection.execute(sa.text("CHECKPOINT"))
        data = Path(connection.scalar(sa.text("SHOW data_directory")) or "")
        number = connection.scalar(sa.text("SELECT oid FROM pg_database WHERE datname = current_database()"))
    assert any((data / "base" / str(number)).iterdir())
    return [*contents(data / "base" / str(number)), *contents(data / "pg_wal")]


@dataclass
class Steps:
    """Counts what changes the disk or the database; at step `stop` the process is killed, or `at` is called."""

    home: Path
    stop: int = -1
    at: Callable[[], None] = field(default=lambda: os.kill(os.getpid(), signal.SIGKILL))
    count: int = 0
    active: bool = False

    def __post_init__(self) -> None:
        sys.addaudithook(self._hear)

    @contextmanager
    def watching(self, ledger: Ledger) -> Iterator["Steps"]:
        """Count in this block."""
        event.listen(ledger.database.engine, "commit", self._step)
        self.active = True
        try:
            yield self
        finally:
            self.active = False
            event.remove(ledger.database.engine, "commit", self._step)

    def _hear(self, name: str, args: tuple[Any, ...]) -> None:
        if not self.active or name not in {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}:
            return
        if name == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
        self._step()

    def _step(self, *_: object) -> None:
        if not self.active:
            return
        self.count += 1
        if self.count == self.stop:
            self.at()


def forked(act: Callable[[], object]) -> bool:
    """Run something in a process of its own; whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return status == 0


def _jpeg(image: Image, quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _difference_hash(image: Image) -> int:
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    bits = (small[:, 1:] > small[:, :-1]).flatten()
    return int("".join("1" if bit else "0" for bit in bits), 2)
