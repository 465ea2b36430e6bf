"""The command `portrait` run by tests: in this process, or in another where that is the point."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from app.cli import app

PORTRAIT = Path(sys.executable).with_name("portrait")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """In this process, where libraries are loaded already: a third of the time."""
    given = [str(word) for word in words]
    answer = CliRunner().invoke(app, given, catch_exceptions=False)
    return subprocess.CompletedProcess(given, answer.exit_code, answer.stdout, answer.stderr)


def process(*words: object) -> subprocess.CompletedProcess[str]:
    """As a person types it."""
    command = [str(PORTRAIT), *[str(word) for word in words]]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=600)


def document(answer: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one document on stdout."""
    assert "Traceback" not in answer.stderr
    return json.loads(answer.stdout)


def by_name(answer: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    """The verdict on each photo, and why."""
    return {
        each["file"]: (each["verdict"], [reason["code"] for reason in each["reasons"]]) for each in answer["photos"]
    }
