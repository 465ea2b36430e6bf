"""A drawing that shows nothing is never delivered; where half precision is the cause, it is decoded in float32."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor

from pipelines.diffusion.base import loading
from pipelines.diffusion.base.parts.latents import LatentScaling, latent_scaling
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import decoding, img2img
from portrait.errors import EngineError

pytestmark = pytest.mark.usefixtures("one_thread")
NOISE = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
SCALING = LatentScaling(0.18215, 0.0)
BROKEN = np.full((64, 64, 3), np.nan, np.float32)


@pytest.fixture
def pipe(base: BaseSource) -> Any:
    """What decoding needs of a stock pipeline."""
    vae = loading.load_components(base, torch.float32, ["vae"])["vae"]
    return SimpleNamespace(vae=vae, image_processor=VaeImageProcessor(), _execution_device=torch.device("cpu"))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64, 3)),
        np.ones((64, 64, 3)),
        np.full((64, 64, 3), (0.2, 0.4, 0.6)),
        BROKEN,
        np.full((64, 64, 3), np.inf),
    ],
    ids=["black", "white", "one colour", "not a number", "infinite"],
)
def test_what_shows_nothing_is_refused(pipe: Any, image: np.ndarray) -> None:
    with pytest.raises(EngineError, match="shows nothing") as caught:
        decoding.finish_image(pipe, image, torch.zeros(1, 4, 8, 8), SCALING)
    assert caught.value.code == "empty_drawing"


def test_one_value_that_is_not_finite_is_enough() -> None:
    spoiled = NOISE.copy()
    spoiled[3, 4, 1] = np.nan
    with pytest.raises(EngineError, match="shows nothing"):
        decoding.to_unit_range(spoiled)
    assert np.array_equal(decoding.to_unit_range(NOISE * 3 - 1), (NOISE * 3 - 1).clip(0, 1))


def test_a_vae_that_overflows_in_half_precision_decodes_in_float32(pipe: Any) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    expected = pipe.image_processor.postprocess(decoded, output_type="np")[0]
    pipe.vae.to(torch.float16)
    found = decoding.finish_image(pipe, BROKEN, latents.half(), latent_scaling(pipe.vae.config))
    assert np.abs(found - expected).max() < 0.01, "weights and latents were rounded to half precision"
    assert pipe.vae.dtype == torch.float16
    pipe.vae.to(torch.float32)
    with pytest.raises(EngineError, match="shows nothing"):
        decoding.finish_image(pipe, BROKEN, latents, SCALING)  # it was in float32 before


@pytest.mark.parametrize("force_upcast", [True, False])
def test_a_round_trip_in_half_precision_is_that_of_float32(
    pipe: Any, force_upcast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = img2img.vae_round_trip(pipe, picture, SCALING)
        pipe.vae.register_to_config(force_upcast=force_upcast)
        pipe.vae.to(torch.float16)
        real = pipe.vae.decode

        def decode(latents: torch.Tensor, **how: Any) -> Any:
            """Overflows in half precision, as SDXL's does."""
            return (
                (latents.new_full((1, 3, 64, 64), torch.inf),)
                if latents.dtype == torch.float16
                else real(latents, **how)
            )

        monkeypatch.setattr(pipe.vae, "decode", decode)
        assert np.abs(img2img.vae_round_trip(pipe, picture, SCALING) - expected).max() < 0.01
    assert pipe.vae.dtype == torch.float16
