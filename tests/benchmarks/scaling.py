"""What an installation takes and costs for so many people: the tables of docs/scaling.md, from assumptions that are named.

`python -m tests.benchmarks.scaling` writes them into the page; `… 50000 --gpu 1.5 --storage 0.02` says what 50,000 people cost
at prices of one's own, a month.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tests.benchmarks import claim_scenarios
from tests.benchmarks.ledger_rows import EVENTS, JOBS, PHOTOS, PORTRAITS

MONTH = 30 * 86_400.0
"""Seconds for which what nobody uses is kept, by default, and in which people are counted."""
PEOPLE = (1_000, 1_000_000, 100_000_000)


@dataclass(frozen=True, slots=True)
class Network:
    """A base's denoiser, counted without weights by `network_costs.py`."""

    rank: int
    """Of its family's LoRAs."""
    factors: int
    """Numbers of a LoRA for each rank."""
    teraflop: float
    """Of one pass for one picture of its own size."""
    steps: int
    """Of the preset `balanced`, or of the distilled base."""
    guided: float
    """Share of the steps that take two passes."""
    validated: int = 2
    """Passes of a step of the pictures of validations."""

    def lora_bytes(self, rank: int) -> int:
        """One file of a LoRA of this rank, in float32."""
        return 4 * rank * self.factors

    def drawing_teraflop(self) -> float:
        """Of one portrait."""
        return self.steps * (1 + self.guided) * self.teraflop

    def learning_teraflop(self) -> float:
        """Of one person: the steps with light checkpointing, and the pictures of all validations and of the final choice."""
        pictures = STEPS / VALIDATED_EVERY * VALIDATION_PICTURES + FINAL_PICTURES
        return (STEPS * STEP_PASSES + pictures * VALIDATION_STEPS * self.validated) * self.teraflop


STEPS, STEP_PASSES = 800, 2.3
"""Of a training (docs/training.md), and the passes that a step comes to with light gradient checkpointing."""
VALIDATED_EVERY, VALIDATION_PICTURES, FINAL_PICTURES, VALIDATION_STEPS = 100, 4, 24, 20
"""Of `[train.exam]`: steps between two validations, pictures of each, pictures of the final choice, steps of a picture."""
SPEED_SHARE = 0.35
"""Of a card's published speed that a whole network reaches: what `portrait train --plan` assumes."""
CARDS: Mapping[str, float] = {"L4": 121, "A100": 312, "H100": 989}
"""Published teraflops a second of dense bfloat16, by NVIDIA's data sheets."""
NETWORKS: Mapping[str, Network] = {
    "sd15": Network(32, 199_296, 0.812, 25, 0.8),
    "sdxl": Network(16, 1_451_520, 6.803, 25, 0.8),
    "flux2_klein": Network(32, 1_167_360, 35.128, 4, 0.0),
    "sd35_medium": Network(16, 586_752, 11.291, 28, 1.0),
    "zimage": Network(32, 921_600, 62.778, 28, 1.0),
    "flux_dev": Network(16, 2_918_400, 74.746, 28, 0.0, 1),
    "qwenimage": Network(16, 1_474_560, 78.497, 30, 1.0),
}
ROW_BYTES: Mapping[str, Mapping[str, int]] = {
    "sqlite": {
        "owners": 90,
        "people": 186,
        "consents": 325,
        "selfies": 914,
        "jobs": 887,
        "job_people": 205,
        "job_events": 203,
        "training_sets": 8290,
        "identities": 276,
        "portraits": 1106,
    },
    "postgresql": {
        "owners": 175,
        "people": 300,
        "consents": 437,
        "selfies": 980,
        "jobs": 998,
        "job_people": 213,
        "job_events": 233,
        "training_sets": 1180,
        "identities": 388,
        "portraits": 1226,
    },
}
"""Bytes of a row with its part of the indexes: measured with 1,500 owners."""
ROWS: Mapping[str, int] = {
    "owners": 1,
    "people": 1,
    "consents": 1,
    "selfies": PHOTOS,
    "jobs": JOBS,
    "job_people": JOBS,
    "job_events": JOBS * EVENTS,
    "training_sets": 1,
    "identities": 1,
    "portraits": (JOBS - 2) * PORTRAITS,
}
"""Rows of one person."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What one person does and leaves in a month; everybody counts who was active within the retention time."""

    base: str = "sdxl"
    card: str = "L4"
    photo_bytes: float = 4e6
    """Of a phone's photo of 12 megapixels."""
    set_bytes: float = 33e6
    """Measured: crops, references and report of a training set of twelve photos."""
    set_objects: int = 33
    identity_objects: int = 4
    portrait_bytes: float = 0.33e6
    """Measured: a studio portrait of 1024 × 1280 as JPEG."""
    reads: float = 3.0
    """Times that each portrait is fetched: small, large, taken home."""
    gets: int = 400
    """Requests that read, of pages and while jobs run …"""
    posts: int = 40
    """… and that write."""
    pages: int = 60
    """Pages of the app that are opened."""
    peak: float = 3.0
    """The busiest hour against the mean."""
    busy: float = 0.85
    """Share of its time in which a worker works, at most."""


