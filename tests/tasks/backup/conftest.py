import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.files import Files
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.journal import ErasureJournal
from tasks.ledger.upkeep.copying import copy_ledger
from tests.tasks.conftest import create_database
from tests.tasks.ledger.upkeep.conftest import filled_ledger


@dataclass
class Place:
    """An installation of a test: database, data folder, journal, keys of marks."""

    home: Path
    url: str

    @property
    def database(self) -> Database:
        return Database(self.url)

    @property
    def files(self) -> Files:
        return Files(self.home / "data")

    @property
    def journal(self) -> Path:
        return self.home / "erasures.jsonl"

    @property
    def marks(self) -> Path:
        return self.home / "marks"

    def ledger(self) -> Ledger:
        return Ledger(self.database, ErasureJournal(self.journal))

    def pictures(self) -> dict[str, bytes]:
        """Every file that is kept, by its path."""
        kept = (self.home / "data").rglob("*")
        return {str(path.relative_to(self.home)): path.read_bytes() for path in kept if path.is_file()}


@pytest.fixture
def place_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    """An installation without tables and files, on `sqlite` or `postgresql`."""

    def make(kind: str) -> Place:
        home = tmp_path / secrets.token_hex(4)
        home.mkdir()
        if kind == "sqlite":
            return Place(home, f"sqlite:///{home / 'ledger.db'}")
        server = request.getfixturevalue("started")("postgresql")
        return Place(home, create_database(server, f"b{secrets.token_hex(6)}"))

    return make


@pytest.fixture
def full(place_of: Callable[[str], Place]) -> Place:
    """An installation with rows in every table, and the files of these rows."""
    place = place_of("sqlite")
    (place.home / "ledger.db").write_bytes(filled_ledger())
    write_files(place)
    ErasureJournal(place.journal).update(place.database)  # as a keeper does
    return place


def moved(full: Place, place: Place) -> Place:
    """The same on another database."""
    copy_ledger(full.database, place.database)
    write_files(place)
    return place


def write_files(place: Place) -> None:
    files = place.files
    for number, path in enumerate(
        [
            files.selfie("ann", "person_1", "selfie_1"),
            files.training_set("ann", "person_1", "set_1") / "set.json",
            files.training_set("ann", "person_1", "set_1") / "crops" / "0001.png",
            files.portrait("ann", "job_1", "01.jpg"),
            files.template("ann", "template_1"),
            files.template("ann", "template_2"),
            files.style("film", 2) / "style.toml",
            files.preview("job_2"),
            files.work_dir("ann", "person_1", "job_2") / "checkpoint.safetensors",
            files.staging("job_2", "t") / "half.png",
            place.files.incoming / "upload",
        ]
    ):
        files.save([b"%d" % number * (number * 40_000 + 1)], path, 10**9)
    place.marks.mkdir()
    (place.marks / "signing.pem").write_bytes(b"secret")
    (place.marks / "installation.json").write_bytes(b"{}")
