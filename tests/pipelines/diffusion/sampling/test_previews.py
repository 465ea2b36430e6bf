"""Looks at a drawing on the way: often enough, cheap, and without a trace in what is drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.diffusion.base import families
from pipelines.diffusion.base.families import sd15, sdxl
from pipelines.diffusion.base.registry import all_families as every_family
from pipelines.diffusion.sampling import previews
from pipelines.diffusion.sampling.previews import LatentPreview
from pipelines.settings import Settings
from portrait.arrays import Image, Size
from portrait.generation.options import GenerationOptions, PromptSpec
from tests import hub_store

BRIGHT = dict.fromkeys(("sd15", "sd2"), (2.0, 2.0, 0.0, -2.0)) | {"sdxl": (2.0, 0.0, 0.0, -1.0)}
"""Latents of something bright, by family; Stable Diffusion 1 and 2 have the latents of one VAE."""


class Clock:
    """Goes on when it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_previews_are_made_at_most_twice_a_second() -> None:
    clock = Clock()
    preview = LatentPreview(sdxl.LATENT_RGB_FACTORS, clock)
    images: list[Image] = []
    for step in range(1, 41):
        clock.now = step * 0.1
        preview(torch.full((1, 4, 8, 6), float(step)))
        if preview.image is not None and not any(preview.image is image for image in images):
            images.append(preview.image)
    assert len(images) == 8
    assert images[0].shape == (32, 24, 3)


def test_latents_of_another_width_are_not_looked_at() -> None:
    for factors in (sd15.LATENT_RGB_FACTORS, ((), ())):
        clock = Clock()
        preview = LatentPreview(factors, clock)
        clock.now = 5
        preview(torch.zeros(1, 8, 8, 8))
        assert preview.image is None


def test_latent_rgb_factors_are_known_of_every_family_with_a_unet() -> None:
    for family in every_family():
        if family.denoiser != "unet":
            assert family.latent_rgb_factors == ((), ()), "no previews"
            continue
        matrix, middle = family.latent_rgb_factors
        assert np.array(matrix).shape == (4, 3)
        assert np.array(middle).shape == (3,)
        grey = previews.latents_to_rgb(np.zeros((4, 2, 2), np.float32), family.latent_rgb_factors)
        assert 110 < grey.mean() < 150
        bright = np.array(BRIGHT[family.name], np.float32)[:, None, None].repeat(2, 1).repeat(2, 2)
        assert (
            previews.latents_to_rgb(bright, family.latent_rgb_factors).mean()
            > previews.latents_to_rgb(-bright, family.latent_rgb_factors).mean() + 60
        )
    assert families.__doc__


def test_noise_that_is_counted_in_tens_does_not_hide_the_picture() -> None:
    latents = np.random.default_rng(0).normal(size=(4, 16, 16)).astype(np.float32)
    assert np.array_equal(
        previews.latents_to_rgb(latents * 14, sdxl.LATENT_RGB_FACTORS),
        previews.latents_to_rgb(latents / latents.std(), sdxl.LATENT_RGB_FACTORS),
    )
    broken = latents.copy()
    broken[0, 0, 0] = np.nan
    assert previews.latents_to_rgb(broken, sdxl.LATENT_RGB_FACTORS).shape == (64, 64, 3)


@pytest.mark.parametrize("base", ["sd", "xl"])
def test_previews_change_nothing_and_are_reported(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    settings = filled(tmp_path_factory)
    painter = hub_store.painter(settings)
    reported = GenerationOptions(base=base, identities=("faceid",), scheduler="own", steps=4, guidance=4.0, cutoff=0.5)
    request = replace(
        hub_store.request(hub_store.stranger(1), PromptSpec("a photo of a {who}"), reported, size=Size(64, 80)), count=2
    )
    heard: list[Image | None] = []
    plain = painter.paint(request, lambda done, total, doing, preview=None: None)
    monkeypatch.setattr(previews, "INTERVAL", 0.0)
    looked = painter.paint(request, lambda done, total, doing, preview=None: heard.append(preview))
    painter.close()
    assert [np.array_equal(one.image, other.image) for one, other in zip(plain, looked, strict=True)] == [True, True]
    assert len(heard) == 8
    shapes = {each.shape for each in heard if each is not None}
    drawn = painter.plan(request).parameters.size
    assert shapes == {(drawn.height // 2, drawn.width // 2, 3)}


def filled(factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    return hub_store.fill(factory.mktemp("hub"))