GETS, POSTS = 93.0, 27.0
"""Measured requests a second of one API process on two cores that the worker and the servers shared (docs/benchmarks.md)."""
PAGE_SECONDS = 0.08
"""Measured: processor time of the script of a page, the longest of them (docs/benchmarks.md)."""
JOB_WRITES = 10
"""Other transactions of a job: its order, claim, portraits, end, and renewals of its lease."""
WRITES, CLAIMS = 5_000.0, 100.0
"""Transactions a second that one ledger is assumed to write, on a server of 16 cores: ten times what was measured here on two;
and claims of one queue, which go one after the other, each within ten milliseconds beside a million jobs."""
REPORTS = 2.0
"""Reports of progress a second of a running job: each updates its row and writes an event."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """What so many people take in a month."""

    photos: float
    """Bytes …"""
    sets: float
    loras: float
    portraits: float
    objects: float
    rows: float
    ledger: float
    """Bytes of the ledger on PostgreSQL."""
    jobs: float
    """A second, on the mean."""
    jobs_peak: float
    gpu_hours: float
    drawing: float
    """Cards that draw at the peak …"""
    learning: float
    """… and that learn, which may wait for the night."""
    apis: float
    """API processes at the peak …"""
    apps: float
    """… and those of the app."""
    ledgers: float
    writes: float
    """Transactions a second at the peak for progress and states of jobs."""
    incoming: float
    """Bytes that people send …"""
    outgoing: float
    """… and fetch."""
    puts: float
    """Requests to the object storage that write …"""
    gets: float
    """… and read."""

    @property
    def stored(self) -> float:
        """Bytes of all files."""
        return self.photos + self.sets + self.loras + self.portraits


def amounts(people: float, given: Assumptions = Assumptions()) -> Amounts:
    """What so many people take, each as assumed."""
    network, speed = NETWORKS[given.base], CARDS[given.card] * SPEED_SHARE
    portraits, jobs = ROWS["portraits"], people * JOBS / MONTH
    draw, learn = network.drawing_teraflop() / speed, network.learning_teraflop() / speed
    drawing = people * portraits * draw / MONTH * given.peak / given.busy
    learning = people * learn / MONTH / given.busy
    requests = given.peak * people / MONTH
    writes = given.busy * (drawing + learning) * REPORTS + given.peak * jobs * JOB_WRITES
    objects = PHOTOS + given.set_objects + given.identity_objects + portraits
    return Amounts(
        photos=people * PHOTOS * given.photo_bytes,
        sets=people * given.set_bytes,
        loras=people * 2 * network.lora_bytes(network.rank),
        portraits=people * portraits * given.portrait_bytes,
        objects=people * objects,
        rows=people * sum(ROWS.values()),
        ledger=people * sum(count * ROW_BYTES["postgresql"][table] for table, count in ROWS.items()),
        jobs=jobs,
        jobs_peak=given.peak * jobs,
        gpu_hours=people * (portraits * draw + learn) / 3600,
        drawing=math.ceil(drawing),
        learning=math.ceil(learning),
        apis=math.ceil(requests * (given.gets / GETS + given.posts / POSTS)),
        apps=math.ceil(requests * given.pages * PAGE_SECONDS / given.busy),
        ledgers=math.ceil(max(writes / WRITES, given.peak * jobs / CLAIMS)),
        writes=writes,
        incoming=people * PHOTOS * given.photo_bytes,
        outgoing=people * portraits * given.portrait_bytes * given.reads,
        puts=people * objects,
        gets=people * (portraits * given.reads + PHOTOS + JOBS * (given.identity_objects + given.set_objects)),
    )


@dataclass(frozen=True, slots=True)
class Prices:
    """What is paid, in any currency; 0 until somebody says it."""

    gpu: float = 0.0
    """An hour of a card, with the machine around it."""
    storage: float = 0.0
    """A gigabyte of object storage, a month."""
    put: float = 0.0
    """A thousand requests that write."""
    get: float = 0.0
    """A thousand requests that read."""
    database: float = 0.0
    """A gigabyte of the database, a month."""
    egress: float = 0.0
    """A gigabyte that leaves for people."""
    process: float = 0.0
    """A process of API or app with a core and two gigabytes of memory, a month."""


def cost(taken: Amounts, prices: Prices) -> dict[str, float]:
    """What it costs a month, by kind."""
    return {
        "gpu": taken.gpu_hours * prices.gpu,
        "storage": taken.stored / 1e9 * prices.storage,
        "put": taken.puts / 1e3 * prices.put,
        "get": taken.gets / 1e3 * prices.get,
        "database": taken.ledger / 1e9 * prices.database,
        "egress": taken.outgoing / 1e9 * prices.egress,
        "process": (taken.apis + taken.apps) * prices.process,
    }


def number(value: float) -> str:
    """A number of three digits at most and its thousands: 94 GB is `94 G` with a unit behind."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g} "


