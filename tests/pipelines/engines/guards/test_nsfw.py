"""The published class in a tiny layout, whose one concept is a picture that the test chooses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessorPil

from pipelines.engines.guards.nsfw import SafetyChecker
from portrait.arrays import Image
from portrait.errors import EngineError

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def picture(seed: int) -> Image:
    image = np.full((64, 64, 3), 20 * seed, np.uint8)
    image[16 * (seed - 1) : 16 * seed, :, seed % 3] = 255
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checker that knows picture 1."""
    folder = tmp_path_factory.mktemp("checker")
    torch.manual_seed(0)
    config = CLIPConfig(vision_config={**SMALL, "image_size": 224, "patch_size": 56}, projection_dim=16)
    network = StableDiffusionSafetyChecker(config)
    processor = CLIPImageProcessorPil()
    with torch.no_grad():
        for parameter in network.vision_model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)  # a fresh one says the same of every picture
        network.vision_model.embeddings.position_embedding.weight.zero_()
        network.vision_model.embeddings.class_embedding.zero_()
        pixels = processor(images=[picture(1)], return_tensors="pt").pixel_values
        known = network.visual_projection(network.vision_model(pixels)[1])[0]
        network.concept_embeds[:] = -known
        network.concept_embeds[3] = known
        network.special_care_embeds[:] = -known
        network.concept_embeds_weights.fill_(0.998)
        network.special_care_embeds_weights.fill_(0.998)
    network.save_pretrained(folder, safe_serialization=False)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink(missing_ok=True)
    processor.save_pretrained(folder)
    return folder


def test_what_is_near_a_concept_does_not_pass_and_is_left_as_it_is(folder: Path) -> None:
    guard, known = SafetyChecker(folder), picture(1)
    assert not guard.allows(known)
    assert np.array_equal(known, picture(1))
    assert all(guard.allows(picture(seed)) for seed in (2, 3, 4))


def test_a_broken_checker_raises_an_engine_error(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"nothing")
    with pytest.raises(EngineError) as caught:
        SafetyChecker(tmp_path)
    assert caught.value.code == "broken_model"
