"""Each family through the queue: two people in turn on one loaded base are drawn as each alone on a base just loaded."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import torch

from pipelines import build
from pipelines.deliver import read_recipe
from pipelines.diffusion.base import families, lora
from pipelines.diffusion.base.loading import empty_denoiser, open_base
from pipelines.diffusion.base.registry import family_by_name
from pipelines.folders import identities
from pipelines.model_store import detection, safetensors_file
from pipelines.settings import BaseLocation, DrawSettings, MarkSettings, ModelStoreSettings, Settings
from tasks.jobs import required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import IdentityRow
from tasks.ledger.tables import identities as identities_table
from tests.pipelines.diffusion.base.families import tiny_bases
from tests.tasks.test_drawing import KNOBS, run
from tests.tasks.test_flux2_story import Installation, told

SIZE = (64, 64)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A tiny base of each family, called by its name."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("families")
    bases = {name: BaseLocation(tiny_bases.write(name, folder / name)) for name in families.family_names()}
    draw = DrawSettings(base="sdxl", device="cpu", redraws=0)
    with pytest.MonkeyPatch.context() as patch:
        tiny_bases.shrink_pictures(patch)
        marks = MarkSettings(folder / "marks", invisible=False)
        yield Settings(
            models=ModelStoreSettings(folder=folder / "models"), marks=marks, bases=bases, train=KNOBS, draw=draw
        )
    torch.set_num_threads(before)


@pytest.fixture
def installation(sqlite: Ledger, tmp_path: Path, settings: Settings) -> Iterator[Installation]:
    made = Installation(sqlite, tmp_path / "data", settings)
    yield made
    made.close()


def prepare(installation: Installation, name: str, number: int, folder: Path) -> IdentityRow:
    """Somebody whose photos are prepared, which is enough for bases that draw from references."""
    person = installation.add_person(name, number, folder)
    prepared = run(installation.runner, "prepare", required_abilities("prepare"), person=person)
    return installation.runner.ledger.people.identity("ann", str(prepared.result["identity"]))


def import_lora(installation: Installation, settings: Settings, row: IdentityRow, family: str, seed: int) -> str:
    """An identity of the same person with a LoRA for the base of a family, read from kohya's file of it."""
    base, random = open_base(family, settings.bases[family].path), torch.Generator().manual_seed(seed)
    weights, network = dict[str, torch.Tensor](), empty_denoiser(base)
    targets = tuple(base.family.lora_targets(network))
    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Linear) and (
            name in targets or name.endswith(tuple(f".{each}" for each in targets))
        ):
            stem = f"{base.family.denoiser}.{name}"
            weights[f"{stem}.lora_A.weight"] = torch.randn(4, layer.in_features, generator=random) * 0.3
            weights[f"{stem}.lora_B.weight"] = torch.randn(layer.out_features, 4, generator=random) * 0.3
    learned = replace(row, id=new_id("identity", seed), base=family)
    folder = installation.files.identity("ann", row.person, learned.id)
    work_dir = folder.with_name(f"{learned.id}-made")
    work_dir.mkdir(parents=True)
    _, kohya = lora.write_both(weights, base.family, base.family.kohya_config(base.denoiser_config), "sks", work_dir)
    for file in (work_dir / "lora.safetensors", kohya):
        found = detection.detect(safetensors_file.read_header(file))
        assert (found.kind, found.other) == ("lora", "")
        assert found.family in ("", family, detection.LIKE.get(family)), "added to the store it is of its family"
    (work_dir / "read").mkdir()
    made = build.import_person_lora(settings, kohya, family, "sks", work_dir / "read")
    description = identities.make_imported_description(made.facts, learned.id, "sks", "person", {})
    identities.write(folder, description, {identities.LORA_FILE: made.lora, identities.WEBUI_FILE: made.kohya_lora}, "")
    with installation.runner.ledger.people.database.write() as connection:
        connection.execute(sa.insert(identities_table).values(asdict(learned)))
    return learned.id


@pytest.mark.parametrize("family", families.family_names())
def test_two_people_in_turn_are_drawn_as_each_alone(
    family: str, installation: Installation, settings: Settings, tmp_path: Path
) -> None:
    rows = [prepare(installation, name, number, tmp_path) for number, name in enumerate(("Anna", "Ben"), start=1)]
    way = "reference" if family_by_name(family).reads_references or family == "flux_kontext" else "lora"
    ids = [
        row.id if way == "reference" else import_lora(installation, settings, row, family, seed)
        for seed, row in enumerate(rows)
    ]
    technique = {"base": family, "identities": [way], "steps": 2, "cutoff": 1}
    jobs = [installation.draw(ids[who], technique=technique, size=SIZE, format="png") for who in (0, 1, 0)]
    installation.start_worker()
    jobs.append(installation.draw(ids[1], technique=technique, size=SIZE, format="png"))
    anna, ben, anna_again, ben_alone = (installation.image(each) for each in jobs)
    facts = told(installation, jobs[0])
    assert (facts["base"], facts["identities"]) == (family, [way])
    assert read_recipe(installation.file(jobs[0]))["technique"]["base"] == family
    assert np.array_equal(anna, anna_again), "after somebody else"
    assert np.array_equal(ben, ben_alone), "as the first of a process"
    assert not np.array_equal(anna, ben), "each is another one"
