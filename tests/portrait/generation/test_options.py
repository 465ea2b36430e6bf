import json

import numpy as np

from portrait.generation.options import GenerationOptions, from_dict, to_dict


def test_a_technique_that_is_told_is_read_back() -> None:
    technique = GenerationOptions(
        base="xl",
        identities=("lora", "instantid"),
        preset="best",
        strengths={"lora": 0.7},
        guidance=0.0,
        freeu=True,
        landmarks=np.ones((5, 2), np.float32),
    )
    said = to_dict(technique)
    back = from_dict(json.loads(json.dumps(said)))
    assert to_dict(back) == said
    assert back.guidance == 0.0
    assert back.landmarks is not None
    assert back.landmarks.dtype == np.float32


def test_what_is_usual_is_not_told_and_no_place_is() -> None:
    assert to_dict(GenerationOptions()) == {}
    assert to_dict(GenerationOptions(base="/home/ann/models/xl")) == {"base": "xl"}
