"""Files that pages send to the app's own routes: passed on piece by piece, bounded, and refused by code."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from app.server import sending
from app.server.uploads import MOST_FILE_BYTES
from pipelines import image_io
from tests.app.pages import app_client, as_client, sign_in
from tests.tasks.api.harness import ApiServer, picture

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop
PDF = b"%PDF-1.7 no photo"


def send(client: TestClient, person: str, content: bytes, name: str = "me.png", **headers: str) -> tuple[int, str, str]:
    """Status, code and id of the answer to one photo."""
    answer = client.post(
        f"/send/selfies/{person}", content=content, headers={sending.NAME_HEADER: quote(name), **headers}
    )
    return answer.status_code, answer.json()["code"], answer.json()["id"]


def test_a_photo_reaches_its_person_under_its_own_name(server: ApiServer, visitor: TestClient) -> None:
    api = as_client(server.api)
    person = api.add_person("Ann", "2026-12", "Ann").id
    status, code, id = send(visitor, person, picture(1), '相机 "1"\r\n.png')
    [photo] = api.selfies(person)
    assert (status, code, id) == (201, "", photo.id)
    assert photo.name == "相机 1.png"
    assert api.selfie_file(id) == picture(1)
    assert send(visitor, person, picture(1), "again.png") == (201, "", id), "the same bytes are the same photo"


def test_no_proxy_of_the_environment_comes_between(
    server: ApiServer, visitor: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    person = as_client(server.api).add_person("Ann", "2026-12", "Ann").id
    assert send(visitor, person, picture(1))[0] == 201


def test_what_is_no_photo_is_refused_by_its_code(server: ApiServer, visitor: TestClient) -> None:
    api = as_client(server.api)
    person = api.add_person("Ann", "2026-12", "Ann").id
    assert send(visitor, person, PDF, "cv.pdf")[:2] == (422, "unreadable")
    assert send(visitor, "person_unknown", picture(1))[:2] == (404, "not_found")
    assert send(visitor, "a%20b", picture(1))[:2] == (404, "not_found")
    stranger = sign_in(app_client(), server.api, "ben")
    assert send(stranger, person, picture(1))[:2] == (404, "not_found")
    api.withdraw_consent(person)
    assert send(visitor, person, picture(1))[:2] == (403, "consent_withdrawn")
    assert api.selfies(person) == []


def test_an_own_picture_carries_its_statement(server: ApiServer, visitor: TestClient) -> None:
    wrong = visitor.post("/send/templates?statement=1990-01", content=picture(2))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "unknown_text")
    stated = visitor.post("/send/templates?statement=2026-12", content=picture(2), headers={"x-file-name": "b.png"})
    [template] = as_client(server.api).templates()
    assert stated.json() == {"code": "", "id": template.id}
    assert (template.name, template.statement) == ("b.png", "2026-12")


def test_files_come_from_pages_of_this_site_alone(server: ApiServer, visitor: TestClient) -> None:
    person = as_client(server.api).add_person("Ann", "2026-12", "Ann").id
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert send(visitor, person, picture(1), **headers)[:2] == (403, "foreign")
    assert app_client().post(f"/send/selfies/{person}", content=picture(1)).status_code == 401
    assert as_client(server.api).selfies(person) == []
    assert send(visitor, person, picture(1), origin="http://app")[0] == 201


def test_size_is_asked_before_the_body(server: ApiServer, visitor: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_FILE_BYTES == image_io.MAX_BYTES, "as many as the task API takes"
    person = as_client(server.api).add_person("Ann", "2026-12", "Ann").id
    read: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            read.append(number)
            yield b"x"

    announced = {"content-length": str(MOST_FILE_BYTES + 1)}
    assert send(visitor, person, pieces(), **announced)[:2] == (413, "too_large")  # pyrefly: ignore[bad-argument-type] -- not as a whole
    endless = visitor.post(f"/send/selfies/{person}", content=pieces(), headers={"transfer-encoding": "chunked"})
    assert (endless.status_code, endless.json()["code"]) == (411, "no_length")
    monkeypatch.setattr(sending, "SMALLEST_FILE", 10**12)
    assert send(visitor, person, picture(1))[:2] == (503, "busy"), "as much of a visitor's is on its way as may be"


def test_without_the_task_api_pages_are_to_try_again(server: ApiServer, visitor: TestClient) -> None:
    person = as_client(server.api).add_person("Ann", "2026-12", "Ann").id
    assert send(visitor, person, picture(1))[0] == 201
    server.stop()
    assert send(visitor, person, picture(2))[:2] == (503, "api_unreachable")
