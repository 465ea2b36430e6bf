"""`portrait verify`: what it says of files, its exit codes, and that no file makes it fail."""

import io
from pathlib import Path

import PIL.Image
import pytest

from app.words import provenance, translation
from pipelines.marks import invisible, xmp
from pipelines.marks.manifest import Manifest
from pipelines.marks.marks import open_marks
from pipelines.settings import MarkSettings
from tests import fakes
from tests.app import cli_runner

SOURCE = "compositeWithTrainedAlgorithmicMedia"


@pytest.fixture
def signed(home: Path) -> Path:
    """A file that was made by the installation."""
    marks, content = open_marks(MarkSettings(home / "marks")), io.BytesIO()
    image = PIL.Image.fromarray(fakes.picture(1, 0, 160))
    image.save(content, "JPEG", quality=95, xmp=xmp.packet(SOURCE, {"seed": 1}))
    path = home / "ours.jpg"
    manifest = Manifest(SOURCE, (), {"seed": 1}, invisible.short_id("portrait_1"))
    path.write_bytes(marks.sign(content.getvalue(), "image/jpeg", manifest))
    return path


def test_a_file_made_here_is_told_in_sentences_and_ends_with_0(signed: Path) -> None:
    answer = cli_runner.run("verify", signed)
    assert (answer.returncode, answer.stderr) == (0, "")
    text = " ".join(answer.stdout.split())
    for key in ("made_yes", "reason_signed", "changed_no", "credentials_whole", "mark_small"):
        assert translation.translate("en", f"verify.{key}") in text
    assert translation.translate("en", f"verify.source_{SOURCE}") in text
    assert f"{invisible.short_id('portrait_1'):08x}" in text


def test_several_files_are_one_document(signed: Path, tmp_path: Path) -> None:
    changed, plain, copied = tmp_path / "changed.jpg", tmp_path / "plain.png", tmp_path / "copied.jpg"
    content = signed.read_bytes()
    changed.write_bytes(content[:-60] + bytes([content[-60] ^ 1]) + content[-59:])
    PIL.Image.fromarray(fakes.picture(1, 0, 400)).save(plain)
    PIL.Image.open(signed).save(copied, xmp=xmp.packet(SOURCE, {"seed": 1}))
    answer = cli_runner.run("verify", signed, changed, plain, copied, "--json")
    found = cli_runner.document(answer)["files"]
    assert answer.returncode == 1
    assert [(each["file"], each["made_here"], each["altered"], each["credentials"]) for each in found] == [
        (str(signed), "yes", "no", "whole"),
        (str(changed), "unknown", "yes", "broken"),
        (str(plain), "no", "unknown", "none"),
        (str(copied), "unknown", "unknown", "stripped"),
    ]


def test_what_cannot_be_read_is_said_and_the_others_are_looked_at(signed: Path, tmp_path: Path) -> None:
    files = {
        "empty.jpg": b"",
        "text.txt": b"hello",
        "cut.jpg": signed.read_bytes()[:400],
        "old.gif": b"GIF89a" + bytes(90),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "huge.jpg").touch()
    with (tmp_path / "huge.jpg").open("r+b") as file:
        file.truncate(90_000_000)
    (tmp_path / "folder").mkdir()
    given = [tmp_path / name for name in (*files, "huge.jpg", "folder", "nothing.jpg")]
    answer = cli_runner.run("verify", *given, signed, "--json")
    found = cli_runner.document(answer)["files"]
    assert answer.returncode == 1
    assert [each["error"]["code"] for each in found[:-1]] == [
        *["unreadable"] * 4,
        "too_large",
        "not_found",
        "not_found",
    ]
    assert found[-1]["made_here"] == "yes"
    answer = cli_runner.run("verify", given[0], signed)
    assert (answer.returncode, "Traceback" in answer.stdout + answer.stderr) == (1, False)
    assert translation.translate("en", "verify.made_yes") in answer.stdout


def test_a_place_that_has_made_nothing_knows_nothing_of_its_own(
    signed: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_HOME", str(home / "elsewhere"))
    answer = cli_runner.run("verify", signed, "--json")
    [found] = cli_runner.document(answer)["files"]
    assert (answer.returncode, found["made_here"], found["reason"]) == (1, "no", "other_installation")
    assert not (home / "elsewhere" / "marks").exists(), "a question makes no keys"


@pytest.mark.parametrize("language", translation.LANGUAGES)
def test_every_answer_has_its_sentences(language: str) -> None:
    known = {"source": "somethingNew", "signer": "Ann {0}", "generator": "Tool 1", "short_id": "0011aabb"}
    told = provenance.describe(
        language,
        {
            **known,
            "made_here": "yes",
            "reason": "marked",
            "altered": "unknown",
            "credentials": "foreign",
            "mark": "ours",
        },
    )
    text = "\n".join(answer for _, answer in told.details)
    for part in (
        "somethingNew",
        "Ann {0}",
        "Tool 1",
        "0011aabb",
        translation.translate(language, "verify.source_said"),
    ):
        assert part in text
    assert translation.translate(language, "verify.changed_saved") in text
    assert "{" not in text.replace("Ann {0}", "")
