"""What the section [tasks.storage] may say, and who opens it."""

import subprocess
import sys
from pathlib import Path

import pytest

from portrait.errors import OperatorError
from tasks.files import open_files
from tasks.settings import load_installation
from tasks.storage.s3 import S3Storage
from tasks.storage.storage import StorageSettings


def loaded(home: Path, text: str = "", **variables: str) -> StorageSettings:
    (home / "portrait.toml").write_text(text)
    return load_installation({"PORTRAIT_HOME": str(home), **variables}).tasks.storage


def test_a_bucket_is_named_in_the_file_or_the_environment(tmp_path: Path) -> None:
    read = loaded(tmp_path, '[tasks.storage]\nurl = "s3://photos/of/people/"\nlinks = 300\n')
    assert (read.bucket, read.prefix, read.links, read.cache_megabytes) == ("photos", "of/people", 300, 20_000)
    assert loaded(tmp_path, PORTRAIT_TASKS__STORAGE__URL="s3://photos").prefix == ""
    assert loaded(tmp_path).url == ""


@pytest.mark.parametrize("name", ["access_key_id", "secret_access_key", "session_token"])
def test_a_secret_in_the_file_is_refused_and_said_where_it_belongs(tmp_path: Path, name: str) -> None:
    with pytest.raises(OperatorError, match=f"AWS_{name.upper()}"):
        loaded(tmp_path, f'[tasks.storage]\n{name} = "secret"\n')


@pytest.mark.parametrize(
    "line",
    [
        'url = "https://photos"',
        'url = "s3://"',
        'url = "s3://name:secret@photos"',
        'endpoint = "https://name:secret@s3.example.org"',
        'kms_key = "1"',
        'encryption = "rot13"',
        "links = 700000",
        'bucket = "photos"',
    ],
)
def test_what_does_not_hold_is_refused_by_its_name(tmp_path: Path, line: str) -> None:
    with pytest.raises(OperatorError, match="storage") as caught:
        loaded(tmp_path, f"[tasks.storage]\n{line}\n")
    assert caught.value.code == "bad_settings"
    assert "name:secret" not in caught.value.message


def test_files_are_opened_with_what_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "portrait.toml").write_text('[tasks.storage]\nurl = "s3://photos"\n')
    tasks = load_installation({"PORTRAIT_HOME": str(tmp_path)}).tasks
    files = open_files(tasks)
    assert (files.root, isinstance(files.bucket, S3Storage)) == (tmp_path / "data", True)
    monkeypatch.delitem(sys.modules, "tasks.storage.s3")
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(OperatorError, match=r"portrait\[s3\]") as caught:
        open_files(tasks)
    assert caught.value.code == "missing_library"


def test_without_a_bucket_no_library_of_it_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from tasks.files import open_files; from tasks.settings import load_installation;"
        "open_files(load_installation().tasks); print('obstore' in sys.modules)"
    )
    environment = {"PORTRAIT_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
