"""A tiny base of each family in a hub folder."""

from pathlib import Path

import pytest
from diffusers.pipelines.flux import pipeline_flux_kontext
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus

from pipelines.diffusion.base.families.shared import qwen
from tests import tiny
from tests.pipelines.diffusion.base.families import tiny_flux, tiny_qwen, tiny_sd2, tiny_sd3, tiny_zimage

WRITERS = {
    "sd15": tiny.sd15,
    "sd2": tiny_sd2.write,
    "sdxl": tiny.sdxl,
    "sd3": tiny_sd3.sd3,
    "flux": tiny_flux.flux,
    "flux_kontext": tiny_flux.kontext,
    "flux2": tiny.flux2,
    "zimage": tiny_zimage.zimage,
    "qwenimage": tiny_qwen.write,
    "qwenimage_edit": lambda folder: tiny_qwen.write(folder, edit=True),
}


def write(family: str, folder: Path) -> Path:
    """The base of a family, written as its makers publish theirs."""
    return WRITERS[family](folder)


def shrink_pictures(patch: pytest.MonkeyPatch) -> None:
    """Have bases draw, and see reference pictures, at 64 pixels that do so at a megapixel whatever their configuration says."""
    patch.setattr(qwen, "NATIVE_LATENTS", 8)
    patch.setattr(pipeline_flux_kontext, "PREFERRED_KONTEXT_RESOLUTIONS", [(64, 64)])
    for name in ("VAE_IMAGE_SIZE", "CONDITION_IMAGE_SIZE"):
        patch.setattr(edit_plus, name, 64 * 64)
