"""Fixtures of the tests of engines and diffusion. PyTorch is loaded by the fixtures that need it: most tests do not."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.settings import Settings
from portrait.types import Identity

if TYPE_CHECKING:
    from pipelines.diffusion.base.source import BaseSource
    from pipelines.engines.painters.diffusion import Diffusion


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """One PyTorch thread: networks this small lose time over several, and minutes where threads wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny bases in hub folders: sd15, sdxl, and sd15-v, which predicts velocity."""
    from tests import tiny

    folder = tmp_path_factory.mktemp("hub")
    tiny.sd15(folder / "sd15")
    tiny.sdxl(folder / "sdxl")
    tiny.sd15(folder / "sd15-v", prediction="v_prediction")
    return folder


@pytest.fixture(params=["sd15", "sdxl"])
def base(request: pytest.FixtureRequest, hub: Path) -> "BaseSource":
    """Each family's tiny base."""
    from pipelines.diffusion.base import loading

    return loading.open_base(request.param, hub / request.param)


@pytest.fixture(scope="module")
def painter(settings: Settings) -> "Iterator[Diffusion]":
    """The diffusion painter on the store that a module fills: its own `settings`."""
    from tests import hub_store

    painter = hub_store.painter(settings)
    yield painter
    painter.close()


@pytest.fixture(scope="module")
def anna(settings: Settings) -> Identity:
    """A person with a LoRA trained on the tiny bases of that store."""
    from tests import hub_store

    return hub_store.trained_person(settings, 1)
