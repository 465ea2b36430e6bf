"""Lines of the log are JSON and hold no sentence of an unknown error."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from tasks import logs
from tasks.telemetry import correlation


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a configured process writes; the test's own logging comes back afterwards."""
    root, output = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    for part, name in ((sys, "stderr"), (sys, "excepthook"), (threading, "excepthook")):
        monkeypatch.setattr(part, name, output if name == "stderr" else getattr(part, name))
    logs.configure("api")
    yield output
    logging.captureWarnings(False)
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


def test_lines_name_the_request_and_the_job_that_they_are_about(written: io.StringIO) -> None:
    log = logging.getLogger("tasks")
    with correlation.about(request="request-1"):
        with correlation.about(job="job-1", request=""):
            log.warning("within both")
        log.warning("within one", extra={"request": "its own"})
    log.warning("outside")
    within, own, outside = lines(written)
    assert (within["request"], within["job"]) == ("request-1", "job-1")
    assert own["request"] == "its own"
    assert "job" not in own
    assert "request" not in outside


def test_an_error_that_ends_a_thread_or_the_process_is_a_line_without_its_message(written: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError("the photo /home/ann/ann.jpg of Ann")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    found = lines(written)
    assert [line["level"] for line in found] == ["CRITICAL", "CRITICAL"]
    assert all(line["message"].startswith("ValueError at ") for line in found)
    assert "ann" not in written.getvalue().lower()


def test_a_warning_is_a_line(written: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("two\nlines", stacklevel=1)
        logging.captureWarnings(False)
    (line,) = lines(written)
    assert line["logger"] == "py.warnings"
