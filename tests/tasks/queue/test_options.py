from pathlib import Path

import numpy as np
import pytest

from portrait.errors import UserError
from portrait.generation.options import picture_hash, to_dict
from tasks.queue import options
from tests import fakes


def test_control_pictures_are_read_from_the_owners_uploads(tmp_path: Path) -> None:
    image = fakes.picture(1, 1)
    fakes.save(tmp_path / "picture_1", image)
    control = {"kind": "pose", "template": "picture_1", "scale": 0.8, "end": 0.5}
    look = {"template": "picture_1", "adapter": "ip_adapter_plus", "scale": 0.7}
    params = {"technique": {"base": "xl", "identities": ["lora"], "hints": [control], "look": look}}
    found = options.generation_options(params, lambda id: tmp_path / id)
    assert found is not None
    assert (found.base, found.identities) == ("xl", ("lora",))
    (given,) = found.control_inputs
    assert (given.kind, given.scale, given.start, given.end, given.preprocessed) == ("pose", 0.8, 0.0, 0.5, False)
    assert np.array_equal(given.picture, image)
    assert to_dict(found)["hints"] == [
        {"kind": "pose", "scale": 0.8, "start": 0.0, "end": 0.5, "picture": picture_hash(image)}
    ]
    assert to_dict(found)["look"] == {"adapter": "ip_adapter_plus", "scale": 0.7, "picture": picture_hash(image)}
    assert (params["technique"]["hints"], params["technique"]["look"]) == ([control], look), "the job stays as it was"


@pytest.mark.parametrize("given", [{"hints": [{"kind": "pose", "template": "gone"}]}, {"look": {"template": "gone"}}])
def test_a_deleted_picture_is_an_error(tmp_path: Path, given: dict[str, object]) -> None:
    params = {"technique": given}
    with pytest.raises(UserError, match="was deleted") as caught:
        options.generation_options(params, lambda id: tmp_path / id)
    assert caught.value.code == "hint_missing"
    assert options.generation_options({}, lambda id: tmp_path / id) is None


def test_photomakers_strength_is_its_merge_step_where_an_old_portrait_is_drawn_again() -> None:
    params = {"technique": {"identities": ["photomaker"], "strengths": {"photomaker": 0.4}}}
    new, again, old = (options.generation_options(params, Path, recipe) for recipe in (None, {"method": 2}, {}))
    assert new is not None
    assert again is not None
    assert old is not None
    assert [(each.strengths, each.start_merge_step, each.method) for each in (new, again, old)] == [
        ({"photomaker": 0.4}, None, 2),
        ({"photomaker": 0.4}, None, 2),
        ({}, 0.4, 1),
    ]
