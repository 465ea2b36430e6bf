from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from pipelines.engines.features.clip import MEAN, STD, ClipEncoder
from portrait.arrays import Image
from portrait.errors import EngineError
from portrait.metrics import clip_scores
from tests import tiny
from tests.fakes import picture

SIDE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder in the layout of openai/clip-vit-base-patch32: weights as a .bin."""
    folder = tmp_path_factory.mktemp("clip")
    words = tiny.tokenizer(folder)
    torch.manual_seed(3)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**shape, "vocab_size": len(words), "max_position_embeddings": 77, "eos_token_id": words.eos_token_id}
    vision = {**shape, "image_size": SIDE, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    model = CLIPModel.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "preprocessor_config.json").write_text('{"crop_size": 32, "size": 32}')
    return folder


@pytest.fixture(scope="module")
def clip(folder: Path) -> ClipEncoder:
    return ClipEncoder(folder)


def by_hand(folder: Path, image: Image, text: str) -> float:
    """100 · cos, through transformers' own model and plain arithmetic."""
    model = CLIPModel.from_pretrained(folder).eval()
    height, width = image.shape[:2]
    resized = PIL.Image.fromarray(image).resize((round(width * SIDE / height), SIDE), PIL.Image.Resampling.BICUBIC)
    left = (resized.width - SIDE) // 2
    pixels = np.asarray(resized.crop((left, 0, left + SIDE, SIDE)), np.float32) / 255
    pixels = ((pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).transpose(2, 0, 1)[None]
    tokens = tiny.tokenizer(folder)([text], return_tensors="pt")
    with torch.inference_mode():
        out = model(pixel_values=torch.from_numpy(np.ascontiguousarray(pixels)), **tokens)
    return float((out.image_embeds * out.text_embeds).sum() * 100)


def test_the_score_of_a_tiny_network_is_the_one_by_hand(clip: ClipEncoder, folder: Path) -> None:
    image = picture(2, 5, side=90)[:60]
    expected = by_hand(folder, image, "a photo of a woman")
    (score,) = clip_scores(clip.encode_images([image]), clip.encode_texts(["a photo of a woman"]))
    assert score == pytest.approx(max(expected, 0), abs=1e-3)
    assert abs(expected) > 0.1


def test_a_batch_gives_what_each_gives_alone(clip: ClipEncoder) -> None:
    images = [picture(1, number, side=40 + number) for number in range(18)]
    assert clip.encode_images(images)[17] == pytest.approx(clip.encode_images(images[17:])[0], abs=1e-4)
    texts = ["a photo", "a portrait of a man wearing a red suit"]
    assert clip.encode_texts(texts)[0] == pytest.approx(clip.encode_texts(texts[:1])[0], abs=1e-4)


def test_texts_longer_than_77_tokens_are_cut_off(clip: ClipEncoder) -> None:
    assert clip.encode_texts(["a photo of a man " * 60]).shape == (1, 16)


def test_the_error_for_a_broken_folder_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineError, match="models pull clip") as caught:
        ClipEncoder(tmp_path)
    assert caught.value.code == "broken_model"
