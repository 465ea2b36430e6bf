import shutil
import socket
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import pytest
from insightface.model_zoo import ArcFaceONNX
from insightface.utils.face_align import norm_crop

from pipelines.engines import Engines
from pipelines.engines.faces import scrfd
from pipelines.engines.faces.scrfd import PACKS, Scrfd, align_for_arcface
from pipelines.engines.runtimes import onnx as network
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import EngineError, OperatorError
from portrait.ports import FaceFinder
from tests.insight_tiny import tiny_arcface, tiny_scrfd, write_pack

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


class Store:
    """A model store that is a plain folder of packs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, model: str, name: str) -> Path:
        path = self.folder / model / name
        if not path.exists():
            raise OperatorError("missing_model", f"{name} is missing. Run `portrait models pull {model}`.")
        return path

    def missing(self, model: str) -> list[str]:
        return [] if (self.folder / model).exists() else [f"Run `portrait models pull {model}`."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (name, pack) in enumerate(PACKS.items()):
        write_pack(tmp_path / name, pack.detector, pack.recognizer, seed=number, batched=name == "antelopev2")
    return tmp_path


@pytest.fixture
def models(folder: Path) -> ModelStore:
    return cast(ModelStore, Store(folder))


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that onnxruntime opens."""
    opened: list[str] = []
    start = onnxruntime.InferenceSession.__init__

    def counted(self: onnxruntime.InferenceSession, source: Any, **options: Any) -> None:
        opened.append(Path(str(source)).name)
        start(self, source, **options)

    monkeypatch.setattr(onnxruntime.InferenceSession, "__init__", counted)
    return opened


