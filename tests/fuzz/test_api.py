"""Whatever body comes to the API, it is taken, or refused with a code that is documented; never with status 500."""

from pathlib import Path

from hypothesis import settings

from tests.fuzz import api_door
from tests.fuzz.entering import enter_often


def test_the_api_answers_whatever_body_comes(tmp_path: Path, first_seed: int) -> None:
    with api_door.opened(tmp_path / "home") as door:
        enter_often(door, tmp_path, round(settings().max_examples * door.share), first_seed)
