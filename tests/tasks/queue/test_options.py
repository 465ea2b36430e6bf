from pathlib import Path

import numpy as np
import pytest

from portrait.errors import UserError
from portrait.generation import options
from tasks.queue import options as following
from tests import fakes


def test_pictures_that_a_job_names_are_read_where_their_owner_brought_them(tmp_path: Path) -> None:
    image = fakes.picture(1, 1)
    fakes.save(tmp_path / "picture_1", image)
    hint = {"kind": "pose", "template": "picture_1", "scale": 0.8, "end": 0.5}
    wants = {"technique": {"base": "xl", "identities": ["lora"], "hints": [hint]}}
    found = following.technique(wants, lambda id: tmp_path / id)
    assert found is not None
    assert (found.base, found.identities) == ("xl", ("lora",))
    (given,) = found.hints
    assert (given.kind, given.scale, given.start, given.end, given.drawn) == ("pose", 0.8, 0.0, 0.5, False)
    assert np.array_equal(given.picture, image)
    assert options.told(found)["hints"] == [
        {"kind": "pose", "scale": 0.8, "start": 0.0, "end": 0.5, "picture": options.mark(image)}
    ]
    assert wants["technique"]["hints"] == [hint], "the job itself stays as it was"


def test_a_picture_that_was_deleted_is_told(tmp_path: Path) -> None:
    wants = {"technique": {"hints": [{"kind": "pose", "template": "gone"}]}}
    with pytest.raises(UserError, match="was deleted") as caught:
        following.technique(wants, lambda id: tmp_path / id)
    assert caught.value.code == "hint_missing"
    assert following.technique({}, lambda id: tmp_path / id) is None