@pytest.fixture
def embeddings(monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """Chips that ArcFace is given."""
    chips: list[Image] = []
    embed = ArcFaceONNX.get_feat

    def counted(self: ArcFaceONNX, chip: Image) -> Any:
        chips.append(chip)
        return embed(self, chip)

    monkeypatch.setattr(ArcFaceONNX, "get_feat", counted)
    return chips


def picture(*patches: tuple[int, int, int, tuple[int, int, int]], width: int = 640, height: int = 640) -> Image:
    """Black, with squares given by left, top, side and colour."""
    image = np.zeros((height, width, 3), np.uint8)
    for left, top, side, colour in patches:
        image[top : top + side, left : left + side] = colour
    return image


def three() -> Image:
    """A small face, a middling one and a large one."""
    return picture((80, 480, 8, GREEN), (480, 96, 16, BLUE), (256, 320, 32, RED))


def test_the_largest_face_comes_first(models: ModelStore) -> None:
    faces = Scrfd(models).faces(three())
    assert [round(face.box.width / 32) for face in faces] == [4, 2, 1]
    assert faces[0].box.centre == pytest.approx((256, 320), abs=4)
    assert faces[0].landmarks.shape == (5, 2)
    assert faces[0].landmarks[1] == pytest.approx((256 + 0.6 * 32, 320 - 0.5 * 32), abs=4)
    assert 0.9 < faces[0].confidence < 1
    assert abs(faces[0].pose.roll) < 10
    assert all(face.mesh is None for face in faces)


def test_a_black_picture_holds_no_face(models: ModelStore) -> None:
    assert Scrfd(models).faces(picture()) == []


def test_a_strip_holds_no_face(models: ModelStore) -> None:
    assert Scrfd(models).faces(picture(width=2000, height=2)) == []


def test_boxes_are_in_the_pixels_of_a_large_picture(models: ModelStore) -> None:
    (face,) = Scrfd(models).faces(picture((512, 640, 64, RED), width=1280, height=960))
    assert face.box.width == pytest.approx(256, abs=8)
    assert face.box.centre == pytest.approx((512, 640), abs=8)


def test_a_face_that_fills_the_photo_is_found_in_the_second_pass(models: ModelStore) -> None:
    finder = Scrfd(models)
    close_up = picture((320, 320, 160, RED))
    (face,) = finder.faces(close_up)
    assert face.box.width == pytest.approx(640, abs=20)
    assert finder._detect_at(close_up[..., ::-1].copy(), scrfd.DET_SIZE) == []


def test_a_face_on_the_wall_does_not_hide_the_one_that_fills_the_photo(models: ModelStore) -> None:
    faces = Scrfd(models).faces(picture((320, 320, 160, RED), (40, 40, 8, GREEN)))
    assert [round(face.box.width / 32) for face in faces] == [20, 1]


def test_the_second_pass_adds_no_small_face(models: ModelStore) -> None:
    # Seen as a face of 160 pixels at 128, where a cell of 8 is 40 pixels wide, and not at 640.
    assert Scrfd(models).faces(picture((320, 320, 40, GREEN))) == []


def test_of_a_face_found_in_both_passes_the_finer_one_is_taken(
    models: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = Scrfd(models)
    (coarse,) = finder.faces(picture((320, 320, 160, RED)))
    (fine,) = finder.faces(picture((320, 320, 32, RED)))
    near = scrfd.replace(fine, box=scrfd.Box(40, 40, 600, 600))
    monkeypatch.setattr(finder, "_detect_at", lambda image, side: [near] if side == scrfd.DET_SIZE else [coarse])
    assert [face.box for face in finder.faces(picture())] == [near.box]


@pytest.mark.parametrize("requested", [0, 1, 2, 9])
def test_only_the_requested_number_is_embedded(models: ModelStore, embeddings: list[Image], requested: int) -> None:
    faces = Scrfd(models).faces(three(), embedded=requested)
    carried = [bool(face.embeddings) for face in faces]
    assert carried == [number < requested for number in range(3)]
    assert len(embeddings) == min(requested, 3)


def test_networks_are_given_the_colours_in_order(models: ModelStore) -> None:
    # The tiny detector sees red as a large face and blue as a middling one.
    image = picture((256, 320, 32, RED), (480, 96, 16, BLUE))
    assert [round(face.box.width / 32) for face in Scrfd(models).faces(image)] == [4, 2]
    assert Scrfd(models).faces(image[..., ::-1]) == []


@pytest.mark.parametrize("space", PACKS)
def test_the_embedding_is_what_the_network_gives_for_the_aligned_face(folder: Path, space: str) -> None:
    models = cast(ModelStore, Store(folder))
    image = three()
    image[300:460, 200:400, 1] = 90  # Something for the embedding to look at, which no head takes for a face.
    face = Scrfd(models, space).faces(image)[0]
    with pytest.warns(FutureWarning):
        chip = norm_crop(image, face.landmarks)
    network = onnxruntime.InferenceSession(folder / space / PACKS[space].recognizer)
    blob = ((chip.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
    expected = np.asarray(network.run(None, {"input.1": blob})[0])[0]
    vector = face.embeddings[space]
    assert list(face.embeddings) == [space]
    assert vector.shape == (512,)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, expected, atol=1e-4)
    assert abs(float(np.linalg.norm(vector)) - 1) > 0.5


def test_the_aligned_face_equals_insightfaces_own() -> None:
    random = np.random.default_rng(1)
    image = random.integers(0, 255, (300, 400, 3), dtype=np.uint8)
    landmarks = np.array([[150, 120], [210, 110], [185, 150], [160, 190], [215, 180]], np.float32)
    with pytest.warns(FutureWarning):
        expected = norm_crop(image, landmarks)
    np.testing.assert_array_equal(align_for_arcface(image, landmarks), expected)


def test_landmarks_in_one_point_give_no_aligned_face() -> None:
    assert align_for_arcface(picture(), np.full((5, 2), 50, np.float32)) is None


def test_each_network_is_opened_once_in_a_process(models: ModelStore, sessions: list[str]) -> None:
    for _ in range(2):
        finder = Scrfd(models)
        finder.faces(three())
        finder.faces(picture(width=900))
    assert sessions == ["det_10g.onnx", "w600k_r50.onnx"]


def test_no_network_is_touched_and_nothing_lands_in_the_home(
    models: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was requested")

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = sorted(tmp_path.rglob("*"))
    assert len(Scrfd(models).faces(three())) == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_printed_at_other_sizes_than_the_declared_one(
    models: ModelStore, capfd: pytest.CaptureFixture[str]
) -> None:
    Scrfd(models).faces(three())
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.parametrize("name", ["det_10g.onnx", "w600k_r50.onnx"])
def test_the_error_for_a_missing_file_names_the_command(
    folder: Path, models: ModelStore, sessions: list[str], name: str
) -> None:
    (folder / "buffalo_l" / name).unlink()
    with pytest.raises(OperatorError, match="portrait models pull buffalo_l") as raised:
        Scrfd(models)
    assert raised.value.code == "missing_model"
    assert sessions == []


@pytest.mark.parametrize("name", ["det_10g.onnx", "w600k_r50.onnx"])
@pytest.mark.parametrize("damage", ["noise", "cut", "empty"])
def test_a_damaged_file_is_named_and_can_be_replaced(folder: Path, models: ModelStore, name: str, damage: str) -> None:
    path = folder / "buffalo_l" / name
    good = path.read_bytes()
    path.write_bytes({"noise": b"\xff" * 400, "cut": good[: len(good) // 2], "empty": b""}[damage])
    with pytest.raises(EngineError, match=name) as raised:
        Scrfd(models)
    assert raised.value.code == "broken_model"
    assert "portrait models check" in raised.value.message
    assert "portrait models pull buffalo_l" in raised.value.message
    path.write_bytes(good)
    assert len(Scrfd(models).faces(three())) == 3


def test_a_network_of_another_kind_is_refused(folder: Path, models: ModelStore) -> None:
    onnx.save(tiny_arcface(), str(folder / "buffalo_l" / "det_10g.onnx"))
    with pytest.raises(EngineError, match="no SCRFD network"):
        Scrfd(models)


def test_a_detector_without_landmarks_is_refused(folder: Path, models: ModelStore) -> None:
    onnx.save(tiny_scrfd(landmarks=False), str(folder / "buffalo_l" / "det_10g.onnx"))
    with pytest.raises(EngineError, match="no landmarks"):
        Scrfd(models)


def test_the_error_for_an_unknown_pack_lists_the_known_ones(models: ModelStore) -> None:
    with pytest.raises(OperatorError, match="buffalo_l, antelopev2"):
        Scrfd(models, "dlib")


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        (["CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
        (["CoreMLExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
    ],
)
def test_cuda_where_onnxruntime_has_it(
    monkeypatch: pytest.MonkeyPatch, available: list[str], chosen: list[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    assert network.execution_providers() == chosen


def test_the_error_for_an_onnxruntime_without_providers_names_the_command(
    models: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", list)
    with pytest.raises(OperatorError, match="make install"):
        Scrfd(models)


def test_status_names_missing_files_and_an_unused_gpu(
    models: ModelStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "has_nvidia_gpu", lambda: False)
    assert scrfd.status(Settings(), models) == []
    shutil.rmtree(folder / "buffalo_l")
    monkeypatch.setattr(network, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    missing, idle = scrfd.status(Settings(), models)
    assert "portrait models pull buffalo_l" in missing
    assert "make install-gpu" in idle
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert scrfd.status(Settings(), models) == [missing]


def test_make_builds_the_default_pack(models: ModelStore) -> None:
    settings = Settings()
    finder: FaceFinder = scrfd.make(settings, models, Engines(settings, models))
    assert finder.space == "buffalo_l"
    assert 0 < finder.same_person < 1
