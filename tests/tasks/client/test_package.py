"""The package of the client alone: built from the project, it needs four small packages, and nothing of the project."""

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.tasks.api.harness import ApiServer, api_server, environment, new_home, open_api
from tests.tasks.stand import ROOT

pytestmark = pytest.mark.services
PACKAGE = ROOT / "tasks" / "client" / "package"
PROGRAM = """
import asyncio, sys
from portrait_client import AsyncClient, Client, UserError, schemas

url, key, job = sys.argv[1:]
with Client(url, key) as client:
    assert [each.name for each in client.people()] == ["Ann"]
    assert isinstance(client.job(job), schemas.Job)
    assert next(client.follow(job)).state == "queued"
    try:
        client.person("person_none")
    except UserError as error:
        assert error.code == "not_found"

async def main():
    async with AsyncClient(url, key) as client:
        return await client.me()

print(asyncio.run(main()).owner)
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"numpy", "cv2", "sqlalchemy", "fastapi", "celery", "tasks", "portrait"}, loaded
"""


def needed(names: list[str]) -> set[str]:
    """Distributions that these need, themselves among them."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            wanted = [Requirement(each) for each in distribution(name).requires or []]
            names += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and what it needs, as a fresh environment would have them."""
    place = tmp_path_factory.mktemp("client")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        place,
        PACKAGE,
    ]
    subprocess.run(build, check=True, capture_output=True, text=True)
    [wheel] = place.glob("portrait_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    for name in needed([Requirement(each).name for each in project()["dependencies"]]):
        for file in {
            each.parts[0] for each in distribution(name).files or [] if each.parts[0] not in ("..", "__pycache__")
        }:
            if not (place / "site" / file).exists():
                (place / "site" / file).symlink_to(Path(str(distribution(name).locate_file(file))))
    return place / "site"


def project() -> dict[str, list[str]]:
    return tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_package_works_without_the_project(installed: Path, tmp_path: Path) -> None:
    with open_api(environment(new_home(tmp_path / "home"))) as api, api_server(api) as server:
        things = api.one_of_each()
        assert run(installed, server, api.key(), things.waiting).stdout == "ann\n"


def run(site: Path, server: ApiServer, key: str, job: str) -> "subprocess.CompletedProcess[str]":
    """A program that uses the client, in a Python that has nothing but that folder."""
    alone = f"import sys; sys.path.insert(0, {str(site)!r})\n{PROGRAM}"
    command = [sys.executable, "-I", "-S", "-c", alone, server.url, key, job]
    done = subprocess.run(command, capture_output=True, text=True, cwd=site)
    assert done.returncode == 0, done.stderr
    return done


def test_the_package_is_small_and_names_nothing_of_the_project(installed: Path) -> None:
    modules = sorted((installed / "portrait_client").rglob("*.py"))
    assert len(modules) > 25
    assert sum(each.stat().st_size for each in modules) < 300_000
    wrong = {
        each.name: each.read_text()
        for each in modules
        if "from tasks" in each.read_text() or "from portrait." in each.read_text()
    }
    assert wrong == {}
    assert {Requirement(each).name for each in project()["dependencies"]} == {
        "httpx",
        "httpx-sse",
        "pydantic",
        "typing-extensions",
    }


def test_the_package_has_the_version_of_the_project() -> None:
    assert str(project()["version"]) == version("portrait")
