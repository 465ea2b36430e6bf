"""The line that brings back what was deleted: it stays over a change of the page, and is gone when it is too late."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.components import undo
from tasks import erasing
from tasks.schemas import UNDO_SECONDS
from tests.app.pages import as_client, go_to_page, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import ApiHarness


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def offer(ids: list[str], seconds: float = UNDO_SECONDS) -> list[undo.Offer]:
    return [undo.Offer("portrait", tuple(ids), "2 portraits deleted.", time.time() + seconds)]


def test_what_was_deleted_together_comes_back_together(api: ApiHarness) -> None:
    api.one_of_each()
    api.complete_next_job("draw:studio", count=2)
    client = as_client(api)
    ids = [each.id for each in client.portraits()[:2]]
    for id in ids:
        client.remove_portrait(id)
    page = open_page(client, "results", undo=offer(ids))
    assert "2 portraits deleted." in visible_text(page)
    page = press(go_to_page(page, "results"), "Undo")
    assert len(client.portraits()) == 3
    assert not page.exception
    assert "2 portraits deleted." not in visible_text(page)


def test_nothing_is_offered_when_the_time_is_over(api: ApiHarness) -> None:
    api.one_of_each()
    client = as_client(api)
    (portrait,) = client.portraits()
    page = open_page(client, "results", undo=offer([portrait.id], seconds=-1))
    assert "Undo" not in [each.label for each in page.button]


def test_who_is_too_late_is_told(api: ApiHarness) -> None:
    api.one_of_each()
    client = as_client(api)
    (portrait,) = client.portraits()
    client.remove_portrait(portrait.id)
    page = open_page(client, "results", undo=offer([portrait.id]))
    erasing.erase_removed(api.context.ledger, api.context.files, time.time() + UNDO_SECONDS + 1)
    page = press(page, "Undo")
    assert not page.exception
    assert page.warning, "that it is erased"
