"""Whoever calls the task API by its old document is answered as it says there."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.compat import facts
from tests.compat.comparing import missing, stored


@pytest.fixture(scope="module")
def now(shared_client: TestClient) -> dict[str, Any]:
    """What the present document says."""
    return facts.wire(shared_client.get("/openapi.json").json())


def test_operations_have_their_parameters_and_fields(now: dict[str, Any]) -> None:
    before = stored("openapi.json")
    wrong = missing(
        {name: {part: each[part] for part in ("parameters", "answered")} for name, each in before.items()}, now
    )
    lost = [
        f"{name} {media} {field}"
        for name, each in before.items()
        for media, fields in each["sent"].items()
        for field in fields
        if field not in now.get(name, {"sent": {}})["sent"].get(media, {})
    ]
    assert wrong + lost == []


def test_no_operation_asks_for_more_than_before(now: dict[str, Any]) -> None:
    more = [
        f"{name} {field}"
        for name, each in stored("openapi.json").items()
        for media, fields in now[name]["sent"].items()
        for field, required in fields.items()
        if required
        and not each["sent"].get(media, {}).get(field, False)
        # What a new part must hold asks nothing of those who leave that part out.
        and ("." not in field or field.rpartition(".")[0] in each["sent"].get(media, {}))
    ]
    more += [
        f"{name} {parameter}"
        for name, each in stored("openapi.json").items()
        for parameter, told in now[name]["parameters"].items()
        if told["required"] and parameter not in each["parameters"]
    ]
    assert more == []


def test_metrics_have_their_names_and_labels(shared_client: TestClient, operator: TestClient) -> None:
    shared_client.get("/me")
    assert missing(stored("metrics.json"), facts.metrics(operator.get("/metrics").text)) == []