def short(value: float) -> str:
    """A small number, with a decimal below ten."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def lora_table() -> Iterator[str]:
    """Sizes of a person's LoRA by base and rank, both files together."""
    ranks = (4, 8, 16, 32, 64)
    yield f"| base | its rank | {' | '.join(f'rank {rank}' for rank in ranks)} | of 1 M people at its rank |"
    yield "|" + "---|" * (len(ranks) + 3)
    for name, each in NETWORKS.items():
        sizes = " | ".join(f"{2 * each.lora_bytes(rank) / 1e6:.0f} MB" for rank in ranks)
        yield f"| {name} | {each.rank} | {sizes} | {number(1e6 * 2 * each.lora_bytes(each.rank))}B |"


def gpu_table() -> Iterator[str]:
    """Seconds of a card for a portrait and for learning a person."""
    yield f"| base | a pass, TFLOP | steps | {' | '.join(f'{card}: portrait s, learning min' for card in CARDS)} |"
    yield "|" + "---|" * (len(CARDS) + 3)
    for name, each in NETWORKS.items():
        seconds = [(each.drawing_teraflop(), each.learning_teraflop())[at] / SPEED_SHARE for at in range(2)]
        cells = " | ".join(f"{short(seconds[0] / speed)}, {short(seconds[1] / speed / 60)}" for speed in CARDS.values())
        yield f"| {name} | {each.teraflop:.2f} | {each.steps} | {cells} |"


def row_table() -> Iterator[str]:
    """Bytes of rows, and of a person's."""
    yield "| table | rows a person | SQLite bytes a row | PostgreSQL bytes a row | a person on PostgreSQL |"
    yield "|---|---|---|---|---|"
    for table, count in ROWS.items():
        light, full = ROW_BYTES["sqlite"][table], ROW_BYTES["postgresql"][table]
        yield f"| {table} | {count} | {light} | {full} | {number(count * full)}B |"
    whole = sum(count * ROW_BYTES["postgresql"][table] for table, count in ROWS.items())
    yield f"| all | {sum(ROWS.values())} | | | {number(whole)}B |"


LINES: Mapping[str, tuple[str, str]] = {
    "photos": ("photos", "B"),
    "sets": ("training sets", "B"),
    "loras": ("LoRAs", "B"),
    "portraits": ("portraits", "B"),
    "objects": ("files, or objects", ""),
    "rows": ("rows of the ledger", ""),
    "ledger": ("ledger on PostgreSQL", "B"),
    "jobs": ("jobs a second, mean", ""),
    "jobs_peak": ("jobs a second, peak", ""),
    "gpu_hours": ("GPU hours", ""),
    "drawing": ("cards that draw", ""),
    "learning": ("cards that learn", ""),
    "apis": ("API processes", ""),
    "apps": ("app processes", ""),
    "ledgers": ("ledgers", ""),
    "writes": ("ledger transactions a second of running jobs, peak", ""),
    "incoming": ("sent by people", "B"),
    "outgoing": ("fetched by people", "B"),
    "puts": ("storage requests that write", ""),
    "gets": ("storage requests that read", ""),
}


def people_table(given: Assumptions = Assumptions()) -> Iterator[str]:
    """What so many people take in a month."""
    columns = [amounts(people, given) for people in PEOPLE]
    yield f"| a month, or at once | {' | '.join(f'{people:,} people' for people in PEOPLE)} |"
    yield "|" + "---|" * (len(PEOPLE) + 1)
    for name, (title, unit) in LINES.items():
        cells = " | ".join(f"{number(getattr(each, name))}{unit}".strip() for each in columns)
        yield f"| {title} | {cells} |"


TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "loras": lora_table,
    "gpu": gpu_table,
    "rows": row_table,
    "people": people_table,
    "claims": claim_scenarios.table,
}
"""Of docs/scaling.md, by the name in the comment before each."""
PAGE = Path(__file__).parent.parent.parent / "docs" / "scaling.md"
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n\n)(?:\|[^\n]*\n)*\n?")


def filled(text: str) -> str:
    """The page with its tables as they are computed now."""
    return _PLACE.sub(lambda found: found[1] + "\n".join(TABLES[found[2]]()) + "\n\n", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("people", type=float, nargs="?", help="How many people; without it the page is written.")
    for each in fields(Prices):
        parser.add_argument(f"--{each.name}", type=float, default=0.0)
    given = parser.parse_args()
    if given.people is None:
        PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
        return
    paid = cost(amounts(given.people), Prices(**{each.name: getattr(given, each.name) for each in fields(Prices)}))
    lines = [*(f"{name:10} {value:14,.2f}" for name, value in paid.items()), f"{'all':10} {sum(paid.values()):14,.2f}"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
