import gc
import os
import ssl
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
import typer.testing
from httpx._config import create_ssl_context
from xdist.scheduler.loadfile import LoadFileScheduling

from pipelines import build
from pipelines.engines import Engines
from pipelines.marks.marks import Marks, open_marks
from pipelines.settings import MarkSettings, Settings
from portrait.arrays import Image
from portrait.ports import FaceFinder, Matter
from portrait.types import Face
from tasks.settings import home as data_folder
from tasks.settings import load
from tests import selfies

pytest_plugins = ["tests.benchmarks.plugin"]

# Matting is compiled once per installation: the tests read what `portrait models pull` compiled.
os.environ.setdefault("NUMBA_CACHE_DIR", str(data_folder() / "cache" / "numba"))

# Detail for a small face takes 10 seconds: it is tested for itself, and the photos of all other tests stay as they are.
SMALL_FACE = ("PORTRAIT_PREPARE__SMALL_FACE", "0")
os.environ.setdefault(*SMALL_FACE)

GARBAGE = 20_000
"""New objects after which the garbage collector looks for those that nobody holds any more; Python's own number is 700."""
REAL = {"engines", "finder", "matter"}
"""Fixtures that load the embedded models; tests that ask for one are marked `models`."""


SERVICES = (
    "test_chaos",
    "test_claims.py",
    "test_worker.py",
    *("storage/test_s3.py", "storage/test_storage.py", "storage/test_people.py", "storage/test_jobs.py"),
    "database_is_locked",
    "[postgresql",
    "[redis",
    "[rabbitmq",
    "[seaweedfs",
)
"""What is in the name of tests that start servers or worker processes; they are marked `services`."""


NETWORKS = (
    *("tests/pipelines/diffusion/", "tests/pipelines/test_train.py", "tests/faceworld"),
    *(f"engines/{folder}/" for folder in ("trainers", "identities", "guards", "features", "controls")),
    *("painters/test_diffusion", "painters/test_inpaint", "test_parsers", "test_realesrgan", "test_restoreformer"),
    *("painters/test_facechain", "upscalers/test_esrgan"),
    *(
        "commands/test_make_diffusion",
        "commands/test_doctor_gpu",
        "commands/test_train",
        "commands/test_evaluate",
        "commands/test_prepare",
        "commands/test_picture_guard",
        "commands/test_identities",
        "commands/bases/",
        "commands/db/",
    ),
    *("commands/test_edit", "people/test_pages", "people/test_portrait", "people/test_idphotos", "server/test_"),
    *("people/test_progress", "api/test_orders", "api/test_before", "api/test_style_previews", "api/test_portraits_"),
    *(
        "tests/browser/",
        "api/test_jobs.py",
        "api/test_invitations",
        "privacy/test_undo",
        "queue/test_delivery",
        "test_card_samples",
        "api/test_keys",
    ),
    *(
        "tasks/test_drawing",
        "tasks/test_training",
        "tasks/test_editing",
        "tasks/test_flux2_story",
        "tasks/test_families_story",
        "tasks/test_templates",
        "test_reproduced_templates",
    ),
    *("tests/compat/", "terminal/test_packages", "test_a_contract_that_is_broken", "test_the_status_of_an_engine"),
    *(
        "test_story",
        "test_samples_diffusion",
        "app/test_foreign_texts",
        "pipelines/test_pictures",
        "tasks/test_erasing",
        "tasks/test_webhooks",
        "tasks/test_private_files",
        "tasks/backup/",
        "ledger/upkeep/",
        "queue/test_runner",
        "model_store/test_store",
        "marks/test_verify",
        "api/test_verify",
        "api/test_marked_doors",
        "commands/test_guards",
        "commands/terms/",
        "commands/ledger/",
        "api/test_guards",
        "people/test_guardian",
        "operators/test_guards",
        "plain/test_verify",
        "queue/test_guards",
        "queue/test_picture_guard",
        "api/test_picture_guard",
        "api/test_commercial",
        "model_store/test_add",
        "commands/test_style_loras",
        "api/test_models",
        "test_image_io",
        "tests/fuzz/",
        "api/test_openapi",
        "queue/test_retention_batches",
        "marks/test_invisible",
        "pipelines/test_photo_parts",
        "pipelines/test_large_pictures",
        "faces/test_scrfd",
        "mattes/test_modnet",
        "model_store/test_networks",
        "commands/test_styles",
        "monitoring/test_top",
        "monitoring/test_installation",
        "templates/test_cards",
        "serving/test_server",
        "processes/test_readiness",
        "ledger/test_holdings",
        "migrations/test_revisions",
        "test_dlib_network",
        "tasks/test_stand",
        "tasks/test_forked",
    ),
    *(
        f"api/test_{sweep}"
        for sweep in (
            "access",
            "inpainting",
            "hostile",
            "uploads",
            "styles",
            "middleware",
            "generation_options",
            "pagination",
            "quotas",
            "audit",
            "oidc",
            "sessions",
            "consents",
            "forgetting",
            "limits",
            "picture_pool",
            "guards",
            "picture_guard",
            "private_pictures",
            "style_lifecycle",
            "portraits",
            "idphotos",
            "edits",
        )
    ),
)
"""In the name of tests that build networks, run whole commands and pages, or sweep the API: seconds each, marked `networks`."""


