"""A folder with everything at once: command line, API and app give each file the same answer, and tell it once."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from app.components import photo_picker
from app.server import sending
from pipelines import image_io
from pipelines.judging import JUDGED_SIDE
from portrait.errors import UserError
from portrait.photos.names import as_text, distinct_names
from portrait.photos.reasons import TIPS
from tests import forty_kinds, selfies
from tests.app.cli_runner import document, run
from tests.app.pages import app_client, as_client, open_test_api, sign_in
from tests.forty_kinds import PASSED_OVER, READ, Kind
from tests.tasks.api.harness import ApiServer, api_server

pytestmark = pytest.mark.services  # a server and real models
OF_FILES = {"unreadable", "too_large", "no_permission", "format_missing"}
"""Codes that are about the file, and not about the person on the photo."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Kind]]:
    folder = tmp_path_factory.mktemp("forty") / "photos"
    folder.mkdir()
    return folder, forty_kinds.write(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with (
        open_test_api(tmp_path_factory.mktemp("home")) as api,
        api_server(api) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PORTRAIT_API_URL", server.url)
        yield server


def answers(kinds: list[Kind]) -> dict[str, str]:
    """What is to be said of each photo, by what it holds."""
    return {kind.name: kind.answer for kind in kinds if kind.answer != PASSED_OVER}


@pytest.mark.models
def test_there_are_forty_kinds_and_the_command_line_tells_each_once(
    folder: tuple[Path, list[Kind]], tmp_path: Path
) -> None:
    place, kinds = folder
    assert len(kinds) >= 40
    answer = run("prepare", place, "-o", tmp_path / "set", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = document(answer)
    photos = answers(kinds) | {"album.zip/one.jpg": READ}
    assert len(found["photos"]) == len(photos)
    names = [each["file"] for each in found["photos"]]
    assert len(set(names)) == len(names), "no two photos are called alike"
    refused = Counter(code for each in found["photos"] for code in codes(each) if code in OF_FILES)
    assert refused == Counter(answer for answer in photos.values() if answer != READ)
    passed_over = Counter(ending(kind.name) for kind in kinds if kind.answer == PASSED_OVER and ".zip" not in kind.name)
    assert found["passed_over"] == passed_over | Counter({".zip": 1, ".txt": 1}), "those of the zip too"


@pytest.mark.models
def test_make_tells_what_was_passed_over_too(tmp_path: Path) -> None:
    photos = {"me.jpg": selfies.jpeg(selfies.astronaut()), "me.AAE": b"x", "me.MOV": b"x", "sub/notes": b"x"}
    (tmp_path / "photos.zip").write_bytes(forty_kinds.packed(photos))
    answer = run("make", tmp_path, "--out", tmp_path / "out", "--size", "256x320", "--adult")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Passed over, as no pictures: 1 .aae, 1 .mov, 1 without an ending." in answer.stdout


def test_the_api_gives_the_same_answers(folder: tuple[Path, list[Kind]], server: ApiServer) -> None:
    client = server.api.client()
    person = as_client(server.api).add_person("Ann", "2026-12", "Ann").id
    photos = [kind for kind in folder[1] if kind.answer != PASSED_OVER]
    files = [("files", (as_text(Path(kind.name).name), kind.content)) for kind in photos]
    answer = client.post(f"/people/{person}/selfies", files=files)
    assert answer.status_code == 201, answer.text
    refused = [(each["where"], each["code"]) for each in answer.json()["refused"]]
    # Of what only its pixels tell, it is told when they are read to be judged.
    judged = [(each["name"], checked(server, person, each["id"])) for each in answer.json()["added"]]
    refused += [(name, code) for name, code in judged if code != READ]
    assert Counter(refused) == Counter((Path(kind.name).name, kind.answer) for kind in photos if kind.answer != READ)
    assert len(answer.json()["added"]) + len(answer.json()["refused"]) == len(photos)


def test_the_app_gives_the_same_answers(folder: tuple[Path, list[Kind]], server: ApiServer) -> None:
    visitor: TestClient = sign_in(app_client(), server.api)
    person = as_client(server.api).add_person("Bob", "2026-12", "Bob").id
    found, sent = {}, {}
    for kind in folder[1]:
        name = as_text(Path(kind.name).name)
        if kind.answer == PASSED_OVER:
            continue
        answer = visitor.post(
            f"/send/selfies/{person}", content=kind.content, headers={sending.NAME_HEADER: quote(name)}
        )
        id = answer.json()["id"]
        found[kind.name], sent[kind.name] = answer.json()["code"] or checked(server, person, id), id
    assert found == answers(folder[1])
    assert len({id for name, id in sent.items() if found[name] == READ}) == sum(each == READ for each in found.values())


def test_the_picker_takes_what_the_command_line_takes(folder: tuple[Path, list[Kind]]) -> None:
    for kind in folder[1]:
        known = ending(kind.name).removeprefix(".") in photo_picker.KINDS
        assert known == (kind.answer != PASSED_OVER) or "." not in Path(kind.name).name, kind.name


def checked(server: ApiServer, person: str, id: str) -> str:
    """What reading a stored photo to judge it gives: its code, or that it is read."""
    try:
        image_io.read(server.api.context.files.selfie("ann", person, id), JUDGED_SIDE)
    except UserError as error:
        return error.code
    return READ


def codes(photo: dict[str, object]) -> list[str]:
    reasons = photo["reasons"]
    assert isinstance(reasons, list)
    found = [str(each["code"]) for each in reasons]
    assert set(found) <= set(TIPS)
    return found


def ending(name: str) -> str:
    return Path(name).suffix.lower() or "without an ending"


def test_names_are_told_apart(folder: tuple[Path, list[Kind]]) -> None:
    shown = distinct_names([Path(kind.name) for kind in folder[1]])
    assert len(set(shown)) == len(shown)
