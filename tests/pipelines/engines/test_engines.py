"""What holds for every engine: found by name, honest about what it needs, silent on the network."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import engines as engines_package
from pipelines.engines import FOLDERS, Engines, engine_module, engine_names, status
from pipelines.model_store.store import ModelStore
from pipelines.settings import EngineNames, ModelStoreSettings, Settings
from portrait.arrays import Image
from portrait.errors import OperatorError

ALL = [(folder, name) for folder in FOLDERS for name in engine_names(folder)]


@pytest.fixture
def bare(tmp_path: Path) -> Settings:
    """An installation without a single model."""
    return Settings(models=ModelStoreSettings(folder=tmp_path))


def ask(engine: Any, name: str, settings: Settings) -> None:
    """Ask a painter for its base: a request may name the place of one, so these are made without."""
    {"diffusion": lambda: engine, "inpaint": lambda: engine._painter}[name]()._bases(settings.draw.base)


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_the_status_of_an_engine_without_its_models_names_the_command(bare: Settings, folder: str, name: str) -> None:
    models = ModelStore(bare.models)
    needs = status(folder, name, bare, models)
    commands = ("portrait models pull", "portrait models add", "make install")
    assert all(any(command in each for command in commands) for each in needs)
    if needs:
        with pytest.raises(OperatorError) as caught:
            ask(engine_module(folder, name).make(bare, models, Engines(bare, models)), name, bare)
        assert caught.value.code == "missing_model"


@pytest.mark.parametrize("name", ["nobody", "../models", "Blazeface", "", "__init__"])
def test_unknown_names_list_the_known_ones(name: str) -> None:
    with pytest.raises(OperatorError, match="blazeface, scrfd") as caught:
        engine_module("faces", name)
    assert caught.value.code == "unknown_engine"


def test_a_missing_library_is_an_operator_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    monkeypatch.delitem(sys.modules, "pipelines.engines.faces.blazeface", raising=False)
    with pytest.raises(OperatorError) as caught:
        engine_module("faces", "blazeface")
    assert caught.value.code == "missing_library"


def test_an_engine_is_made_once_and_closed_at_the_end(monkeypatch: pytest.MonkeyPatch, bare: Settings) -> None:
    made: list[str] = []

    class Engine:
        def close(self) -> None:
            made.append("closed")

    class File:
        @staticmethod
        def make(*_: object) -> Engine:
            made.append("made")
            return Engine()

    monkeypatch.setattr(engines_package, "engine_module", lambda folder, name: File)
    with Engines(bare, ModelStore(bare.models)) as engines:
        assert engines.finder() is engines.finder()
    assert made == ["made", "closed"]


def test_no_engine_opens_a_connection(engines: Engines, astronaut: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every socket closed each engine whose models are here is made anew and does its work."""

    def refuse(*words: object, **more: object) -> None:
        raise AssertionError("something opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    settings = engines._settings
    with Engines(settings, ModelStore(settings.models)) as fresh:
        face = fresh.finder().faces(astronaut)[0]
        assert fresh.matter().matte(astronaut, face).shape == astronaut.shape[:2]
        assert fresh.restorer().restore(astronaut, face).shape == astronaut.shape


def test_only_the_chosen_engine_loads_its_libraries() -> None:
    program = (
        "import sys\nfrom pipelines.engines import engine_module\nengine_module('restorers', 'classic')\n"
        "print([name for name in ('mediapipe', 'dlib', 'insightface', 'onnxruntime', 'torch') if name in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"


def test_settings_name_only_engines_that_exist() -> None:
    chosen = EngineNames()
    assert chosen.faces in engine_names("faces")
    assert chosen.mattes in engine_names("mattes")
    assert chosen.restorers in engine_names("restorers")
