"""What families can do, read from their files without their libraries; what is missing for it; bases that belong together."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import build, model_requirements
from pipelines.diffusion.base import families
from pipelines.model_store.manifest import builtin_manifest
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, ModelStoreSettings, Settings
from portrait.errors import OperatorError, UserError

ASKED = """
import sys
from pathlib import Path
from pipelines import build, model_requirements
from pipelines.settings import BaseLocation, ModelStoreSettings, Settings
place = Path(sys.argv[1])
settings = Settings(models=ModelStoreSettings(folder=place / "models"), bases={"mine": BaseLocation(place)})
words = build.missing_by_ability(settings)
assert model_requirements.family_of(settings, "mine") == "flux2", "by the class of its pipeline"
assert words["base:mine:reference"] == words["base:mine:instruct"] == words["base:mine:option:sentences"] == []
assert "base:mine:option:clip_skip" not in words and "base:mine:look:ip_adapter" not in words
assert words["base:mine:fast"] == [], "its presets need no LCM LoRA"
print([name for name in ("torch", "diffusers", "transformers") if name in sys.modules])
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    place = tmp_path / "klein"
    place.mkdir()
    (place / "model_index.json").write_text(json.dumps({"_class_name": "Flux2KleinPipeline"}))
    models = ModelStoreSettings(folder=tmp_path / "models")
    return Settings(models=models, bases={"mine": BaseLocation(place), "sd": BaseLocation(tmp_path)})


def test_whoever_asks_for_abilities_loads_no_libraries(settings: Settings) -> None:
    command = [sys.executable, "-c", ASKED, str(settings.bases["mine"].path)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (asked.stdout.strip(), asked.returncode) == ("[]", 0), asked.stderr


def hub_folder(folder: Path, pipeline: str, text_width: int = 0) -> Path:
    """What tells the family of a hub folder."""
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    (folder / "unet" / "config.json").write_text(json.dumps({"cross_attention_dim": text_width}))
    return folder


@pytest.mark.networks
@pytest.mark.parametrize("name", families.family_names())
def test_what_is_read_of_a_family_is_what_it_says(name: str, tmp_path: Path) -> None:
    from pipelines.diffusion.base.registry import family_by_name

    family = family_by_name(name)
    assert model_requirements.family_abilities(name) == family.abilities
    for pipeline in family.pipeline_names:
        folder = hub_folder(tmp_path / pipeline, pipeline, family.text_width)
        assert families.family_of_folder(folder) == name


def test_a_family_of_another_folder_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    text = 'class One:\n    abilities = Abilities(references=2)\n    pipeline_names = ("OnePipeline",)\n'
    (tmp_path / "added_one.py").write_text(text)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    assert "added_one" in model_requirements.family_names()
    assert model_requirements.family_abilities("added_one").references == 2
    assert families.family_of_folder(hub_folder(tmp_path / "hub", "OnePipeline")) == "added_one"
    model_requirements.check_model_family("added_one")
    models = ModelStore(settings.models)
    assert model_requirements.missing_models("reference", "added_one", models) == []
    assert model_requirements.missing_models("lora", "added_one", models) == []
    with pytest.raises(OperatorError, match=r"no family 'sd9'\. Choose one of: .*flux2.*sd2"):
        model_requirements.check_model_family("sd9")


def test_what_a_family_cannot_is_refused_in_one_sentence(settings: Settings) -> None:
    models = ModelStore(settings.models)
    for adapter, family in (("reference", "sdxl"), ("instantid", "flux2")):
        assert model_requirements.missing_models(adapter, family, models) == [
            f"{adapter} was not made for the family {family}: choose another way of telling who, or another base."
        ]
    assert model_requirements.missing_models("reference", "", models) == [model_requirements.UNKNOWN_REFERENCES]
    assert model_requirements.ip_adapters("flux2", models) == model_requirements.controls("flux2", models) == []
    with pytest.raises(UserError, match="ip_adapter gives a look on sd15 and sdxl, not on flux2") as refused:
        model_requirements.ip_adapter_models("ip_adapter", "flux2", models)
    assert refused.value.code == "bad_technique"
    (line,) = model_requirements.missing_control_models("canny", "flux2", models)
    assert line.endswith("on flux2. It follows none: leave the control out, or choose another base.")


def test_the_first_base_of_each_family_is_named_and_pairs_are_learned_on_the_other(settings: Settings) -> None:
    models = ModelStore(settings.models)
    first = model_requirements.first_bases(models)
    assert first[:5] == ["sd15", "sdxl", "flux2_klein", "zimage", "sd35_medium"]
    assert first[5:] == ["flux_schnell", "flux_kontext", "qwenimage", "qwenimage_edit", "sd21"]
    lacks, training = build.missing_by_base(settings), build.missing_for_training(settings)
    assert "portrait models pull flux2_klein`" in " ".join(lacks["flux2_klein"])
    assert "portrait models pull flux2_klein_base`" in " ".join(training["flux2_klein"])
    assert training["sdxl"] == lacks["sdxl"]
    pair = {
        "mine": replace(settings.bases["mine"], learn_on="gone"),
        "gone": BaseLocation(Path("/nowhere"), draw_on="mine"),
    }
    paired = replace(settings, bases=pair)
    assert build.missing_by_base(paired)["mine"] == []
    assert build.missing_for_training(paired)["mine"] == ["There is no base model at /nowhere."]
    assert model_requirements.pair_of(paired, "gone", models).draw_on == "mine"


def test_shipped_models_are_of_families_and_pairs_that_there_are() -> None:
    shipped = builtin_manifest().models
    for model in shipped.values():
        model_requirements.check_model_family(model.family)
        for other in (model.facts.get("learn_on"), model.facts.get("draw_on")):
            # LoRAs of what draws fit what edits: they are one network, trained on.
            assert other is None or shipped[str(other)].family == model.family.removesuffix("_edit")
    assert {name: shipped[name].commercial for name in shipped if name.startswith("flux2")} == {
        "flux2_klein": "yes",
        "flux2_klein_base": "yes",
        "flux2_klein_9b": "no",
        "flux2_klein_base_9b": "no",
    }
