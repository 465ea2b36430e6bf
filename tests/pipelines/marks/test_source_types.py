from typing import Any

import pytest

from pipelines.marks.source_types import of_recipe


def recipe(kind: str, refiners: tuple[str, ...] = (), **drawn: Any) -> dict[str, Any]:
    steps = [{"name": name, "strength": 1.0} for name in refiners]
    return {"style": {"kind": kind}, "drawn": drawn, **({"refiners": steps} if steps else {})}


@pytest.mark.parametrize(
    ("made", "source"),
    [
        (recipe("studio"), "compositeSynthetic"),
        (recipe("studio", ("skin", "tone", "upscale2")), "compositeSynthetic"),
        (recipe("studio", ("restoreformer",)), "compositeWithTrainedAlgorithmicMedia"),
        (recipe("studio", ("swap",), refined={"swap": {}}), "compositeWithTrainedAlgorithmicMedia"),
        (recipe("studio", ("swap",)), "compositeSynthetic"),  # it was asked for, and nothing was drawn
        (recipe("studio", ("fuse",), refined={"fuse": {}}), "compositeSynthetic"),  # one's own photo, warped
        (recipe("template"), "compositeWithTrainedAlgorithmicMedia"),
        ({"drawn": {}}, "compositeWithTrainedAlgorithmicMedia"),  # what does not say its kind is marked strictly
        (recipe("text"), "trainedAlgorithmicMedia"),
        (recipe("text", ("restoreformer",)), "trainedAlgorithmicMedia"),
        (recipe("idphoto"), "compositeSynthetic"),
        (recipe("idphoto", background="kept"), "algorithmicallyEnhanced"),
        (recipe("idphoto", ("restoreformer",), background="kept"), "compositeWithTrainedAlgorithmicMedia"),
        (recipe("studio", background="kept"), "compositeSynthetic"),
    ],
)
def test_the_type_is_that_of_what_drew_the_pixels(made: dict[str, Any], source: str) -> None:
    assert of_recipe(made) == source
