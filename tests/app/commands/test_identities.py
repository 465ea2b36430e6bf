"""`portrait identities import`: a person's LoRA from elsewhere becomes an identity that draws as it did."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.commands.identities import export, import_lora
from app.commands.make import make
from app.commands.remake import remake
from app.terminal import controls
from pipelines import build
from pipelines.folders import identities, training_sets
from pipelines.image_io import read
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings, TrainSettings, ValidationSettings
from portrait.errors import UserError
from portrait.training import TrainingJob
from portrait.types import Reference
from tasks import settings as installation
from tests import fakes, hub_store
from tests.app.cli_runner import run
from tests.pipelines.engines import tiny_training
from tests.tasks.test_drawing import TinyEngines

KNOBS = TrainSettings(steps=2, rank=4, rate=0.3, batch=1, text=True, flips=False, exam=ValidationSettings(every=0))
BLOCKS = "lora=1,0,0.5,0,1"
"""BASE and the blocks with attention of the tiny SDXL."""
FLUX = {f"lora_unet_double_blocks_0_img_attn_qkv.lora_{factor}.weight": torch.ones(2, 2) for factor in ("down", "up")}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    filled = hub_store.fill(tmp_path_factory.mktemp("drawing"))
    yield replace(filled, train=KNOBS, draw=replace(filled.draw, redraws=0))
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set, and `ann`, who was learned of it on the base `xl`, encoders too."""
    folder = tmp_path_factory.mktemp("people")
    image = fakes.picture(1, 1, 160)
    training = replace(
        tiny_training.training_set(), references=(Reference("a.png", image, fakes.face(image), hub_store.GOOD),)
    )
    training_sets.write(training, folder / "set")
    with TinyEngines(settings, ModelStore(settings.models)) as engines:
        (folder / "work").mkdir()
        job = TrainingJob(training_sets.read(folder / "set"), "xl", folder / "work")
        build.train(engines)(job, folder / "ann", fakes.RecordingProgress())
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_store.install(settings, monkeypatch)
    monkeypatch.setattr(build, "open_engines", lambda given: TinyEngines(given, ModelStore(given.models)))
    monkeypatch.chdir(place)


def drawn(photos: str, out: Path, capsys: pytest.CaptureFixture[str], **more: Any) -> tuple[Path, np.ndarray]:
    """The file of a portrait, and its picture."""
    capsys.readouterr()
    given: dict[str, Any] = {"style": ["text-film"], "size": "64x80", "format": "png", "as_json": True, **more}
    make([Path(photos)], out, option=["steps=2", "scheduler=own"], **given)
    answer = json.loads(capsys.readouterr().out)["portraits"][0]
    file = Path(answer["file"])
    (out / "scores.json").write_text(json.dumps(answer["scores"]))
    return file, read(file).image.astype(int)


