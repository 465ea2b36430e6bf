import importlib.metadata
import subprocess
import sys

import pytest

from app.terminal import packages
from portrait.errors import OperatorError

METADATA = [
    "numpy>=2.4",
    'fastapi>=0.165; extra == "server"',
    'no-such-package[all]>=1; extra == "server"',
    'portrait[server]; extra == "app"',
    'no-such-page>=1; extra == "app"',
]
# What the extras `server` and `app` bring, and the base does not.
SERVING = (
    *("brotli", "fontTools", "segno", "httpx_sse", "limits", "authlib", "celery", "kombu", "redis", "psycopg"),
    *("standardwebhooks", "pythonjsonlogger", "prometheus_client", "fastapi", "starlette", "uvicorn"),
    *("python_multipart", "zipstream", "streamlit"),
)
PROGRAM = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
sys.argv = ["portrait", *{words!r}]
from app.cli import main
main()
"""


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: METADATA)


@pytest.mark.usefixtures("metadata")
def test_missing_packages_are_named_by_extra() -> None:
    assert packages.missing() == []
    assert packages.missing("server") == ["no-such-package"]
    assert packages.missing("app") == ["no-such-package", "no-such-page"]


@pytest.mark.usefixtures("metadata")
def test_a_command_that_needs_an_extra_says_how_to_install_it() -> None:
    with pytest.raises(
        OperatorError, match=r"no-such-package. Run: pip install -c constraints.txt '.\[server\]'"
    ) as caught:
        packages.require("server", "`portrait api`")
    assert caught.value.code == "missing_library"


@pytest.mark.parametrize(
    "words", [["--version"], ["styles", "list", "--json"], ["models", "list"], ["keys", "list"], ["idphoto", "--list"]]
)
@pytest.mark.usefixtures("home")
def test_the_command_line_needs_no_server(words: list[str]) -> None:
    program = PROGRAM.format(names=set(SERVING), words=words)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("home")
def test_pictures_are_verified_without_a_server() -> None:
    program = PROGRAM.format(names=set(SERVING), words=["verify", "docs/app-photos.jpg"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Nothing shows that it was made here" in done.stdout


@pytest.mark.usefixtures("home")
def test_a_package_that_is_not_installed_is_no_traceback() -> None:
    program = PROGRAM.format(names={"sqlalchemy"}, words=["styles", "list"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (4, False)
    assert "sqlalchemy is not installed" in done.stderr
