"""Fixtures of the tests of FLUX.2: a tiny base and its distilled sibling."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pipelines.diffusion.base.lease import LoadedBase


@pytest.fixture(scope="session")
def flux2_hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hub folders `flux2` and `flux2-distilled`."""
    from tests import tiny

    folder = tmp_path_factory.mktemp("flux2")
    tiny.flux2(folder / "flux2")
    tiny.flux2(folder / "flux2-distilled", distilled=True)
    return folder


@pytest.fixture(scope="module")
def loaded(flux2_hub: Path) -> "Iterator[LoadedBase]":
    """The base, with everything in main memory."""
    from tests.pipelines.diffusion.base.families import flux2_drawing

    loaded = flux2_drawing.load(flux2_hub / "flux2")
    yield loaded
    loaded.close()
