import json
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from portrait.addresses import Reach
from portrait.errors import UserError
from tasks import addresses
from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import DeliveryRow
from tasks.webhooks import JITTER, MAX_PER_HOST, MAX_PER_WEBHOOK, SCHEDULE, TEST, WebhookSender, check_url, new_secret
from tests.tasks.stand import new_job
from tests.tasks.webhook_receiver import Receiver, receiver


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
def sender(sqlite: Ledger) -> WebhookSender:
    return WebhookSender(sqlite.webhooks, Reach.of((), private=True))


@pytest.fixture
def on_the_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine stands for one of the public internet, whose answers are shown."""
    monkeypatch.setattr(addresses, "is_public", lambda address: True)


def calls(ledger: Ledger, url: str, count: int = 1, at: float = 1.0) -> list[DeliveryRow]:
    """Calls that wait to be made since then, of one webhook."""
    hook = ledger.webhooks.add("ann", url, new_secret(), [], at)
    return [
        ledger.webhooks.enqueue("ann", hook.id, "job.succeeded", {"type": "job.succeeded"}, at) for _ in range(count)
    ]


def delivery_of(ledger: Ledger, call: DeliveryRow) -> DeliveryRow:
    return ledger.webhooks.delivery("ann", call.id)


def test_the_end_of_a_job_is_sent_with_a_valid_signature(
    sqlite: Ledger, sender: WebhookSender, there: Receiver
) -> None:
    secret = new_secret()
    sqlite.webhooks.add("ann", f"{there.url}/hook?key=1", secret, ["job.succeeded"], 1.0)
    job = sqlite.jobs.add(new_job())
    assert not sqlite.webhooks.has_due(time.time())
    claimed = sqlite.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert claimed is not None
    sqlite.queue.finish(claimed, time.time(), Outcome(), lambda: None)
    assert sqlite.webhooks.has_due(time.time())
    assert not sender.send_due()
    (call,) = there.calls
    assert call.path == "/hook?key=1"
    assert Webhook(secret).verify(call.body, call.headers)["data"] == {
        "id": job.id,
        "kind": "generate",
        "state": "succeeded",
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(call.body, call.headers)
    made = sqlite.webhooks.delivery("ann", call.headers["webhook-id"])
    assert (made.state, made.status, made.attempts) == ("delivered", 204, 1)
    assert not sqlite.webhooks.has_due(time.time())


@pytest.mark.usefixtures("on_the_internet")
def test_a_failed_call_comes_back_with_the_same_id(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    there.statuses = (500, 200)
    (call,) = calls(sqlite, there.url)
    now = time.time()
    replace(sender, now=lambda: now).send_due()
    failed = delivery_of(sqlite, call)
    assert (failed.state, failed.status, failed.attempts) == ("waiting", 500, 1)
    assert now + SCHEDULE[0] <= failed.due <= now + SCHEDULE[0] * (1 + JITTER)
    assert failed.answer.startswith("Thank you."), "what cannot be printed cannot be stored everywhere"
    replace(sender, now=lambda: failed.due - 0.1).send_due()
    assert len(there.calls) == 1
    replace(sender, now=lambda: failed.due).send_due()
    assert (delivery_of(sqlite, call).state, delivery_of(sqlite, call).attempts) == ("delivered", 2)
    assert there.ids == [call.id, call.id]


def test_after_the_last_try_it_is_given_up(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    there.statuses = (503,)
    (call,) = calls(sqlite, there.url)
    waits, now = [], time.time()
    while delivery_of(sqlite, call).state == "waiting":
        replace(sender, now=lambda now=now: now).send_due()
        waits.append(delivery_of(sqlite, call).due - now)
        now = delivery_of(sqlite, call).due
    assert (delivery_of(sqlite, call).state, len(there.calls)) == ("given_up", len(SCHEDULE) + 1)
    assert all(planned <= wait <= planned * (1 + JITTER) for planned, wait in zip(SCHEDULE, waits, strict=False))


def test_status_410_disables_the_webhook(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    there.statuses = (410,)
    first, second = calls(sqlite, there.url, 2)
    sender.send_due()
    hook = sqlite.webhooks.get("ann", first.webhook)
    assert hook.disabled
    assert "410" in hook.why_disabled
    assert {delivery_of(sqlite, call).state for call in (first, second)} == {"given_up"}
    late = sqlite.webhooks.enqueue("ann", hook.id, "job.failed", {}, 1.0)
    before = len(there.calls)
    sender.send_due()
    assert (delivery_of(sqlite, late).state, len(there.calls)) == ("given_up", before)


def test_redirects_are_refused(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    there.statuses = (307,)
    (call,) = calls(sqlite, there.url)
    sender.send_due()
    assert [each.path for each in there.calls] == ["/"]
    assert (delivery_of(sqlite, call).state, delivery_of(sqlite, call).status) == ("waiting", 307)


@pytest.mark.usefixtures("on_the_internet")
def test_nobody_there_is_a_failed_call(sqlite: Ledger, sender: WebhookSender) -> None:
    (call,) = calls(sqlite, "http://127.0.0.1:9/")
    sender.send_due()
    assert (delivery_of(sqlite, call).state, delivery_of(sqlite, call).status) == ("waiting", None)
    assert "refused" in delivery_of(sqlite, call).answer


@pytest.mark.usefixtures("on_the_internet")
def test_an_endless_response_is_cut_off(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    there.slow = 60
    (call,) = calls(sqlite, f"{there.url}/slow")
    assert not replace(sender, hold=4.0).send_due()
    assert (delivery_of(sqlite, call).state, delivery_of(sqlite, call).attempts) == ("waiting", 1)
    assert "no answer" in delivery_of(sqlite, call).answer


def slow_before(there: Receiver, sender: WebhookSender, fast: int) -> int:
    """How many calls to a receiver that hangs were made when all to the others had arrived; only then it lets go."""
    now = time.time()

    def resolver() -> bool:
        if [call.path for call in there.calls].count("/") == fast:
            there.slow = 0
        return False

    assert not replace(sender, now=lambda: now).send_due(resolver), "all were made"
    paths = [call.path for call in there.calls]
    return paths[: len(paths) - paths[::-1].index("/")].count("/slow")


def test_a_slow_receiver_holds_up_nobody(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    there.slow = 60
    slow = calls(sqlite, f"{there.url}/slow", 10 * MAX_PER_WEBHOOK)
    fast = calls(sqlite, there.url, 30, at=2.0)
    assert slow_before(there, sender, len(fast)) <= MAX_PER_WEBHOOK
    assert {delivery_of(sqlite, call).state for call in fast} == {"delivered"}
    assert {delivery_of(sqlite, call).attempts for call in slow} == {1}


def test_a_host_that_hangs_holds_up_nobody_however_many_webhooks_call_it(
    sqlite: Ledger, sender: WebhookSender, there: Receiver
) -> None:
    there.slow = 60
    slow = [calls(sqlite, f"{there.url}/slow")[0] for _ in range(3 * MAX_PER_HOST)]
    fast = calls(sqlite, there.url.replace("127.0.0.1", "LOCALHOST"), 20, at=2.0)
    assert slow_before(there, sender, len(fast)) <= MAX_PER_HOST
    assert {delivery_of(sqlite, call).state for call in fast} == {"delivered"}
    assert {delivery_of(sqlite, call).attempts for call in slow} == {1}


def test_a_call_that_becomes_due_meanwhile_does_not_wait_for_one_that_hangs(
    sqlite: Ledger, sender: WebhookSender, there: Receiver
) -> None:
    there.slow = 60
    calls(sqlite, f"{there.url}/slow", 2 * MAX_PER_WEBHOOK)
    late: list[DeliveryRow] = []
    now = time.time()

    def resolver() -> bool:
        if there.calls and not late:
            late.extend(calls(sqlite, there.url))
        if "/" in [call.path for call in there.calls]:
            there.slow = 0
        return False

    assert not replace(sender, now=lambda: now).send_due(resolver)
    assert delivery_of(sqlite, late[0]).state == "delivered"
    assert [call.path for call in there.calls].index("/") <= MAX_PER_WEBHOOK


def test_who_is_called_away_makes_some_calls_and_leaves_the_rest(
    sqlite: Ledger, sender: WebhookSender, there: Receiver
) -> None:
    made = calls(sqlite, there.url, 3 * MAX_PER_WEBHOOK)
    assert sender.send_due(lambda: True), "there are more"
    states = Counter((delivery_of(sqlite, call).state, delivery_of(sqlite, call).attempts) for call in made)
    assert states == {("delivered", 1): MAX_PER_WEBHOOK, ("waiting", 0): 2 * MAX_PER_WEBHOOK}
    assert not sender.send_due()
    assert {delivery_of(sqlite, call).state for call in made} == {"delivered"}


def test_what_killed_its_sender_each_time_is_given_up(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    (call,) = calls(sqlite, there.url)
    for at in range(len(SCHEDULE) + 1):
        assert sqlite.webhooks.claim_due(10.0 * at + 2, 10.0 * at + 9)
    sender.send_due()
    assert (delivery_of(sqlite, call).state, there.calls) == ("given_up", [])


def test_a_private_receiver_is_not_called(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    port = there.url.rpartition(":")[2]
    guarded = replace(sender, reach=Reach())
    named = [calls(sqlite, f"https://{host}:{port}/")[0] for host in ("localtest.example", "2130706433", "[::1]")]
    plain = calls(sqlite, "http://example.com/")[0]
    replace(guarded, resolve=lambda host, port: ["93.184.215.14", "127.0.0.1"]).send_due()
    assert all("public internet" in delivery_of(sqlite, call).answer for call in named)
    assert "https://" in delivery_of(sqlite, plain).answer
    assert there.calls == []


@pytest.mark.usefixtures("on_the_internet")
def test_a_name_is_resolved_once_and_used_for_tls(sqlite: Ledger, sender: WebhookSender, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=hook.example"
    names = ["-addext", "subjectAltName=DNS:hook.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *names], check=True, capture_output=True)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    trusted = ssl.create_default_context(cafile=str(certificate))
    resolved: list[str] = []

    def resolve(host: str, _: int) -> list[str]:
        resolved.append(host)
        return ["127.0.0.1"]

    with receiver(served) as there:
        port = there.url.rpartition(":")[2]
        (good,), (other,) = (calls(sqlite, f"https://{name}.example:{port}/") for name in ("hook", "other"))
        replace(sender, resolve=resolve, context=trusted).send_due()
        assert sorted(resolved) == ["hook.example", "other.example"]
        assert [call.headers["host"] for call in there.calls] == [f"hook.example:{port}"]
        assert delivery_of(sqlite, good).state == "delivered"
        assert "certificate" in delivery_of(sqlite, other).answer.lower()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nothing",
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https://me:secret@example.com/",
        "https://example.com:70000/",
        "https://example.com/" + "x" * 2000,
        "https://localhost/",
        "https://a.LOCALHOST./",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://017700000001/",
        "https://2130706433/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
    ],
)
def test_an_address_that_is_never_called_is_refused(url: str) -> None:
    with pytest.raises(UserError) as caught:
        check_url(url, Reach())
    assert caught.value.code == "bad_url"


def test_addresses_that_are_called() -> None:
    check_url("https://example.com/hook?key=1", Reach())
    check_url("https://93.184.215.14/", Reach())
    check_url("http://localhost:8000/", Reach.of((), private=True))


def test_of_private_networks_those_that_are_listed_are_called() -> None:
    reach = Reach.of(["10.1.2.0/24", "127.0.0.0/8"])
    check_url("http://10.1.2.3/", reach)
    check_url("https://10.1.2.3/", reach)
    check_url("http://localhost:8000/", reach)
    check_url("https://example.com/", reach)
    for url in ("http://10.1.3.3/", "https://10.1.3.3/", "http://93.184.215.14/", "https://[::1]/"):
        with pytest.raises(UserError, match="not on the public internet"):
            check_url(url, reach)
    for url in ("http://169.254.169.254/", "https://169.254.169.254/", "http://[fe80::1]/"):
        with pytest.raises(UserError, match="not on the public internet"):
            check_url(url, Reach.of((), private=True))


def test_a_name_that_leads_out_of_the_list_is_not_called(
    sqlite: Ledger, sender: WebhookSender, there: Receiver
) -> None:
    port = there.url.rpartition(":")[2]
    guarded = replace(sender, reach=Reach.of(["10.1.2.0/24"]))
    inside = calls(sqlite, f"http://inside.example:{port}/")[0]
    replace(guarded, resolve=lambda host, port: ["127.0.0.1"]).send_due()
    assert "public internet" in delivery_of(sqlite, inside).answer
    assert there.calls == []
    later = replace(sender, reach=Reach.of(["127.0.0.0/8"]), now=lambda: time.time() + 60)
    replace(later, resolve=lambda host, port: ["127.0.0.1"]).send_due()
    assert delivery_of(sqlite, inside).state == "delivered"


def test_what_a_private_receiver_answers_cannot_be_read(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    there.statuses = (200, 500)
    delivered, failed = calls(sqlite, there.url, 2)
    (refused,) = calls(sqlite, "http://127.0.0.1:9/")
    sender.send_due()
    seen = [delivery_of(sqlite, call) for call in (delivered, failed, refused)]
    assert sorted((call.status, call.answer) for call in seen[:2]) == [(200, ""), (500, "")]
    assert (seen[2].status, seen[2].answer) == (None, "The call failed.")


def test_a_call_to_see_whether_it_arrives_is_made_once(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    there.statuses = (500,)
    hook = sqlite.webhooks.add("ann", there.url, new_secret(), [], 1.0)
    call = sqlite.webhooks.enqueue("ann", hook.id, TEST, {"type": TEST}, 1.0)
    sender.send_due()
    assert (delivery_of(sqlite, call).state, delivery_of(sqlite, call).attempts) == ("given_up", 1)


def test_a_secret_is_as_the_specification_says() -> None:
    import base64

    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert 24 <= len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) <= 64


def test_the_body_is_what_the_job_left(sqlite: Ledger, sender: WebhookSender, there: Receiver) -> None:
    hook = sqlite.webhooks.add("ann", there.url, new_secret(), [], 1.0)
    payload = {"type": "test", "data": {"id": "ü"}}
    sqlite.webhooks.enqueue("ann", hook.id, "test", payload, 1.0)
    sender.send_due()
    assert json.loads(there.calls[0].body) == payload
