"""What the installation writes is for its own user, and for a group that the settings name."""

import grp
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from portrait.errors import OperatorError
from tasks import private_files
from tasks.files import Files
from tasks.ledger.ledger import open_ledger
from tasks.private_files import FileSettings

OWN_GROUP = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture(autouse=True)
def restored_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> set[str]:
    """Kind and mode of everything in a folder and of itself, but what a server's own bit adds."""
    paths = [folder, *folder.rglob("*")]
    return {f"{'folder' if path.is_dir() else 'file'} {path.stat().st_mode & 0o777:o}" for path in paths}


def write_everything(home: Path) -> None:
    """A ledger, a photo as it is uploaded, and a folder as a worker leaves it."""
    open_ledger(f"sqlite:///{home / 'ledger.db'}").close()
    files = Files(home / "data")
    files.save([b"photo"], files.selfie("ann", "person_1", "selfie_1"), 100)
    staged = files.staging("job_1", "token")
    staged.mkdir(parents=True)
    (staged / "crop.png").write_bytes(b"crop")
    files.publish(staged, files.training_set("ann", "person_1", "set_1"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (FileSettings(), {"folder 700", "file 600"}),
        (FileSettings(OWN_GROUP), {"folder 750", "file 640"}),
        (FileSettings(OWN_GROUP, group_writes=True), {"folder 770", "file 660"}),
    ],
)
def test_database_photos_and_sets_have_one_mode(tmp_path: Path, settings: FileSettings, expected: set[str]) -> None:
    home = tmp_path / "home"
    private_files.prepare_process(settings, private_files.installation_paths(home, home / "data"))
    write_everything(home)
    assert modes(home) == expected


def test_an_installation_of_an_earlier_version_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_everything(home)
    assert "folder 755" in modes(home)
    private_files.prepare_process(FileSettings(), private_files.installation_paths(home, home / "data"))
    assert [each.stat().st_mode & 0o077 for each in (home, home / "data", home / "ledger.db")] == [0, 0, 0]


def test_what_is_not_the_programs_alone_keeps_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, person = tmp_path / "shared", tmp_path / "person"
    shared.mkdir()
    shared.chmod(0o1777)
    person.mkdir()
    monkeypatch.setenv("HOME", str(person))
    private_files.prepare_process(FileSettings(), [shared, person, tmp_path / "absent"])
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert stat.S_IMODE(person.stat().st_mode) == 0o755
    assert not (tmp_path / "absent").exists()


def test_models_that_are_linked_in_stay_readable_for_others(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "models").symlink_to(tmp_path / "shared")
    paths = private_files.installation_paths(tmp_path / "home", tmp_path / "data")
    private_files.prepare_process(FileSettings(), paths)
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755


def test_folders_hand_the_group_on(tmp_path: Path) -> None:
    private_files.prepare_process(FileSettings(OWN_GROUP), [tmp_path])
    (tmp_path / "below").mkdir()
    assert (tmp_path / "below").stat().st_gid == os.getegid()
    assert tmp_path.stat().st_mode & stat.S_ISGID


def test_a_group_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no-such-group") as caught:
        private_files.prepare_process(FileSettings("no-such-group"), [tmp_path])
    assert caught.value.code == "bad_settings"


def test_a_file_of_another_user_is_told_and_an_absent_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo").touch()
    private_files.check_readable([tmp_path / "photo", tmp_path / "absent"])
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(OperatorError, match="one user") as caught:
        private_files.check_readable([tmp_path / "photo"])
    assert caught.value.code == "no_permission"


def test_a_database_of_another_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}").close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OperatorError, match="another user") as caught:
        open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert caught.value.code == "no_permission"
    assert str(tmp_path) not in caught.value.message


def test_the_command_keeps_what_it_writes_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    program = (
        f"import os; os.umask(0o022); os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'app', 'keys', 'list'])"
    )
    environment = {**os.environ, "PORTRAIT_HOME": str(home)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)
    assert modes(home) == {"folder 700", "file 600"}
