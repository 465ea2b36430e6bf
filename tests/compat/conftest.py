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
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the fixtures that knows where it lies."""
    folder = tmp_path_factory.mktemp("compat") / "kept"
    shutil.copytree(FIXTURES, folder)
    for file in folder.glob("*/*.json"):
        file.write_text(file.read_text("utf-8").replace(PLACE, str(folder)), "utf-8")
    return folder


def environment(home: Path, kept: Path) -> dict[str, str]:
    """An installation with the embedded models and the tiny base."""
    return {
        "PORTRAIT_HOME": str(home),
        "PORTRAIT_MODELS__FOLDER": str(MODELS),
        "PORTRAIT_BASES__TINY__PATH": str(kept / "tiny-base"),
        "PORTRAIT_TRAIN__EXAM__EVERY": "0",
        "PORTRAIT_DRAW__REDRAWS": "0",
    }


@contextmanager
def asked_by(owner: str, app: FastAPI) -> Iterator[TestClient]:
    """The API, asked with the key that somebody had."""
    key = {"Authorization": f"Bearer {stored('told.json')['secrets'][owner]}"}
    with TestClient(app, base_url="http://testserver/v1", headers=key) as client:
        yield client


@pytest.fixture
def new_home(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such an installation for commands, without a ledger."""
    for name in [name for name in os.environ if name.startswith("PORTRAIT_")]:
        monkeypatch.delenv(name)
    for name, value in environment(tmp_path / "home", kept).items():
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
    with asked_by("ann", program.api(os.environ)) as client:
        yield client


@pytest.fixture(scope="session")
def looking(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same for tests that only look: opened once."""
    home = tmp_path_factory.mktemp("looking") / "home"
    shutil.copytree(FIXTURES / "home", home)
    with asked_by("ann", program.api(environment(home, kept))) as client:
        yield client


@pytest.fixture
def operator(looking: TestClient) -> TestClient:
    """The same, asked by the operator."""
    key = {"Authorization": f"Bearer {stored('told.json')['secrets']['olga']}"}
    return TestClient(looking.app, base_url="http://testserver/v1", headers=key)
