import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.compat import program
from tests.compat.comparing import stored
from tests.compat.places import FIXTURES, MODELS, PLACE


@pytest.fixture(scope="session")
def old_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the fixtures that knows where it lies."""
    folder = tmp_path_factory.mktemp("compat") / "kept"
    shutil.copytree(FIXTURES, folder)
    for file in folder.glob("*/*.json"):
        file.write_text(file.read_text("utf-8").replace(PLACE, str(folder)), "utf-8")
    return folder


def environment(home: Path, old_files: Path) -> dict[str, str]:
    """An installation with the embedded models and the tiny base, without the invisible mark, which is newer."""
    return {
        "PORTRAIT_HOME": str(home),
        "PORTRAIT_MODELS__FOLDER": str(MODELS),
        "PORTRAIT_BASES__TINY__PATH": str(old_files / "tiny-base"),
        "PORTRAIT_TRAIN__EXAM__EVERY": "0",
        "PORTRAIT_DRAW__REDRAWS": "0",
        "PORTRAIT_MARKS__INVISIBLE": "false",
    }


@contextmanager
def client_of(owner: str, app: FastAPI) -> Iterator[TestClient]:
    """The API, asked with the key that somebody had."""
    key = {"Authorization": f"Bearer {stored('known.json')['secrets'][owner]}"}
    with TestClient(app, base_url="http://testserver/v1", headers=key) as client:
        yield client


@pytest.fixture
def new_home(tmp_path: Path, old_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such an installation for commands, without a ledger."""
    for name in [name for name in os.environ if name.startswith("PORTRAIT_")]:
        monkeypatch.delenv(name)
    for name, value in environment(tmp_path / "home", old_files).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "home"


@pytest.fixture
def old_home(new_home: Path) -> Path:
    """The installation of the fixtures, with ledger and files."""
    shutil.copytree(FIXTURES / "home", new_home)
    return new_home


@pytest.fixture
def ann(old_home: Path) -> Iterator[TestClient]:
    """The API of that installation, asked by the person who owns what is there."""
    with client_of("ann", program.api(os.environ)) as client:
        yield client


@pytest.fixture(scope="session")
def shared_client(old_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same for tests that only look: opened once."""
    home = tmp_path_factory.mktemp("looking") / "home"
    shutil.copytree(FIXTURES / "home", home)
    with client_of("ann", program.api(environment(home, old_files))) as client:
        yield client


@pytest.fixture
def operator(shared_client: TestClient) -> TestClient:
    """The same, asked by the operator."""
    key = {"Authorization": f"Bearer {stored('known.json')['secrets']['olga']}"}
    return TestClient(shared_client.app, base_url="http://testserver/v1", headers=key)