LONGEST = (
    *(
        "tests/browser/",
        "tasks/test_story",
        "tasks/test_chaos",
        "tasks/test_topology",
        "queue/test_worker",
        "trainers/test_dreambooth",
        "commands/test_make",
    ),
    *("commands/test_prepare", "tasks/test_templates", "pipelines/diffusion/test_profiles", "server/test_supervisor"),
    *("api/test_contract", "painters/test_studio", "painters/test_inpaint_networks", "commands/test_edit"),
    *("base/test_lease", "base/test_quantised", "loras/test_slot", "tasks/test_families_story"),
    "tasks/test_printed_commands",
    "tests/test_house",
)
"""In the name of files that take longest, about in that order: begun first, so that none of them runs alone at the end."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of which nothing will run are not imported: PyTorch and diffusers alone take ten seconds."""
    inner = "not networks and not bench" in config.option.markexpr
    left_out = (*NETWORKS, *SERVICES, "tests/benchmarks") if inner else ()
    return True if any(name in collection_path.as_posix() for name in left_out) else None


class FileScheduling(LoadFileScheduling):
    """Files go to processes whole, and those of the browser all to one of them, which then starts the app once."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/browser" if nodeid.startswith("tests/browser/") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling | None:
    """Schedule `--dist loadfile`."""
    return FileScheduling(config, log) if config.getoption("dist") == "loadfile" else None


def _order(item: pytest.Item) -> int:
    """The place of an item's file in `LONGEST`."""
    return next((at for at, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_order)
    for item in items:
        if REAL & set(getattr(item, "fixturenames", ())):
            item.add_marker("models")
        if any(name in item.nodeid for name in SERVICES):
            item.add_marker("services")
        if any(name in item.nodeid for name in NETWORKS):
            item.add_marker("networks")


def pytest_configure() -> None:
    """The garbage collector comes less often: by its own measure it took an eighth of the time of the API's tests."""
    gc.set_threshold(GARBAGE, 10, 10)


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector, called often by what releases memory, need not look through it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After a file that builds networks, what it left for later ones stays too: libraries import much at their first use."""
    if item.get_closest_marker("networks") and (nextitem is None or nextitem.path != item.path):
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def commands_read_once() -> Iterator[None]:
    """Have typer make commands of functions once in a process: for all of `portrait` that takes longer than most commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Have httpx read the known certificates once in a process: each of its clients reads them, and few of them need any."""

    @cache
    def known(*given: Any, file: str, folder: str, **more: Any) -> ssl.SSLContext:
        return create_ssl_context(*given, **more)

    def create(*given: Any, **more: Any) -> ssl.SSLContext:
        places = {"file": os.environ.get("SSL_CERT_FILE", ""), "folder": os.environ.get("SSL_CERT_DIR", "")}
        return known(*given, **places, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx._transports.default, "create_ssl_context", create)
        yield


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Those of this machine, with keys of marks of their own."""
    return replace(load(), marks=MarkSettings(tmp_path_factory.mktemp("settings") / "marks"))


@pytest.fixture(scope="session")
def engines(settings: Settings) -> Iterator[Engines]:
    """The embedded engines with their real models; `make models` brings them."""
    with build.open_engines(settings) as engines:
        yield engines


@pytest.fixture(scope="session")
def finder(engines: Engines) -> FaceFinder:
    return engines.finder()


@pytest.fixture(scope="session")
def matter(engines: Engines) -> Matter:
    return engines.matter()


@pytest.fixture(scope="session")
def astronaut() -> Image:
    return selfies.astronaut()


@pytest.fixture(scope="session")
def astronaut_face(finder: FaceFinder, astronaut: Image) -> Face:
    return finder.faces(astronaut)[0]


@pytest.fixture(scope="session")
def group_faces(finder: FaceFinder) -> list[Face]:
    """The six of the group photo, from left to right, all embedded."""
    return sorted(finder.faces(selfies.group(), embedded=6), key=lambda face: face.box.left)


@pytest.fixture(scope="session")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Marks:
    """The marks of an installation, all that are on by default."""
    return open_marks(MarkSettings(tmp_path_factory.mktemp("installation") / "marks"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own, without settings and models."""
    for name in [name for name in os.environ if name.startswith("PORTRAIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(*SMALL_FACE)
    return tmp_path / "home"
