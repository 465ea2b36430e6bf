"""A bucket behind the files of several machines: what they see of each other, and what faults of the storage do."""

import os
import time
import urllib.error
import urllib.request
from contextlib import nullcontext
from pathlib import Path

import pytest

from portrait.errors import OperatorError
from tasks import erasing
from tasks.files import Files
from tasks.jobs import DAY
from tasks.ledger.ledger import Ledger
from tasks.queue import delivery
from tasks.storage import cache as copies
from tasks.storage import s3
from tests.tasks.storage.conftest import Machine, bucket, keys
from tests.tasks.storage.test_storage import write
from tests.tasks.wire import State, Wire

BIG = 3 * s3.PART_BYTES + 5


@pytest.fixture
def wired(machine: Machine, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Files:
    """A machine whose wire to the storage has faults; it waits for a second where others wait for twenty."""
    monkeypatch.setattr(s3, "REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(s3, "RETRY_SECONDS", 4.0)
    return machine("wired", endpoint=f"http://127.0.0.1:{wire.port}")


def aged(folder: Path, seconds: float = copies.IN_USE + 10) -> None:
    """Let all copies below a folder have been asked for so much longer ago."""
    for path in folder.rglob("*"):
        if path.is_file():
            found = path.stat()
            os.utime(path, ns=(found.st_atime_ns - int(seconds * 1e9), found.st_mtime_ns))


def test_what_one_machine_publishes_another_reads_byte_by_byte(machine: Machine) -> None:
    one, two = machine("one"), machine("two")
    place, staged = one.identity("ann", "p1", "i1"), one.staging("j1", "t")
    content = {"identity.json": b"{}", "lora.safetensors": os.urandom(BIG), "empty": b""}
    for name, each in content.items():
        write(staged / name, each)
    one.publish(staged, place)
    there = two.fetch_folder(two.identity("ann", "p1", "i1"))
    assert {path.name: path.read_bytes() for path in there.iterdir()} == content
    assert not list(two.root.rglob(".*"))


def test_a_change_reaches_the_copies_of_others_and_what_is_gone_leaves_them(machine: Machine) -> None:
    one, two = machine("one"), machine("two")
    place = one.training_set("ann", "p1", "set")
    for name in ("set.json", "crops/1.png", "crops/2.png"):
        write(place / name, b"first")
    one.keep(place)
    there = two.fetch_folder(two.training_set("ann", "p1", "set"))
    untouched = (there / "crops" / "2.png").stat().st_ino
    write(place / "set.json", b"other")  # as many bytes, in the same second
    (place / "crops" / "1.png").unlink()
    one.keep(place)
    two.fetch_folder(there)
    assert (there / "set.json").read_bytes() == b"other"
    assert [path.name for path in (there / "crops").iterdir()] == ["2.png"]
    assert (there / "crops" / "2.png").stat().st_ino == untouched, "what did not change is not fetched again"
    one.discard(one.person("ann", "p1"), "erasure_1")
    assert not two.fetch(there / "set.json").exists()
    assert not two.fetch_folder(there).exists()


def test_what_never_changes_is_read_without_asking(machine: Machine, wired: Files, wire: Wire) -> None:
    machine("one").keep(write(machine("one").selfie("ann", "p1", "s1"), b"photo"))
    place = wired.selfie("ann", "p1", "s1")
    assert wired.fetch(place).read_bytes() == b"photo"
    wire.set("down")
    assert wired.fetch(place).read_bytes() == b"photo"
    with pytest.raises(OperatorError) as caught:
        wired.fetch(wired.training_set("ann", "p1", "set") / "set.json")
    assert caught.value.code == "storage_unreachable"


@pytest.mark.parametrize(("state", "times"), [("busy", 3), ("short", 2), ("silent", 0)])
def test_faults_of_a_moment_are_retried_and_what_arrives_is_whole(
    state: State, times: int, machine: Machine, wired: Files, wire: Wire
) -> None:
    content = os.urandom(BIG)
    machine("one").keep(write(machine("one").selfie("ann", "p1", "s1"), content))
    place = wired.selfie("ann", "p1", "s1")
    if state == "silent":
        wire.set("silent")
        import threading

        threading.Timer(1.5, wire.set, ("through",)).start()
    else:
        wire.set(state, times)
    assert wired.fetch(place).read_bytes() == content
    assert wire.spoiled >= max(1, times)
    wire.set("busy", 3)
    wired.keep(write(wired.template("ann", "t1"), content))
    assert machine("one").read(machine("one").template("ann", "t1")) == content


@pytest.mark.parametrize("state", ["down", "silent"])
def test_a_storage_that_is_away_is_said_so_in_time_and_leaves_nothing_half_done(
    state: State, machine: Machine, wired: Files, wire: Wire
) -> None:
    one, place = machine("one"), machine("one").training_set("ann", "p1", "set")
    for number in range(12):
        write(place / "crops" / f"{number}.png", os.urandom(1000))
    one.keep(place)
    wire.set(state)
    began = time.monotonic()
    for act in (
        lambda: wired.fetch_folder(wired.training_set("ann", "p1", "set")),
        lambda: wired.keep(write(wired.selfie("ann", "p1", "s2"))),
    ):
        with pytest.raises(OperatorError) as caught:
            act()
        assert caught.value.code == "storage_unreachable"
    assert time.monotonic() - began < 30
    assert [path.name for path in (wired.root / "owners").rglob("*") if path.is_file()] == ["s2"]
    wire.set("through")
    assert len(list((wired.fetch_folder(wired.training_set("ann", "p1", "set")) / "crops").iterdir())) == 12
    assert not [key for key in keys(one) if key.endswith("s2")]


def test_a_wrong_key_is_said_to_be_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(OperatorError) as caught:
        machine("one").read(machine("one").preview("j1"))
    assert (caught.value.code, "credentials" in caught.value.message) == ("storage_unreachable", True)


def test_copies_stay_below_their_bound_and_the_last_used_stay(machine: Machine) -> None:
    one, two = machine("one"), machine("two", cache_megabytes=2)
    for number in range(40):
        one.keep(write(one.selfie("ann", "p1", f"s{number:02}"), os.urandom(100_000)))
    favourite = two.selfie("ann", "p1", "s00")
    for number in range(40):
        two.fetch(two.selfie("ann", "p1", f"s{number:02}"))
        aged(two.root)
        two.fetch(favourite)
        assert sum(path.stat().st_size for path in two.root.rglob("*") if path.is_file()) <= 2_200_000
    assert favourite.exists()
    assert not two.selfie("ann", "p1", "s05").exists()
    assert two.fetch(two.selfie("ann", "p1", "s05")).stat().st_size == 100_000, "it is fetched again"


def test_what_was_read_a_moment_ago_and_what_was_not_sent_yet_stays(machine: Machine) -> None:
    one, two = machine("one"), machine("two", cache_megabytes=1)
    for number in range(12):
        one.keep(write(one.selfie("ann", "p1", f"s{number:02}"), os.urandom(100_000)))
        two.fetch(two.selfie("ann", "p1", f"s{number:02}"))
    unsent = write(two.selfie("bob", "p2", "s1"), os.urandom(900_000))
    assert bucket(two).cache.shrink() == 1_200_000
    aged(two.root)
    assert bucket(two).cache.shrink() <= 900_000
    assert unsent.exists()


def test_a_style_goes_from_the_copies_whole(machine: Machine) -> None:
    one, two = machine("one"), machine("two", cache_megabytes=1)
    for name in ("style.toml", "picture.jpg"):
        write(one.styles / ".desk.1" / name, os.urandom(600_000))
    one.publish(one.styles / ".desk.1", one.style("autumn", 1))
    folder = two.fetch_folder(two.style("autumn", 1))
    aged(two.root)
    assert bucket(two).cache.shrink() == 0
    assert not folder.exists()
    assert len(list(two.fetch_folder(folder).iterdir())) == 2


def test_copies_of_the_erased_go_and_what_is_in_use_goes_later(machine: Machine) -> None:
    one, two = machine("one"), machine("two")
    for owner in ("ann", "bob"):
        one.keep(write(one.selfie(owner, "p1", "s1")))
        two.fetch(two.selfie(owner, "p1", "s1"))
    assert two.forget_copies("ann")
    assert two.selfie("ann", "p1", "s1").exists()
    aged(two.root)
    assert not two.forget_copies("ann")
    assert [path.relative_to(two.root).parts[1] for path in two.root.rglob("*") if path.is_file()] == ["bob"]


def test_a_file_that_was_sent_and_has_no_row_is_swept(machine: Machine, sqlite: Ledger) -> None:
    one, now = machine("one"), time.time()
    one.keep(write(one.template("ann", "template_1")))
    assert erasing.erase_orphans(sqlite, one, now) == 0
    assert keys(one) == ["owners/ann/templates/template_1"]
    assert erasing.erase_orphans(sqlite, machine("keeper"), now + DAY + 60) == 1
    assert keys(one) == []


def test_a_sweep_goes_on_where_it_ended(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "SCANNED_KEYS", 3)
    one = machine("one")
    for number in range(8):
        one.keep(write(one.template("ann", f"t{number}")))
    passes = [[each.id for each in one.owned("orphans")] for _ in range(4)]
    assert passes == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6", "t7"], ["t0", "t1", "t2"]]
    assert len(list(one.owned())) == 8


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"encryption": "AES256"}, [b"x-amz-server-side-encryption: AES256"]),
        (
            {"encryption": "aws:kms", "kms_key": "key-1"},
            [b"x-amz-server-side-encryption: aws:kms", b"x-amz-server-side-encryption-aws-kms-key-id: key-1"],
        ),
        ({}, []),
    ],
)
def test_encryption_is_asked_for_with_each_file(
    settings: dict[str, str], headers: list[bytes], machine: Machine, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RETRIES", 0)
    files = machine("one", endpoint=f"http://127.0.0.1:{wire.port}", **settings)
    with nullcontext() if not settings else pytest.raises(OperatorError, match="answered"):  # it has no keys of its own
        files.keep(write(files.template("ann", "t1")))
    sent = next(head for head in wire.heads if head.startswith(b"PUT"))
    assert [line for line in sent.split(b"\r\n") if line.startswith(b"x-amz-server-side")] == headers


def test_a_link_is_signed_ends_and_brings_the_file_with_its_name(machine: Machine) -> None:
    one = machine("one")
    place = one.portrait("ann", "j1", "01.jpg")
    headers = {"Content-Type": "image/jpeg", "Content-Disposition": 'attachment; filename="portrait-1.jpg"'}
    one.publish_file(write(one.staging("j1", "t") / "01.jpg", b"picture"), place, headers)
    with urllib.request.urlopen(one.link(place, 60)) as answer:  # noqa: S310 -- the storage of the tests
        assert answer.read() == b"picture"
        assert {name: answer.headers[name] for name in headers} == headers
    short = one.link(place, 1)
    time.sleep(2)
    for address in (short, one.link(place, 60).partition("?")[0], one.link(place, 60)[:-4] + "0000"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address)  # noqa: S310 -- the same
        assert caught.value.code == 403


def test_portraits_without_a_row_are_swept_with_one_list(
    machine: Machine, sqlite: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    for job in ("j1", "j2"):
        one.keep(write(one.portrait("ann", job, "01.jpg")))
    listed: list[str] = []
    plain = s3.S3Storage.list
    monkeypatch.setattr(
        s3.S3Storage, "list", lambda self, key, after="": (listed.append(key), plain(self, key, after))[1]
    )
    assert delivery.sweep_all(sqlite, one, time.time() + 60) == 2
    assert listed.count("owners") == 1
    assert keys(one) == []
    one.keep(write(one.portrait("ann", "j3", "01.jpg")))
    assert delivery.sweep_all(sqlite, one, time.time() + delivery.SWEPT_SECONDS + 60) == 0, "it was looked at long ago"
