"""The program of docs/mail.md, run as it stands there: it believes signed calls alone."""

import json
import re
import smtplib
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.ledger.rows import DeliveryRow
from tasks.webhooks import new_secret, sign

DOCUMENT = Path(__file__).parent.parent / "docs" / "mail.md"
SECRET = new_secret()


class Outbox:
    """In place of a mail server."""

    sent: list[EmailMessage]

    def __init__(self, host: str) -> None: ...

    def __enter__(self) -> "Outbox":
        return self

    def __exit__(self, *_: object) -> None: ...

    def send_message(self, message: EmailMessage) -> None:
        self.sent.append(message)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the program."""
    values = {"WEBHOOK_SECRET": SECRET, "MAIL_TO": "a@x.org", "MAIL_FROM": "b@x.org", "APP_URL": "https://app.example"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Outbox, "sent", [], raising=False)
    monkeypatch.setattr(smtplib, "SMTP", Outbox)
    program = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.M | re.S)[0]
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(program, str(DOCUMENT), "exec"), names)  # noqa: S102 -- the project's own document
    server = HTTPServer(("127.0.0.1", 0), names["Receiver"])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def call(receiver: str, event: str, kind: str = "generate", secret: str = SECRET) -> int:
    """Send a delivery as the worker does; the status of the answer."""
    payload = {"type": event, "timestamp": "2026-11-29T12:00:00+00:00", "data": {"id": "job_1", "kind": kind}}
    now = time.time()
    headers, body = sign(DeliveryRow("delivery_1", "ann", "hook", event, payload, "waiting", 0, now, now), secret, now)
    assert json.loads(body)["type"] == event
    return httpx.post(receiver, headers=headers, content=body).status_code


def test_a_job_that_is_done_sends_a_mail(receiver: str) -> None:
    assert call(receiver, "job.succeeded") == 204
    [mail] = Outbox.sent
    assert (mail["To"], mail["Subject"]) == ("a@x.org", "Your portraits are ready.")
    assert "https://app.example/progress" in mail.get_content()


def test_what_is_not_signed_or_no_portrait_sends_none(receiver: str) -> None:
    assert call(receiver, "job.succeeded", secret=new_secret()) == 401
    assert call(receiver, "job.succeeded", kind="prepare") == 204
    assert Outbox.sent == []
