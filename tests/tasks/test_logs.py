"""Lines of the log are JSON and hold no sentence of an unknown error."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from tasks import logs


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a configured process writes; the test's own logging comes back afterwards."""
    root, output = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", output)
    logs.configure("api")
    yield output
    root.handlers[:], root.level = handlers, level


def lines(written: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_says_when_where_and_what(written: io.StringIO) -> None:
    logging.getLogger("portrait.access").info("%s %s %d", "GET", "/me", 200, extra={"request": "r1", "key": "key_1"})
    (line,) = lines(written)
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "portrait.access", "GET /me 200")
    assert (line["process"], line["request"], line["key"]) == ("api", "r1", "key_1")
    assert line["time"][:2] == "20"


def test_an_error_is_logged_with_its_class_and_place_only(written: io.StringIO) -> None:
    try:
        int("the photo /home/ann/ann.jpg of Ann")
    except ValueError:
        logging.getLogger("tasks").exception("the job failed")
    (line,) = lines(written)
    assert line["exc_info"].startswith("ValueError at test_logs.py:")
    assert "ann" not in written.getvalue().lower()


def test_a_line_stays_a_line(written: io.StringIO) -> None:
    logging.getLogger("tasks").warning("two\nlines %s", "\x1b[31m\u2028")
    assert len(lines(written)) == 1


def test_libraries_that_talk_much_are_quiet(written: io.StringIO) -> None:
    logging.getLogger("httpx").info("GET https://example.org/?key=secret")
    logging.getLogger("alembic").info("upgrade")
    assert written.getvalue() == ""
