import errno
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from pipelines.deliver import Deliver, encode, read_recipe
from portrait.errors import OperatorError, UserError
from portrait.types import Portrait
from tests.fakes import picture

RECIPE = {"schema": 1, "style": {"id": "a <b> & \"c\" 'd' é", "kind": "studio"}, "seed": 7, "candidate": 2}


def portrait(kind: str = "studio") -> Portrait:
    recipe = RECIPE | {"style": {"id": "a <b> & \"c\" 'd' é", "kind": kind}}
    return Portrait(picture(1, 1), None, {}, {}, {"total": 1.0}, recipe)


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
def test_written_marked_and_read_back(tmp_path: Path, format: str) -> None:
    path = Deliver(format)(portrait(), tmp_path / "new" / "a")
    assert path == tmp_path / "new" / f"a.{format}"
    assert read_recipe(path) == RECIPE
    with PIL.Image.open(path) as written:
        assert {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[format] == written.format
        difference = np.abs(np.asarray(written.convert("RGB")).astype(int) - portrait().image)
    assert difference.mean() < (0.001 if format == "png" else 4)
    assert not list(path.parent.glob(".*"))


@pytest.mark.parametrize(
    ("kind", "source"), [("studio", "compositeSynthetic"), ("template", "compositeWithTrainedAlgorithmicMedia")]
)
def test_how_it_was_made_can_be_read_by_others(kind: str, source: str) -> None:
    with PIL.Image.open(io.BytesIO(encode(portrait(kind), "jpg"))) as written:
        described = written.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert described["DigitalSourceType"] == f"http://cv.iptc.org/newscodes/digitalsourcetype/{source}"


def test_same_portrait_same_bytes() -> None:
    assert encode(portrait(), "jpg") == encode(portrait(), "jpg")


def test_other_pictures_carry_no_recipe(tmp_path: Path) -> None:
    path = Deliver("jpg")(portrait(), tmp_path / "a")
    with PIL.Image.open(path) as written:
        written.convert("RGB").save(tmp_path / "resaved.jpg")
    (tmp_path / "text.jpg").write_text("<portrait:recipe>{}</portrait:recipe>")
    for name in ("resaved.jpg", "text.jpg", "nothing.jpg"):
        with pytest.raises(UserError) as caught:
            read_recipe(tmp_path / name)
        assert caught.value.code == "no_recipe"


def test_unknown_format_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        encode(portrait(), "gif")
    assert caught.value.code == "bad_format"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        path.open("wb").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OperatorError, match="No space left") as caught:
        Deliver("jpg")(portrait(), tmp_path / "a")
    assert caught.value.code == "cannot_write"
    assert list(tmp_path.iterdir()) == []
