import json

import numpy as np

from portrait.generation.options import GenerationOptions, from_dict, to_dict


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
