from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.marks import invisible, xmp
from pipelines.marks.certificates import certificate_pem, make_authority
from pipelines.marks.manifest import Manifest, Parent
from pipelines.marks.marks import Marks, manifest_of_recipe, open_marks
from pipelines.settings import MarkSettings
from portrait.arrays import Image
from portrait.errors import OperatorError


def changed(marks: Marks, image: Image, **settings: Any) -> np.ndarray:
    """How far each pixel is from what it was."""
    finished = replace(marks, settings=replace(marks.settings, **settings)).finish(image, "portrait_1")
    assert (finished.shape, finished.dtype) == (image.shape, image.dtype)
    return np.abs(finished.astype(int) - image.astype(int)).max(axis=2)


def test_marks_in_pixels_are_those_of_the_settings(marks: Marks, astronaut: Image) -> None:
    assert not changed(marks, astronaut, invisible=False).any()
    faint = changed(marks, astronaut)
    assert 0 < faint.max() < 32
    labelled = changed(marks, astronaut, invisible=False, label="AI generated")
    rows, columns = np.nonzero(labelled)
    assert labelled.max() > 32
    assert np.ptp(rows) >= 0.05 * min(astronaut.shape[:2]), "as high as is asked"
    assert np.ptp(columns) < astronaut.shape[1] - 1
    both = replace(marks, settings=replace(marks.settings, label="AI generated")).finish(astronaut, "portrait_1")
    assert invisible.read(both) == invisible.Payload(marks.keys.tag, invisible.short_id("portrait_1"))


def test_the_same_portrait_has_the_same_marks_in_its_pixels(marks: Marks, astronaut: Image) -> None:
    one, other = marks.finish(astronaut, "portrait_1"), marks.finish(astronaut, "portrait_1")
    assert np.array_equal(one, other)
    assert not np.array_equal(one, marks.finish(astronaut, "portrait_2"))


def test_packets_have_the_label_of_china_where_it_is_asked_for(marks: Marks) -> None:
    assert xmp.label_of(marks.packet("compositeSynthetic")) is None
    labelled = replace(marks, settings=replace(marks.settings, aigc=True, producer="Ours"))
    label = xmp.label_of(labelled.packet("compositeSynthetic", None, "portrait_1"))
    assert label is not None
    assert (label["Label"], label["ContentProducer"], label["ContentPropagator"]) == ("1", "Ours", "Ours")
    assert label["ProduceID"] == f"{marks.keys.tag:04x}{invisible.short_id('portrait_1'):08x}"


def test_nothing_is_signed_where_the_settings_leave_it_out(marks: Marks) -> None:
    unsigned = replace(marks, settings=replace(marks.settings, credentials=False))
    assert unsigned.sign(b"as it was", "image/jpeg", Manifest("compositeSynthetic")) == b"as it was"


@pytest.mark.parametrize("parent", [None, Parent(b"", "image/png")])
def test_a_manifest_tells_what_was_done(parent: Parent | None) -> None:
    made = replace(manifest_of_recipe({"style": {"kind": "text"}, "seed": 7}, "portrait_1"), parent=parent)
    actions, recipe = replace(made, actions=("c2pa.edited",)).to_dict()["assertions"]
    first, edited = actions["data"]["actions"]
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    if parent is None:
        assert (first["action"], first["digitalSourceType"]) == ("c2pa.created", kind)
    else:
        assert (first["action"], edited["digitalSourceType"]) == ("c2pa.opened", kind)
        assert "digitalSourceType" not in first
    assert edited["action"] == "c2pa.edited"
    assert recipe["data"] == {
        "portrait": f"{invisible.short_id('portrait_1'):08x}",
        "recipe": {"style": {"kind": "text"}, "seed": 7},
    }
    assert [each["label"] for each in Manifest("x").to_dict()["assertions"]] == ["c2pa.actions"]


def test_what_could_not_be_marked_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        open_marks(MarkSettings(tmp_path / "marks", label="\U0001f980"))
    assert caught.value.code == "label_font"
    # Of an authority, which may sign certificates and no files.
    root, authority = make_authority("Root"), make_authority("Authority")
    (tmp_path / "chain.pem").write_bytes(certificate_pem(authority.certificate) + certificate_pem(root.certificate))
    (tmp_path / "key.pem").write_bytes(authority.to_pem().partition(b"-----BEGIN CERT")[0])
    settings = MarkSettings(tmp_path / "marks", certificate=tmp_path / "chain.pem", key=tmp_path / "key.pem")
    with pytest.raises(OperatorError) as caught:
        open_marks(settings)
    assert caught.value.code == "cannot_sign"
    assert open_marks(replace(settings, credentials=False))
