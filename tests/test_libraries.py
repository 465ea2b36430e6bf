"""The system libraries: `make libraries` brings them where it may, and else says the one command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMAND = "sudo apt-get install libgl1 libegl1 libgles2"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the libraries are Linux's")


def libraries(folder: Path, *, user: int, installs: str) -> subprocess.CompletedProcess[str]:
    """Run it as `user` on a machine without the libraries, where `apt-get` does what `installs` says in shell."""
    programs = {
        "ldconfig": f"[ -e {folder}/there ] && echo libGL.so.1 libEGL.so.1 libGLESv2.so.2; true",
        "id": f"echo {user}",
        "apt-get": f"echo $* >> {folder}/asked; {installs}",
    }
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(["make", "libraries"], cwd=ROOT, capture_output=True, text=True, env=os.environ | path)


def test_root_gets_them_after_reading_the_lists_anew_where_that_is_needed(tmp_path: Path) -> None:
    old_lists = (
        f'if [ "$1" = update ]; then touch {tmp_path}/new; else [ -e {tmp_path}/new ] && touch {tmp_path}/there; fi'
    )
    answer = libraries(tmp_path, user=0, installs=old_lists)
    assert answer.returncode == 0, answer.stderr
    assert [line.split()[0] for line in (tmp_path / "asked").read_text().splitlines()] == [
        "install",
        "update",
        "install",
    ]


def test_others_are_told_the_one_command(tmp_path: Path) -> None:
    answer = libraries(tmp_path, user=1000, installs="true")
    assert answer.returncode != 0
    assert COMMAND in answer.stderr
    assert not (tmp_path / "asked").exists()


def test_root_is_told_it_too_where_the_packages_do_not_come(tmp_path: Path) -> None:
    answer = libraries(tmp_path, user=0, installs="exit 100")
    assert answer.returncode != 0
    assert COMMAND in answer.stderr
