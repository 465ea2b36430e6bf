"""One file by HTTP: what a busy server, a killed process and proxies between do to it; nothing leaves this machine."""

import json
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from pipelines.model_store import http_download
from pipelines.model_store.http_download import SourceFailedError, download_url
from tests.model_server import Server

BYTES = bytes(range(256)) * 400


def silent(received: int, total: int) -> None:
    pass


@pytest.mark.parametrize("retry_after", ["2", "date"])
def test_a_busy_server_is_asked_again_when_it_said(
    retry_after: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(http_download._Transfer, "pause", lambda _, seconds: waited.append(seconds))
    server.files["/net"], server.busy = BYTES, [429, 503]
    server.busy_headers = {
        "Retry-After": retry_after if retry_after != "date" else formatdate(time.time() + 3, usegmt=True)
    }
    download_url(f"{server.url}/net", tmp_path / "net", silent)
    assert (tmp_path / "net").read_bytes() == BYTES
    assert waited[0] == 0
    assert all(1 <= seconds <= 3 for seconds in waited[1:])
    assert len(waited) == 3


def test_a_server_that_says_nothing_or_too_much_is_asked_again_within_bounds(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(http_download._Transfer, "pause", lambda _, seconds: waited.append(seconds))
    server.files["/net"], server.busy = BYTES, [500, 502, 504]
    download_url(f"{server.url}/net", tmp_path / "net", silent)
    assert waited == [0, 1, 2, 4]
    server.busy, server.busy_headers, waited[:] = [429], {"Retry-After": "86400"}, []
    download_url(f"{server.url}/net", tmp_path / "net", silent)
    assert waited == [0, http_download.MAX_BUSY_SECONDS]
    server.busy, waited[:] = [404], []
    with pytest.raises(SourceFailedError, match="404"):
        download_url(f"{server.url}/net", tmp_path / "net", silent)
    assert waited == [0]


def test_a_part_is_whole_only_where_its_length_and_its_file_are_known(server: Server, tmp_path: Path) -> None:
    server.files["/net"] = BYTES
    part, note = tmp_path / "net.part", tmp_path / "net.part.json"

    def left(content: bytes, **noted: object) -> None:
        part.write_bytes(content)
        note.write_text(json.dumps({"url": f"{server.url}/net", "validator": '"1"', "bytes": len(BYTES), **noted}))

    left(BYTES)
    download_url(f"{server.url}/net", tmp_path / "net", silent)
    assert (server.gets(), part.exists(), note.exists()) == ([], False, False)
    for content, noted in ((BYTES, {"validator": ""}), (BYTES, {"url": "other"}), (BYTES[:9], {}), (b"", {"bytes": 0})):
        left(content, **noted)
        download_url(f"{server.url}/net", tmp_path / "net", silent)
        assert (tmp_path / "net").read_bytes() == BYTES
    assert len(server.gets()) == 4
