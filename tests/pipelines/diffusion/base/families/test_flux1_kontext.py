"""FLUX.1 Kontext draws what diffusers' own pipelines draw: words, one picture beside them, and parts of pictures."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from diffusers import FluxKontextInpaintPipeline, FluxKontextPipeline
from diffusers.pipelines.flux import pipeline_flux_kontext, pipeline_flux_kontext_inpaint

from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.sampling import generation_options
from pipelines.diffusion.selftest import state
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.generation.edits import Edit
from tests.pipelines.diffusion.base.families import flux1_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_flux
from tests.pipelines.diffusion.base.families.flux1_drawing import draw, stock, stock_pipeline
from tests.pipelines.diffusion.base.families.flux2_drawing import apart, picture

NEAR, FAR = 1e-5, 1e-4
TRAINED = [(48, 96), (64, 64), (96, 48)]
"""In place of sizes of a megapixel."""
ANNA, BEN, START = picture(1, Size(80, 64)), picture(2, Size(64, 112)), picture(7)
MASK = np.zeros(START.shape[:2], np.float32)
MASK[16:48, 32:80] = 1.0
AREA = drawing.SIZE.width * drawing.SIZE.height


@pytest.fixture(scope="module", autouse=True)
def small_sizes() -> Iterator[None]:
    """Tiny networks see small pictures."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pipeline_flux_kontext, pipeline_flux_kontext_inpaint):
            patch.setattr(module, "PREFERRED_KONTEXT_RESOLUTIONS", TRAINED)
        yield


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hub folders `kontext` and `flux`."""
    folder = tmp_path_factory.mktemp("kontext")
    tiny_flux.kontext(folder / "kontext")
    tiny_flux.flux(folder / "flux")
    return folder


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    """The base, with everything in main memory."""
    loaded = drawing.load(hub / "kontext")
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def pipe(hub: Path) -> Any:
    """The stock pipeline."""
    return stock_pipeline(FluxKontextPipeline.from_pretrained(hub / "kontext", local_files_only=True))


def test_words_and_the_picture_beside_them_draw_the_stock_pictures(loaded: LoadedBase, pipe: Any) -> None:
    tokens: list[int] = []
    hook = loaded.denoiser.register_forward_pre_hook(
        lambda network, args, given: tokens.append(given["hidden_states"].shape[1]), with_kwargs=True
    )
    ours = {"none": draw(loaded), "anna": draw(loaded, [ANNA]), "ben": draw(loaded, [BEN])}
    hook.remove()
    assert tokens[:: drawing.STEPS] == [24, 24 + 16, 24 + 18], "of the picture, then of the one beside it"
    references: dict[str, Image | None] = {"none": None, "anna": ANNA, "ben": BEN}
    for name, each in references.items():
        beside = {} if each is None else {"image": PIL.Image.fromarray(each)}
        assert apart(ours[name], stock(pipe, **beside, max_area=AREA)) < NEAR, name
    assert apart(ours["none"], ours["anna"]) > FAR
    assert apart(ours["ben"], ours["anna"]) > FAR
    assert apart(ours["anna"], draw(loaded, [ANNA], prompt="a photo of a woman")) > FAR
    assert apart(ours["anna"], draw(loaded, [ANNA], guidance=8.0)) > FAR


@pytest.mark.parametrize("reference", [None, ANNA], ids=["alone", "with a reference"])
def test_pictures_and_parts_of_them_are_drawn_as_the_stock_pipeline_draws_them(
    loaded: LoadedBase, pipe: Any, reference: Image | None
) -> None:
    inpainting = stock_pipeline(FluxKontextInpaintPipeline(**pipe.components))
    references = [] if reference is None else [reference]
    beside = {} if reference is None else {"image_reference": PIL.Image.fromarray(reference).resize((64, 64), 1)}
    whole = np.ones_like(MASK)
    for mask, strength in ((MASK, 0.5), (None, 0.5), (None, 1.0)):
        given: dict[str, Any] = {"start": START, "strength": strength, "steps": 4, "mask": mask}
        steps: list[int] = []
        ours = draw(loaded, references, on_step=steps.append, **given)
        assert len(steps) == 4 * strength
        white = PIL.Image.fromarray(((whole if mask is None else mask) * 255).astype(np.uint8))
        theirs: dict[str, Any] = {"image": PIL.Image.fromarray(START), "mask_image": white, "strength": strength}
        theirs |= {"num_inference_steps": 4, "max_area": AREA, "_auto_resize": False}
        assert apart(ours, stock(inpainting, **theirs, **beside)) < NEAR
        assert apart(ours, draw(loaded, [BEN], **given)) > FAR


def test_loras_of_flux_1_are_worn_and_people_in_turns_are_as_in_fresh_processes(
    loaded: LoadedBase, hub: Path, tmp_path: Path
) -> None:
    learned_on = drawing.load(hub / "flux")
    files = {name: drawing.person_lora(learned_on, seed, tmp_path / name) for seed, name in enumerate(("anna", "ben"))}
    learned_on.close()
    who = {"anna": ([ANNA], files["anna"][0]), "ben": ([BEN], files["ben"][1])}
    fresh = {}
    for name, given in who.items():
        alone = drawing.load(hub / "kontext")
        fresh[name] = draw(alone, *given)
        alone.close()
    assert apart(fresh["anna"], fresh["ben"]) > FAR
    bare = draw(loaded, [ANNA])
    assert apart(fresh["anna"], bare) > FAR
    for name in ("anna", "ben", "ben", "anna"):
        assert np.array_equal(draw(loaded, *who[name]), fresh[name])
        assert np.array_equal(draw(loaded, [ANNA]), bare)


@pytest.mark.parametrize("profile", ["offload", "sequential"])
def test_every_memory_profile_draws_the_same(loaded: LoadedBase, hub: Path, profile: MemoryProfile) -> None:
    smaller = drawing.load(hub / "kontext", profile)
    square = Size(64, 64)  # larger ones this VAE would encode in tiles
    reference = [picture(1, square)]
    inside: dict[str, Any] = {"start": picture(7, square), "mask": MASK[:, :64], "strength": 0.7}
    before = state.capture(smaller)
    for changes in ({}, inside):
        given: dict[str, Any] = {"size": square, **changes}
        assert apart(draw(smaller, reference, **given), draw(loaded, reference, **given)) < NEAR
    assert not state.lost_hook(before, state.capture(smaller))
    assert not state.moved_tensor(before, state.capture(smaller))
    smaller.close()


def test_it_changes_one_picture_by_words_and_takes_no_other(loaded: LoadedBase) -> None:
    edit = Edit("instruct", START, "", 1.0, "put a hat on them")
    generation_options.check_edit(edit, loaded.source)
    with pytest.raises(UserError, match=r"flux_kontext\) takes no pictures"):
        generation_options.check_edit(replace(edit, pictures=(ANNA,)), loaded.source)
