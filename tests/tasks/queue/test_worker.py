from tests.tasks.stand import Stand


def test_missing_abilities_include_those_of_queues_that_are_not_served(stand: Stand) -> None:
    stand.start_worker(QUEUES="cpu")
    (row,) = stand.ledger.workers.list_live(1.0)
    assert row.abilities == ["draw:studio", "prepare"]
    assert row.missing["draw:template"] == ["No model for it."]
    (reason,) = row.missing["draw:text"]
    assert "gpu.generate" in reason, "the models are here, the worker is not"
