"""A worker prefers jobs of the base model that it has loaded, for a while."""

from pathlib import Path

import pytest

from tasks.files import Files
from tasks.jobs import BASE_PREFERENCE, BasePreference, base_of
from tasks.ledger.ledger import Ledger
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests.tasks.fake_flows import FakeFlows
from tests.tasks.stand import new_job

ABILITIES = frozenset({"draw:studio", "base:one:lora", "base:two:lora"})


def test_the_base_is_the_one_that_all_abilities_name() -> None:
    assert base_of({"draw:text", "base:sdxl:lora", "base:sdxl:hint:pose"}) == "sdxl"
    assert base_of({"draw:studio"}) == ""
    assert base_of({"train:sdxl"}) == ""
    assert base_of({"base:sdxl:lora", "base:sd15:lora"}) == "", "people of two bases in one template"


def test_a_base_is_preferred_until_its_time_is_over() -> None:
    loaded = BasePreference()
    assert loaded.preferred(0.0) == ""
    loaded.note("one", "", 10.0)
    loaded.note("", "one", 20.0)
    loaded.note("one", "one", 10.0 + BASE_PREFERENCE / 2)
    assert loaded.preferred(9.0 + BASE_PREFERENCE) == "one"
    assert loaded.preferred(10.0 + BASE_PREFERENCE) == "", "counted from the load, not from the last job"
    loaded.note("one", "", 10.0 + BASE_PREFERENCE)
    assert loaded.preferred(11.0 + BASE_PREFERENCE) == "one", "chosen freely, it begins anew"
    loaded.note("two", "one", 12.0 + BASE_PREFERENCE)
    assert loaded.preferred(13.0 + BASE_PREFERENCE) == "two"


def test_a_worker_draws_on_one_base_before_it_loads_another(
    sqlite: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    runner = JobRunner("w", sqlite, Files(tmp_path / "data"), FakeFlows(), LeaseSettings(), ABILITIES)
    order = ("one", "two", "one", "two", "one")
    for at, base in enumerate(order):
        needs = frozenset({"draw:studio", f"base:{base}:lora"})
        sqlite.jobs.add(new_job(f"owner{at}", created=float(at), needs=needs))
    sqlite.jobs.add(new_job("urgent", created=9.0, needs=frozenset({"draw:studio", "base:two:lora"}), priority=1))
    while runner.run_next("cpu"):
        pass
    done = sorted(sqlite.jobs.list_all().items, key=lambda job: job.started or 0)
    assert [base_of(job.needs) for job in done] == ["two", "two", "two", "one", "one", "one"]
    assert done[0].owner == "urgent", "priority goes before"


def test_a_preference_that_is_over_lets_any_job_be_next(
    sqlite: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    runner = JobRunner("w", sqlite, Files(tmp_path / "data"), FakeFlows(), LeaseSettings(), ABILITIES)
    runner.bases.name = "two"
    runner.bases.since -= BASE_PREFERENCE
    jobs = [
        sqlite.jobs.add(new_job(base, created=at, needs=frozenset({"draw:studio", f"base:{base}:lora"})))
        for at, base in enumerate(("one", "two"))
    ]
    assert runner.run_next("cpu")
    assert [sqlite.jobs.get(job.owner, job.id).state for job in jobs] == ["succeeded", "queued"]
