"""Contract tests with Schemathesis: whatever is sent, the API responds as its OpenAPI document says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from tests.tasks.api import harness
from tests.tasks.api.harness import ApiHarness, OwnedIds, new_home, open_api
from tests.tasks.api.routes import Route, url_of

load_all_checks()
CONFORM = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]
REFUSED = CHECKS.get_one("negative_data_rejection")
STREAMS = {"/v1/jobs/{id}/events"}
"""Tested in `test_job_events.py`."""
BARE = {"/v1/health", "/v1/ready", "/v1/oidc"}
"""Nothing can be sent to them that does not fit."""


@pytest.fixture
def unlimited_api(database: str, tmp_path: Path) -> Iterator[ApiHarness]:
    """An API whose quotas are out of the way: made requests shall not all end at one."""
    home = new_home(tmp_path / "home") if database.startswith("sqlite") else tmp_path / "home"
    database = f"sqlite:///{home / 'ledger.db'}" if database.startswith("sqlite") else database
    names = ("jobs", "people", "photos", "photos_a_day", "portraits_a_day", "templates")
    with open_api(
        harness.environment(home, database=database, **{f"quotas__{name}": 100_000 for name in names})
    ) as api:
        yield api


def send_case(api: ApiHarness, case: Case, real: OwnedIds | None, checks: list[Any]) -> None:
    """Send one made request, with ids that exist where `real` is given; check the response."""
    if real is not None and case.path_parameters:
        path = url_of(Route(case.method, case.path.removeprefix("/v1"), ""), real)
        ids = dict(zip(case.path.split("/"), f"/v1{path}".split("/"), strict=True))
        case.path_parameters = {name: ids[f"{{{name}}}"] for name in case.path_parameters}
    headers = {"Authorization": f"Bearer {api.key('ann', 'admin')}"}
    case.validate_response(case.call(app=api.app, headers=headers), checks=checks)


def send_all(api: ApiHarness, operation: Any, mode: GenerationMode, things: OwnedIds, count: int) -> None:
    """So many requests to one route, the same in each run."""

    @seed(20261121)
    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=SLOW)
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def some(case: Case, real: bool) -> None:
        wrong = [REFUSED] if mode is GenerationMode.NEGATIVE and not real else []
        send_case(api, case, things if real else None, CONFORM + wrong)

    some()


FEW, MANY = 3, 20
BOTH = [
    pytest.param("sqlite", GenerationMode.NEGATIVE, FEW, id="sqlite-negative"),
    pytest.param("postgresql", GenerationMode.POSITIVE, FEW, id="postgresql-positive"),
    *(
        pytest.param(database, mode, MANY, id=f"{database}-{mode.name.lower()}-many", marks=pytest.mark.bench)
        for database in ("sqlite", "postgresql")
        for mode in (GenerationMode.NEGATIVE, GenerationMode.POSITIVE)
    ),
]
"""What is refused is refused before the database is asked, and what is taken goes through the server's."""


@pytest.mark.services  # half a minute: too long for the inner loop
@pytest.mark.parametrize(("database", "mode", "count"), BOTH, indirect=["database"])
def test_whatever_is_sent_is_answered_as_documented(
    unlimited_api: ApiHarness, mode: GenerationMode, count: int
) -> None:
    things = unlimited_api.one_of_each()
    schema = schemathesis.openapi.from_dict(unlimited_api.app.openapi())
    operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    assert len(operations) > 60
    # What deletes comes last, so that there is something to ask about until then.
    for operation in sorted(operations, key=lambda each: (each.method == "delete", each.path)):
        if operation.path not in STREAMS and not (mode is GenerationMode.NEGATIVE and operation.path in BARE):
            send_all(unlimited_api, operation, mode, things, count)
