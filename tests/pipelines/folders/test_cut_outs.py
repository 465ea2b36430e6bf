"""The cut-out in a training set's folder: read as it was written, refused when broken, gone with any photo."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.folders import cut_outs, training_sets
from portrait.errors import UserError
from tests.cut_out_person import cut_out


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    drawn = cut_out()
    path = cut_outs.place(tmp_path)
    cut_outs.write(drawn, path)
    found = cut_outs.read(path)
    assert np.abs(found.alpha - drawn.alpha).max() < 0.01
    assert np.abs(found.front.astype(int) - drawn.front).mean() < 4
    assert found.face.landmarks == pytest.approx(drawn.face.landmarks)
    assert found.face.box == drawn.face.box
    assert found.face.embeddings == {}


def test_a_large_one_is_made_smaller_with_its_face(tmp_path: Path) -> None:
    drawn = cut_out()
    wide: dict[str, Any] = {
        "front": cv2.resize(drawn.front, None, fx=4, fy=4),
        "alpha": cv2.resize(drawn.alpha, None, fx=4, fy=4),
    }
    cut_outs.write(replace(drawn, **wide), tmp_path / "large.webp")
    found = cut_outs.read(tmp_path / "large.webp")
    assert max(found.alpha.shape) == cut_outs.MAX_SIDE
    assert found.face.box.height == pytest.approx(drawn.face.box.height / 2)


@pytest.mark.parametrize("broken", ["nothing", "no picture", "another version"])
def test_what_is_not_whole_is_not_found(tmp_path: Path, broken: str) -> None:
    path = cut_outs.place(tmp_path)
    if broken != "nothing":
        cut_outs.write(cut_out(), path)
    if broken == "no picture":
        path.write_bytes(b"RIFF")
    if broken == "another version":
        described = json.loads(path.with_suffix(".json").read_text("utf-8"))
        path.with_suffix(".json").write_text(json.dumps({**described, "schema": 2}), "utf-8")
    with pytest.raises(UserError) as caught:
        cut_outs.read(path)
    assert caught.value.code == "not_found"


def test_each_style_has_the_cut_out_that_suits_it(tmp_path: Path) -> None:
    paths = {cut_outs.place(tmp_path, suited) for suited in cut_outs.SUITED.values()}
    assert {path.stem for path in paths} == set(cut_outs.SUITED)
    assert cut_outs.place(tmp_path) == cut_outs.place(tmp_path, cut_outs.SUITED["cut_out"])


def test_removing_a_photo_removes_it(tmp_path: Path) -> None:
    for suited in cut_outs.SUITED.values():
        cut_outs.write(cut_out(), cut_outs.place(tmp_path, suited))
    described = {"crops": [], "references": [], "photos": [], "likeness": {}}
    (tmp_path / training_sets.DESCRIPTION_FILE).write_text(json.dumps(described), "utf-8")
    training_sets.remove_photo(tmp_path, "selfie_1")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [training_sets.DESCRIPTION_FILE]
