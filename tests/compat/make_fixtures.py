"""Writes `fixtures/`: what version 0.1.0 of the program left on disk and showed, for the tests beside this file to read.

It was run once, with version 0.1.0, after `portrait models pull`, on one thread:

    OMP_NUM_THREADS=1 python -m tests.compat.make_fixtures

Run again it would write what the present program writes, and the tests would prove nothing about 0.1.0. Pictures are made
from scikit-image's astronaut (NASA, public domain).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import PIL.Image

from tests.compat import comparing, documents, facts, make_home, make_portraits, program, streams, terminal, tiny_base
from tests.compat.make_portraits import BASE, IDENTITY, SET, TOKEN
from tests.compat.places import FIXTURES, HERE, MODELS, PLACE

TINY = ("--steps", "4", "--rank", "2", "--batch", "1", "--rate", "0.02")
BACKDROP = (48, 60, 3)
"""Width, height and seed of each backdrop of the sheet."""

answered: dict[str, list[str]] = {}
"""Fields of what commands answer with `--json`, by their words."""


def run(*words: object) -> dict[str, Any]:
    """The answer of a command; the fields that all its answers have are kept."""
    given = terminal.as_json(words)
    answer = subprocess.run([sys.executable, "-m", "app", *given], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"{given}: {answer.stdout}{answer.stderr}")
    document = json.loads(answer.stdout)
    name, parts = terminal.name_of(given), documents.parts(document)
    answered[name] = sorted(parts & set(answered.get(name, parts)))
    return document


def shown() -> None:
    """What users see of the program without work of its own."""
    documents.written(FIXTURES / "commands.json", facts.commands())
    documents.written(FIXTURES / "settings.json", facts.settings())
    documents.written(FIXTURES / "engines.json", program.engine_names())
    documents.written(FIXTURES / "errors.json", facts.errors())
    told = {"streams": {each.use: each.to_dict() for each in streams.all_streams()}, "seeds": streams.sequences()}
    documents.written(FIXTURES / "streams.json", {**told, "noise": streams.noise()})
    styles = run("styles", "list")["styles"]
    models = run("models", "list")["models"]
    presets = run("idphoto", "--list")["presets"]
    schema = run("styles", "schema")
    del answered["styles schema"]
    named = {
        "styles": {each["id"]: each["version"] for each in styles},
        "models": {each["name"]: each["files"] for each in models},
        "presets": {each["id"]: each["pixels"] for each in presets},
        "backdrops": program.backdrop_names(),
        "addresses": program.addresses(),
        "cookies": program.cookies(),
        "style.toml": facts.fields(schema, schema.get("$defs", {})),
    }
    documents.written(FIXTURES / "names.json", named)
    rows = [program.backdrop(name, *BACKDROP) for name in program.backdrop_names()]
    PIL.Image.fromarray(cv2.hconcat(rows)).save(FIXTURES / "backdrops.png")


def configured() -> None:
    """What every key of a settings file and some variables of the environment come to."""
    folder = FIXTURES / "settings"
    folder.mkdir()
    shutil.copyfile(HERE / "given" / "portrait.toml", folder / "portrait.toml")
    environment = {
        "PORTRAIT_HOME": "/srv/portrait",
        "PORTRAIT_SETTINGS": str(folder / "portrait.toml"),
        "PORTRAIT_HUB_TOKEN": "hf_made_up",
        "PORTRAIT_PREPARE__MOST": "13",
        "PORTRAIT_DRAW__PRESET": "best",
        "PORTRAIT_TRAIN__EXAM__EVERY": "25",
        "PORTRAIT_BASES__OTHER__PATH": "/srv/bases/other.safetensors",
        "PORTRAIT_TASKS__DATABASE": "postgresql://portrait:made-up@ledger.example/portrait",
        "PORTRAIT_TASKS__BROKER": "redis://broker.example/3",
        "PORTRAIT_TASKS__QUOTAS__JOBS": "4",
        "PORTRAIT_TASKS__LEASE__HEARTBEAT": "2.5",
    }
    values = program.settings(environment)
    documents.written(folder / "environment.json", environment)
    documents.written(folder / "values.json", values)


def main() -> None:
    """All of it, in a home of its own."""
    shutil.rmtree(FIXTURES, ignore_errors=True)
    FIXTURES.mkdir()
    with tempfile.TemporaryDirectory() as home:
        for name in [name for name in os.environ if name.startswith("PORTRAIT_")]:
            del os.environ[name]
        os.environ |= {
            "PORTRAIT_HOME": home,
            "PORTRAIT_MODELS__FOLDER": str(MODELS),
            "PORTRAIT_BASES__TINY__PATH": str(BASE),
        }
        os.environ |= {"PORTRAIT_TRAIN__EXAM__EVERY": "0", "PORTRAIT_DRAW__REDRAWS": "0"}
        tiny_base.write(BASE)
        run("prepare", make_portraits.photos(Path(home) / "photos"), "-o", SET)
        run("train", SET, "--base", "tiny", "-o", IDENTITY, *TINY)
        run("train", SET, "--base", "tiny", "-o", TOKEN, *TINY, "--token")
        run("train", SET, "--base", "tiny", "--plan")
        for page in (SET, IDENTITY, TOKEN):
            (page / "report.html").unlink()
        run("identities", "list", FIXTURES)
        run("identities", "show", IDENTITY)
        run("identities", "export", IDENTITY, "-o", Path(home) / "one.safetensors")
        make_portraits.portraits(FIXTURES / "portraits", run)
        run("idphoto", SET, "-o", FIXTURES / "idphotos", "--preset", "icao")
        shown()
        os.environ["PORTRAIT_HOME"] = str(Path(home) / "kept")
        make_home.write(Path(home) / "kept", run)
    configured()
    (FIXTURES / "models").mkdir()
    shutil.copyfile(MODELS / "lock.json", FIXTURES / "models" / "lock.json")
    for file in FIXTURES.glob("*/*.json"):
        file.write_text(file.read_text("utf-8").replace(str(FIXTURES), PLACE), "utf-8")
    documents.written(FIXTURES / "documents.json", answered)
    documents.written(FIXTURES / "machine.json", {"processor": comparing.processor()})


if __name__ == "__main__":
    main()
