"""How cost grows with size over three decades: people, jobs and portraits of an owner, photos of a set, pixels of a photo."""

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from pipelines import image_io
from pipelines.prepare import Overrides, Prepare
from pipelines.settings import PrepareSettings
from portrait.photos.quality import judge
from portrait.photos.reasons import Thresholds
from tasks.ledger.ledger import Ledger
from tasks.ledger.pictures import PortraitSort
from tasks.ledger.tables import metadata
from tests import fakes, selfies
from tests.benchmarks import growth_plot, ledger_rows
from tests.benchmarks.made import quiet
from tests.benchmarks.plugin import Record
from tests.tasks.api.harness import ApiHarness, environment, open_api

MOST = 1.15
"""Exponent of what is taken for linear: constant parts make it smaller, noise a little larger."""
MOST_OF_A_PAGE = 0.5
"""The same of pages, of which lists are full at 200 people: from there on nothing may grow with all that an owner has."""
ROUNDS, PAGE_ROUNDS = 3, 9
PEOPLE, PHOTOS, MEGAPIXELS = (2, 20, 200, 2000), (1, 10, 100, 1000), (0.1, 1.0, 10.0, 100.0)
OWNER = "ann"
PORTRAITS = "/portraits?recipe=false"
PAGES = {
    "person": (
        "/people",
        "/jobs",
        PORTRAITS,
        f"{PORTRAITS}&cursor={{newest}}",
        f"{PORTRAITS}&sort=likeness",
        f"{PORTRAITS}&sort=likeness&cursor={{likeness}}",
        f"{PORTRAITS}&favourite=true",
        f"{PORTRAITS}&person={{person}}",
        "/me",
    ),
    "operator": ("/operator/jobs", "/operator/queues", "/metrics"),
}
"""Of a person: also pages from the middle of lists, those of one person, and favourites, of which there are none."""


def exponent(costs: Mapping[float, float]) -> float:
    """Of the power of the size with which the cost grows: of a fit to all sizes, or from the last but one to the last if more.

    A part that grows faster than the rest shows at the end first.
    """
    sizes, values = (np.log(np.array(list(each), np.float64)) for each in (costs.keys(), costs.values()))
    fitted = np.polyfit(sizes, values, 1)[0]
    return float(max(fitted, (values[-1] - values[-2]) / (sizes[-1] - sizes[-2])))


def cost(act: Callable[[], object], rounds: int = ROUNDS) -> float:
    """CPU seconds, the median of a few rounds after one to warm up."""
    act()
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        act()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def tell(what: str, unit: str, costs: Mapping[float, float], figure: Record, most: float = MOST) -> None:
    """A line of costs by size, and the figure."""
    found = " · ".join(f"{size:g} {1000 * seconds:.1f} ms" for size, seconds in costs.items())
    sys.stdout.write(f"{what}, {unit}: {found}\n")
    figure(f"Growth of {what} with {unit}", exponent(costs), "exponent", at_most=most, compared=False)


def test_the_exponent_is_that_of_the_part_that_grows_fastest_at_the_end() -> None:
    sizes = (1.0, 10.0, 100.0, 1000.0)
    assert exponent({size: 3 * size for size in sizes}) == pytest.approx(1)
    assert exponent(dict.fromkeys(sizes, 5.0)) == pytest.approx(0)
    assert exponent({size: size * math.sqrt(size) for size in sizes}) == pytest.approx(1.5)
    assert exponent({size: 5 + size for size in sizes}) < 1
    assert exponent({size: 100 * size + size**2 for size in sizes}) > 1.7


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[float, float]]:
    """CPU seconds of each page, by the number of people of one owner; each has 12 jobs, 40 portraits and 12 photos."""
    found: dict[str, dict[float, float]] = {path: {} for paths in PAGES.values() for path in paths}
    with open_api(environment(tmp_path_factory.mktemp("growth"))) as api:
        clients = {role: api.client(OWNER, "person" if role == "person" else "operator") for role in PAGES}
        for before, people in zip((0, *PEOPLE), PEOPLE, strict=False):
            fill(api.context.ledger, range(before, people))
            named = places(api.context.ledger, people)
            for role, paths in PAGES.items():
                for path in paths:
                    address = path.format(**named)
                    found[path][people] = cost(
                        lambda to=address, role=role: answered(api, clients[role], to), PAGE_ROUNDS
                    )
    return found


