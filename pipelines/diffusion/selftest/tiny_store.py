"""A model store of tiny networks, and people who are known in every embedding space."""

import shutil
from pathlib import Path

import numpy as np

from pipelines.diffusion.selftest import tiny_adapters
from pipelines.settings import BaseLocation, DrawSettings, ModelStoreSettings, Settings
from portrait.arrays import Size
from portrait.types import Box, Face, Identity, Pose, Quality, Reference

PLACES = {
    "instantid": ("instantid", ""),
    "photomaker": ("photomaker/photomaker-v1.bin", "photomaker-v1.bin"),
    "photomaker_v2": ("photomaker/photomaker-v2.bin", "photomaker-v2.bin"),
    "faceid_sd15": ("faceid/ip-adapter-faceid_sd15.bin", "ip-adapter-faceid_sd15.bin"),
    "faceid_sdxl": ("faceid/ip-adapter-faceid_sdxl.bin", "ip-adapter-faceid_sdxl.bin"),
    "faceid_plusv2_sdxl": ("faceid/ip-adapter-faceid-plusv2_sdxl.bin", "ip-adapter-faceid-plusv2_sdxl.bin"),
    "clip_vit_h": ("image_encoder", "models/image_encoder"),
    "controlnet_depth_sdxl": ("controlnet-depth-sdxl", ""),
    "controlnet_canny_sdxl": ("controlnet-canny-sdxl", ""),
    "controlnet_openpose_sdxl": ("controlnet-pose-sdxl", ""),
    "controlnet_canny_sd15": ("controlnet-sd15", ""),
    "lcm_sdxl": ("lora-style/pytorch_lora_weights.safetensors", "pytorch_lora_weights.safetensors"),
}
"""From the hub to the store, by model."""
HALF = ("controlnet_depth_sdxl", "controlnet_canny_sdxl", "controlnet_canny_sd15")
"""Published in half precision under a name that says so."""
PACKS = {"buffalo_l": ("det_10g", "w600k_r50"), "antelopev2": ("scrfd_10g_bnkps", "glintr100")}
"""InsightFace's packs: names of the detector and of the recognizer."""
UNUSED = ("1k3d68", "2d106det", "genderage")
"""The other files of a pack, which nothing reads."""
FIVE = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
"""Landmarks of a face that fills its picture, as shares of it."""
PHOTO, SQUARE = Size(80, 96), Size(64, 64)
"""Sizes of photos; a square that the tiny FLUX.2's VAE does not encode in tiles."""
LORA = "lora-user/pytorch_lora_weights.safetensors"
"""A person's LoRA for the base `xl`, in the hub."""


def fill(root: Path) -> Settings:
    """Write hub and store under `root`; the settings know the bases as `xl` and `sd`, both in the folder `hub`.

    The packs are empty files: adapters ask whether they are there, and read them only for photos without an embedding.
    """
    hub, store = tiny_adapters.build(root / "hub"), root / "models"
    for model, (source, name) in PLACES.items():
        if (hub / source).is_dir():
            shutil.copytree(hub / source, store / model / name, dirs_exist_ok=True)
        else:
            (store / model).mkdir(parents=True)
            shutil.copyfile(hub / source, store / model / name)
        if model in HALF:
            file = store / model / "diffusion_pytorch_model.safetensors"
            file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    for pack, files in PACKS.items():
        (store / pack).mkdir()
        for name in (*files, *UNUSED):
            (store / pack / f"{name}.onnx").touch()
    bases = {"xl": BaseLocation(hub / "sdxl"), "sd": BaseLocation(hub / "sd15")}
    return Settings(models=ModelStoreSettings(folder=store), bases=bases, draw=DrawSettings(base="xl", device="cpu"))


def made_up_person(seed: int, lora: Path | None = None, photo: Size = PHOTO) -> Identity:
    """Somebody with one photo of noise, whose face fills it and is known in every embedding space."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 255, (photo.height, photo.width, 3), dtype=np.uint8)
    vectors = {space: random.normal(size=512).astype(np.float32) for space in ("antelopev2", "buffalo_l")}
    vectors["dlib"] = random.normal(size=128).astype(np.float32)
    landmarks = FIVE * np.array([photo.width, photo.height], np.float32)
    face = Face(Box(0, 0, photo.width, photo.height), landmarks, None, vectors, Pose(0, 0, 0), 0.9)
    reference = Reference("a.jpg", image, face, Quality(1, 1, 1, 1, 1, 1, 1))
    trigger = "sks" if lora is not None else ""
    return Identity("somebody", (reference,), {"dlib": vectors["dlib"]}, lora, trigger, class_word="man")
