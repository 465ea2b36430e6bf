import json

import numpy as np
import pytest

from portrait.errors import UserError
from portrait.generation.options import (
    MAX_SEED,
    GenerationOptions,
    ImagePrompt,
    check_seed,
    from_dict,
    picture_hash,
    picture_hashes,
    to_dict,
)


def test_options_survive_the_round_trip_through_json() -> None:
    technique = GenerationOptions(
        base="xl",
        identities=("lora", "instantid"),
        preset="best",
        strengths={"lora": 0.7},
        guidance=0.0,
        freeu=True,
        landmarks=np.ones((5, 2), np.float32),
    )
    values = to_dict(technique)
    back = from_dict(json.loads(json.dumps(values)))
    assert to_dict(back) == values
    assert back.guidance == 0.0
    assert back.landmarks is not None
    assert back.landmarks.dtype == np.float32


def test_defaults_and_paths_are_not_in_the_json() -> None:
    assert to_dict(GenerationOptions()) == {}
    assert to_dict(GenerationOptions(base="/home/ann/models/xl")) == {"base": "xl"}


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 2**64])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(UserError, match=str(seed)) as caught:
        check_seed(seed)
    assert caught.value.code == "bad_seed"
    check_seed(0)
    check_seed(MAX_SEED)


def test_a_merge_step_of_zero_is_a_choice() -> None:
    assert to_dict(GenerationOptions(start_merge_step=0.0)) == {"start_merge_step": 0.0}


def test_a_look_is_named_by_its_picture_and_read_again() -> None:
    picture = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    given = GenerationOptions(look=ImagePrompt(picture, "ip_adapter_plus", 0.7), sdedit=0.3, sdedit_model="refiner")
    values = to_dict(given)
    assert picture_hashes(values) == {picture_hash(picture)}
    back = from_dict(json.loads(json.dumps(values)), {picture_hash(picture): picture})
    assert to_dict(back) == values
    assert back.look is not None
    assert np.array_equal(back.look.picture, picture)
    with pytest.raises(UserError, match="Name it with --look") as caught:
        from_dict(values)
    assert caught.value.code == "hint_missing"
