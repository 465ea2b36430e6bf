"""Commands whose home is on a disk that can be read alone, or has a name that shells stumble over."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.cli_runner import document, run
from tests.tasks import full_disk

pytestmark = pytest.mark.networks
needs_mount = pytest.mark.skipif(not full_disk.can_mount(), reason="only root can mount a disk that is read alone")


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home on a disk that nobody can write to."""
    with full_disk.small_disk(tmp_path / "disk") as disk:
        (disk / "home").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        monkeypatch.setenv("PORTRAIT_HOME", str(disk / "home"))
        yield disk / "home"


@needs_mount
@pytest.mark.parametrize(
    "command",
    [("keys", "add", "ann"), ("jobs", "list"), ("serve", "--no-pull"), ("models", "pull", "facemesh")],
    ids=" ".join,
)
def test_what_must_be_written_is_refused_with_a_sentence(command: tuple[str, ...], read_only: Path) -> None:
    answer = run(*command)
    assert answer.returncode == 4, answer.stderr
    assert "Read-only file system" in answer.stderr or "read alone" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "should not have" not in answer.stderr


@needs_mount
def test_what_is_only_read_works(read_only: Path) -> None:
    assert run("styles", "list", "--json").returncode == 0
    assert document(run("models", "list", "--json"))["models"]


def test_a_home_with_spaces_quotes_and_letters_of_any_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / 'it\'s "my" home $HOME 家 %20'
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    assert document(run("keys", "add", "ann", "--json"))["secret"]
    assert [each["owner"] for each in document(run("keys", "list", "--json"))["keys"]] == ["ann"]
    assert (home / "ledger.db").is_file()