def test_both_exports_come_back_as_the_identity_that_they_were(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = drawn("set", tmp_path / "before", capsys, identity=Path("ann"))[1]
    for names in ("webui", "diffusers"):
        export(Path("ann"), Path(f"{names}.safetensors"), names)
        import_lora(Path(f"{names}.safetensors"), "sks", "xl", Path(names))
        described = identities.read(place / names).description
        assert (described["base"]["family"], described["trigger"], described["rank"]) == ("sdxl", "sks", 4)
        assert described["imported"]["parts"] == ["text_encoder", "text_encoder_2", "unet"]
        assert "likeness is not measured" in " ".join(described["notes"])
        for file in (identities.LORA_FILE, identities.WEBUI_FILE):
            one, other = load_file(place / "ann" / file), load_file(place / names / file)
            assert one.keys() == other.keys()
            assert all(torch.equal(one[key], other[key]) for key in one)
    assert np.array_equal(drawn("set", tmp_path / "webui", capsys, identity=Path("webui"))[1], before)
    doubled = {name: 2 * each for name, each in load_file(place / "ann" / identities.LORA_FILE).items()}
    save_file(doubled, place / "other.safetensors")
    import_lora(Path("other.safetensors"), "sks", "xl", Path("other"))
    other = drawn("set", tmp_path / "other", capsys, identity=Path("other"))[1]
    assert np.abs(other - before).max() > 0, "another LoRA is another picture"


def test_photos_are_measured_by_and_without_them_that_is_said(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = place / "ann" / identities.WEBUI_FILE
    import_lora(file, "sks", "xl", Path("known"), references=[Path("set")])
    known = identities.read(place / "known")
    assert known.identity.mean_embeddings.keys() == training_sets.read(place / "set").mean_embeddings.keys()
    assert training_sets.is_set(place / "known" / identities.PHOTOS_FOLDER)
    with TinyEngines(installation.load(), ModelStore(installation.load().models)) as engines:
        job = TrainingJob(training_sets.read(place / "known" / "photos"), "xl", place / "work", known.identity)
        assert build.train(engines).plan(job).steps == 2
    import_lora(file, "sks", "xl", Path("alone"))
    weighed, picture = drawn("known", tmp_path / "weighed", capsys, adapter=["lora"], lora_weights=[BLOCKS])
    plain_file, plain = drawn("alone", tmp_path / "plain", capsys, adapter=["lora"])
    assert np.abs(picture - plain).max() > 0
    scores = [json.loads((file.parent / "scores.json").read_text()) for file in (weighed, plain_file)]
    assert [each.get("measurable", 1.0) for each in scores] == [1.0, 0.0]
    remake(plain_file, out=tmp_path / "again.png", as_json=True)
    assert np.array_equal(read(tmp_path / "again.png").image, plain.astype(np.uint8))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"lora_unet_x.hada_w1_a": torch.ones(2, 2)}, "unsupported_lora"),
        (FLUX, "wrong_base"),
        ({"encoder.conv_in.weight": torch.ones(2, 2)}, "bad_lora"),
        (None, "bad_lora"),
    ],
)
def test_what_is_no_lora_is_told(place: Path, content: dict[str, torch.Tensor] | None, code: str) -> None:
    file = place / f"{code}.safetensors"
    if content is not None:
        save_file(content, file)
    file = file if content is not None else place / "gone.safetensors"
    answer = run("identities", "import", file, "--base", "xl", "-o", "none", "--trigger", "sks", "--json")
    assert answer.returncode == 3
    assert json.loads(answer.stdout)["error"]["code"] == code
    assert not (place / "none").exists()


def test_block_weights_of_the_command_line() -> None:
    assert controls.parse_lora_weights(["lora=1,0", "film_look=.5,1"]) == {
        "lora_weights": {"lora": (1.0, 0.0), "film_look": (0.5, 1.0)}
    }
    for given in (["lora"], ["=1"], ["lora=1", "lora=0"], ["lora=x"]):
        with pytest.raises(UserError) as caught:
            controls.parse_lora_weights(given)
        assert caught.value.code == "bad_blocks"


def test_what_is_no_photo_among_the_references_is_counted(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(2):
        fakes.save(photos / f"{seed}.png", fakes.picture(1, seed))
    (photos / "0.MOV").write_bytes(b"the film of a live photo")
    (photos / "notes.txt").write_text("of the day")
    with zipfile.ZipFile(photos / "more.zip", "w") as packed:
        packed.write(fakes.save(tmp_path / "2.png", fakes.picture(1, 2)), "2.png")
        packed.writestr("list.txt", "2.png")
    file = place / "ann" / identities.WEBUI_FILE

    def imported(name: str, references: Path, as_json: bool) -> str:
        capsys.readouterr()
        import_lora(file, "sks", "xl", tmp_path / name, references=[references], as_json=as_json)
        return capsys.readouterr().out

    assert json.loads(imported("counted", photos, as_json=True))["passed_over"] == {".mov": 1, ".txt": 2}
    assert len(training_sets.read(tmp_path / "counted" / identities.PHOTOS_FOLDER).photos) == 3
    assert "Passed over, as no pictures: 1 .mov, 2 .txt." in imported("printed", photos, as_json=False)
    assert json.loads(imported("of a set", place / "set", as_json=True))["passed_over"] == {}, (
        "a set holds photos alone"
    )
