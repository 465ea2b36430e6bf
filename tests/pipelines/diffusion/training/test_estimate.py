import json
import shutil
from pathlib import Path

import pytest
import torch

from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.training import estimate


def test_what_was_counted_is_known_until_rank_size_or_a_configuration_is_another(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, measure = [], estimate._measure_forward
    monkeypatch.setattr(estimate, "_measure_forward", lambda *given: counted.append(1) or measure(*given))
    estimate._estimate.cache_clear()
    first = estimate.estimate_cost(open_base("sd15", hub / "sd15"), 4, 64, torch.float32, "cpu")
    once = len(counted)
    copied = Path(shutil.copytree(hub / "sd15", tmp_path / "copied"))
    assert estimate.estimate_cost(open_base("copied", copied), 4, 64, torch.float32, "cpu") == first
    assert len(counted) == once > 0
    for given in ((8, 64), (4, 128)):
        assert estimate.estimate_cost(open_base("copied", copied), *given, torch.float32, "cpu") != first
    file = copied / "unet" / "config.json"
    config = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(config | {"layers_per_block": config["layers_per_block"] + 1}), "utf-8")
    larger = estimate.estimate_cost(open_base("copied", copied), 4, 64, torch.float32, "cpu")
    assert larger.forward_flops > first.forward_flops
    assert len(counted) == 4 * once
