from tests.tasks.stand import Stand


def test_a_worker_tells_what_it_lacks_and_what_waits_in_a_queue_that_is_not_its_own(stand: Stand) -> None:
    stand.work(QUEUES="cpu")
    (row,) = stand.ledger.workers.list_live(1.0)
    assert row.abilities == ["draw:studio", "prepare"]
    assert row.missing["draw:template"] == ["No model for it."]
    (told,) = row.missing["draw:text"]
    assert "gpu.generate" in told, "the models are here, the worker is not"
