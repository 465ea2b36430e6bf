"""Whatever comes through a door, it is taken or refused with a code; `make fuzz` gives it many times as much."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.fuzz import file_doors, picture_doors, word_doors
from tests.fuzz.entering import Door, enter_often


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of what is wrong in a file
@pytest.mark.parametrize("door", [*picture_doors.doors(), *file_doors.doors(), *word_doors.doors()], ids=str)
def test_a_door_takes_or_refuses_whatever_comes(door: Door, tmp_path: Path, first_seed: int) -> None:
    enter_often(door, tmp_path, round(settings().max_examples * door.share), first_seed)