def places(ledger: Ledger, people: int) -> dict[str, str]:
    """What the addresses of pages name: cursors of the middle of each list, and the newest person."""
    sorts: tuple[PortraitSort, ...] = ("newest", "likeness")
    half = people * (ledger_rows.JOBS - 2) * ledger_rows.PORTRAITS // 2
    cursors = {sort: ledger.portraits.list(OWNER, limit=half, sort=sort, recipes=False).next or "" for sort in sorts}
    return {**cursors, "person": ledger.people.list(OWNER, limit=1).items[0].id}


def answered(api: ApiHarness, client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text


def fill(ledger: Ledger, numbers: Sequence[int]) -> None:
    """Rows of so many people of one owner."""
    every = [ledger_rows.rows_of(number, 1.8e9) for number in numbers]
    with ledger.database.write() as connection:
        for table in ledger_rows.TABLES[1:]:
            rows = [row | ({"owner": OWNER} if "owner" in row else {}) for each in every for row in each[table]]
            connection.execute(sa.insert(metadata.tables[table]), rows)


@pytest.mark.bench
@pytest.mark.parametrize("path", [path for paths in PAGES.values() for path in paths])
def test_pages_of_an_owner(pages: dict[str, dict[float, float]], path: str, figure: Record) -> None:
    tell(f"GET {path}", "people", pages[path], figure, MOST_OF_A_PAGE)


@pytest.mark.bench
def test_photos_of_a_set(tmp_path: Path, figure: Record) -> None:
    flow = Prepare(fakes.FakeFinder(), fakes.FakeRestorer(), None, PrepareSettings(), Thresholds(full_size=100))
    paths = [fakes.save(tmp_path / f"{number:04}.png", fakes.picture(1, number, 1000)) for number in range(PHOTOS[-1])]
    costs = {
        float(count): cost(lambda count=count: flow(paths[:count], Overrides(), quiet), 3 if count < 100 else 1)
        for count in PHOTOS
    }
    tell("preparing a set", "photos", costs, figure)


@pytest.fixture(scope="module")
def photos() -> dict[float, bytes]:
    """JPEG files by megapixels."""
    whole = selfies.astronaut()
    return {
        megapixels: selfies.jpeg(np.asarray(cv2.resize(whole, (side := round(1000 * megapixels**0.5), side)), np.uint8))
        for megapixels in MEGAPIXELS
    }


@pytest.mark.bench
def test_pixels_of_a_photo(photos: dict[float, bytes], figure: Record) -> None:
    decoding: dict[float, float] = {}
    judging: dict[float, float] = {}
    for megapixels, content in photos.items():
        decoding[megapixels] = cost(lambda content=content: image_io.decode(content, ""))
        image = image_io.decode(content, "").image
        face = fakes.face(image)
        judging[megapixels] = cost(lambda image=image, face=face: judge(image, face, 1, Thresholds()))
    tell("decoding a JPEG", "megapixels", decoding, figure)
    tell("judging a face that fills its photo", "megapixels", judging, figure)


def test_the_plot_is_that_of_the_table() -> None:
    found = list(growth_plot.lines(growth_plot.PAGE.read_text("utf-8")))
    assert len(found) >= 15
    assert growth_plot.PLOT.read_text("utf-8") == growth_plot.draw(found), "python -m tests.benchmarks.growth_plot"
    assert {line.name: line.sizes[-1] / line.sizes[0] for line in found}["/me"] == 1000
