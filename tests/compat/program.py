"""The few names of the program that the tests of this folder use; where one is renamed, it is renamed here alone."""

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import typer
    from fastapi import FastAPI


def command_line() -> "typer.Typer":
    """The command `portrait`."""
    from app.cli import app

    return app


def api(environment: Mapping[str, str]) -> "FastAPI":
    """The task API of an installation, with its ledger open and brought up to date; it closes with its lifespan."""
    from tasks.api.app import create_app, open_context
    from tasks.settings import load_installation

    return create_app(open_context(load_installation(environment)))


def settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Every setting of an installation, in the sections of `portrait.toml`."""
    from tasks.settings import load_installation

    installation = load_installation(environment)
    whole = {**dataclasses.asdict(installation.flows), "tasks": dataclasses.asdict(installation.tasks)}
    return json.loads(json.dumps(whole, default=str))


def settings_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas of `portrait.toml`: of the section `tasks`, and of all other sections under an empty name."""
    from pydantic import TypeAdapter

    from pipelines.settings import Settings
    from tasks.settings import TaskSettings

    return {"": TypeAdapter(Settings).json_schema(), "tasks": TypeAdapter(TaskSettings).json_schema()}


def engine_names() -> dict[str, list[str]]:
    """Names of engines by kind, as settings and commands take them."""
    from pipelines.engines import FOLDERS, engine_names

    return {folder: sorted(engine_names(folder)) for folder in FOLDERS}


def backdrop_names() -> list[str]:
    """The backdrops of studio styles."""
    from portrait.studio.backdrops import NAMES

    return list(NAMES)


def backdrop(name: str, width: int, height: int, seed: int) -> "np.ndarray":
    """One of them, height×width×3, 0..255."""
    from portrait.arrays import Size
    from portrait.studio.backdrops import paint

    return paint(name, Size(width, height), seed)


def random_generator(seed: Any) -> "np.random.Generator":
    """The random numbers that recipes depend on."""
    from portrait.arrays import random_generator

    return random_generator(seed)


def addresses() -> list[str]:
    """What the app serves beside its pages."""
    from app.server.routes import build_routes

    return sorted(f"{method} {each.path}" for each in build_routes() for method in each.methods or ())


def cookies() -> list[str]:
    """Names of the cookies that the app leaves in browsers."""
    from app.session import KEY_COOKIE, LANGUAGE_COOKIE

    return [KEY_COOKIE, LANGUAGE_COOKIE]
