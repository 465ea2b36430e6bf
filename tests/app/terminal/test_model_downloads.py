from collections.abc import Sequence
from typing import cast

import pytest

from app.terminal.model_downloads import pull_models
from pipelines.model_store.store import ModelStore


@pytest.mark.parametrize("size", [0, 238_400_000])
def test_a_pull_says_beforehand_how_much_it_fetches(size: int, capsys: pytest.CaptureFixture[str]) -> None:
    class Store:
        def download_size(self, names: Sequence[str]) -> int:
            return size

        def pull(self, names: Sequence[str], progress: object) -> tuple[()]:
            assert ("Fetching 238.4 MB" in capsys.readouterr().err) == bool(size)
            return ()

    assert pull_models(cast(ModelStore, Store()), []) == ()
