"""Finds out which transformer a file of weights holds, or for which a LoRA was made, from names and shapes of its tensors.

Transformers are published in diffusers' names and in their makers', LoRAs in those of diffusers, kohya's trainers and ComfyUI;
some families share names, and are told by shapes and by how many blocks there are.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipelines.model_store.manifest import ModelFamily, ModelKind
from pipelines.model_store.safetensors_file import Tensor

LORA_NAMES = re.compile(
    r"[._]lora_(down|up|mid|A|B)([._]|$)|_lora\.(down|up)\.|\.lora\.(down|up)\.|lora_linear_layer"
    r"|hada_w|lokr_w|dora_scale|^base_model\.model\.|^lora_(unet|te\d?)_"
)
DOWN = re.compile(r"lora_down|lora_A|lora[._]down|hada_w1_b")
FLUX2_BLOCKS = {3072: (5, 20), 4096: (8, 24)}
"""Double and single blocks of FLUX.2 [klein] by its width: 4B and 9B."""
FLUX2_DEV_WIDTH = 6144
FLUX_WIDTH = 3072
FLUX_BLOCKS: Mapping[str, int] = {"double": 19, "single": 38}
"""Of FLUX.1; HunyuanVideo has the same names and widths, and a few blocks more."""
FLUX_RATIOS: Mapping[ModelFamily, Mapping[str, float]] = {
    "flux": {"linear1": 7, "linear2": 1 / 5, "mlp_0": 4, "mlp_2": 1 / 4},
    "flux2": {"linear1": 9, "linear2": 1 / 4, "mlp_0": 6, "mlp_2": 1 / 3},
}
"""Results to inputs of layers that FLUX.1 and FLUX.2 call by the same names."""
FLUX_PURPOSES = {384: "FLUX.1 [Fill]", 128: "FLUX.1 [Canny] or [Depth]"}
"""By channels that the transformer takes; FLUX.1 itself takes 64."""
SD3_WIDTHS = (1536, 2432)
"""Medium, Large."""
ZIMAGE_WIDTH = 3840
LUMINA_WIDTH = 2304
OTHER_WHOLE = (
    (
        r"^controlnet_blocks\.|^control_layers\.|^controlnet_x_embedder\.",
        "a ControlNet of a transformer: take one that ships",
    ),
    (r"^distilled_guidance_layer\.", "made for Chroma"),
    (r"^img_in\.proj\.|^txt_in\.individual_token_refiner\.", "made for HunyuanVideo"),
    (r"^joint_transformer_(blocks|layers)\.", "made for AuraFlow"),
    (r"^siglip_embedder\.", "made for Z-Image-Omni"),
    (r"^time_text_embed\.addition_t_embedding\.", "made for Qwen-Image-Layered"),
)
"""Names of tensors of what only looks like a transformer that is drawn with."""
WHOLE: tuple[tuple[ModelFamily, tuple[str, ...]], ...] = (
    ("flux", ("double_blocks.0.img_mod.lin.weight",)),
    ("flux", ("single_transformer_blocks.0.proj_mlp.weight", "time_text_embed.text_embedder.linear_1.weight")),
    ("sd3", ("joint_blocks.0.context_block.attn.qkv.weight",)),
    ("sd3", ("pos_embed.proj.weight", "transformer_blocks.0.norm1_context.linear.weight")),
    ("qwenimage", ("txt_norm.weight", "transformer_blocks.0.attn.add_q_proj.weight")),
    ("zimage", ("cap_pad_token",)),
)
"""Tensors that every transformer of a family has, in its makers' names or in diffusers'."""
_PREFIX = re.compile(
    r"^(?:base_model\.model\.)?(?:(?:model\.)?diffusion_model\.|transformer\.|lora_unet[._]|lora_transformer[._])?"
)
_FLUX_LAYER = re.compile(
    r"^(double|single)_blocks[._](\d{1,4})[._](?:(?:img|txt)_)?(\w+(?:\.\w+)?)\.lora_(down|up|A|B)\b"
)
_SINGLE_BLOCK = re.compile(r"^single_transformer_blocks[._](\d{1,4})[._]")
_BLOCK = re.compile(r"^transformer_blocks[._](\d{1,4})[._]((?:img_|txt_)?[a-z]+\d?(?:_context)?)(?=[._])")
_ZIMAGE_LAYER = re.compile(
    r"^(?:layers|noise_refiner|context_refiner)[._]\d+[._](?:attention|feed_forward|adaLN_modulation)[._]"
)


@dataclass(frozen=True, slots=True)
class Contents:
    """What files hold, as far as it can be told."""

    kind: ModelKind | None = None
    """None where it is nothing that can be added."""
    family: ModelFamily = ""
    other: str = ""
    """What it is instead, in words; empty where it is not known."""


def detect_transformer(tensors: Mapping[str, Tensor]) -> Contents | None:
    """Find out which transformer a file is, or for which a LoRA was made; None where it is of none that is told here."""
    full = {name: tensor.shape for name, tensor in tensors.items() if tensor.shape and min(tensor.shape)}
    shapes = {_PREFIX.sub("", name): shape for name, shape in full.items()}
    if any(LORA_NAMES.search(name) for name in tensors):
        return _lora(shapes)
    return _flux2(shapes) or _transformer(shapes)


def _flux2(shapes: Mapping[str, tuple[int, ...]]) -> Contents | None:
    if not any(f"single_stream_modulation.{layer}.weight" in shapes for layer in ("lin", "linear")):
        return None
    first = next((shapes[name] for name in ("img_in.weight", "x_embedder.weight") if name in shapes), (0,))
    return Contents(other="made for FLUX.2 [dev]") if first[0] == FLUX2_DEV_WIDTH else Contents("base", "flux2")


def _transformer(shapes: Mapping[str, tuple[int, ...]]) -> Contents | None:
    for pattern, other in OTHER_WHOLE:
        if any(re.search(pattern, name) for name in shapes):
            return Contents(other=other)
    family = next((name for name, known in WHOLE if all(each in shapes for each in known)), "")
    first = next((shapes[name] for name in ("img_in.weight", "x_embedder.weight") if name in shapes), ())
    if family == "flux" and len(first) == 2 and first[0] == FLUX_WIDTH and first[1] in FLUX_PURPOSES:
        return Contents(other=f"made for {FLUX_PURPOSES[first[1]]}")
    return Contents("base", family) if family else None


def _lora(shapes: Mapping[str, tuple[int, ...]]) -> Contents | None:
    """By the family that has such layers; in each, what has the same names and is another is told."""
    if any(re.search(r"attn[._]to_qkv_mlp_proj\.", name) for name in shapes):
        return _of_flux2_width(_inputs(shapes, r"attn[._]to_qkv_mlp_proj\."))
    for applies, told in (
        (_FLUX_LAYER.search, _makers_flux_lora),
        (_SINGLE_BLOCK.search, _flux_lora),
        (re.compile(r"^joint_blocks[._]").search, lambda _: Contents("lora", "sd3")),
        (_ZIMAGE_LAYER.search, _zimage_lora),
        (_BLOCK.search, _block_lora),
    ):
        if any(applies(name) for name in shapes):
            return told(shapes)
    return None


def _makers_flux_lora(shapes: Mapping[str, tuple[int, ...]]) -> Contents | None:
    """FLUX.1 or FLUX.2, by the ratios of their layers, else by their blocks."""
    layers: dict[tuple[str, int, str], dict[str, int]] = {}
    for name, shape in shapes.items():
        found = _FLUX_LAYER.search(name)
        if found and len(shape) >= 2:
            down = found[4] in ("down", "A")
            layer = (found[1], int(found[2]), found[3].replace(".", "_"))
            layers.setdefault(layer, {})["in" if down else "out"] = shape[1 if down else 0]
    widths = {sides["in"] for layer, sides in layers.items() if "in" in sides and layer[2] not in ("mlp_2", "linear2")}
    whole = [(layer[2], sides["out"] / sides["in"]) for layer, sides in layers.items() if len(sides) == 2]
    told = {
        next((family for family, ratios in FLUX_RATIOS.items() if abs(ratios[name] - ratio) < 1e-6), "")
        for name, ratio in whole
        if name in FLUX_RATIOS["flux"]
    }
    if told == {"flux2"}:
        return _of_flux2_width(widths)
    width = max(widths, default=0)
    most: dict[str, int] = dict(zip(("double", "single"), FLUX2_BLOCKS.get(width, (0, 0)), strict=True))
    if not told and FLUX2_DEV_WIDTH in widths:
        return _of_flux2_width(widths)
    if not told and layers and all(number < most[block] for block, number, _ in layers):
        return Contents("lora", "flux2")
    if told - {"flux"} or not (told or width == FLUX_WIDTH):
        return None
    return _of_flux_blocks((block, number) for block, number, _ in layers)


def _flux_lora(shapes: Mapping[str, tuple[int, ...]]) -> Contents:
    if any(re.search(r"^joint_transformer_blocks[._]", name) for name in shapes):
        return Contents(other="made for AuraFlow")
    singles = (("single", int(found[1])) for name in shapes if (found := _SINGLE_BLOCK.search(name)))
    doubles = (("double", int(found[1])) for name in shapes if (found := _BLOCK.search(name)))
    return _of_flux_blocks((*singles, *doubles))


def _zimage_lora(shapes: Mapping[str, tuple[int, ...]]) -> Contents:
    if LUMINA_WIDTH in _inputs(shapes, r"attention[._](to_)?qk?v?[._]"):
        return Contents(other="made for Lumina 2")
    return Contents("lora", "zimage")


def _block_lora(shapes: Mapping[str, tuple[int, ...]]) -> Contents:
    """Names that FLUX.1, SD 3 and Qwen-Image share: by layers that one of them has, by width, by how many blocks there are."""
    blocks = [(int(found[1]), found[2]) for name in shapes if (found := _BLOCK.search(name))]
    layers, last = {layer for _, layer in blocks}, max(number for number, _ in blocks)
    if "attn1" in layers or not layers - {"norm1", "norm2", "norm3"}:
        return Contents(other="made for a transformer that nothing here draws with")
    if layers & {"img_mlp", "txt_mlp", "img_mod", "txt_mod"}:
        return Contents("lora", "qwenimage")
    widths = _inputs(shapes, r"attn[._](to_[qkv]|add_[qkv]_proj)\.")
    if "attn2" in layers or widths & {*SD3_WIDTHS}:
        return Contents("lora", "sd3")
    if any(re.search(r"[._]ff(_context)?[._]linear_(in|out)\.", name) for name in shapes):
        return Contents("lora", "flux2")
    if widths != {FLUX_WIDTH}:
        return Contents("lora")
    last_of_flux = FLUX_BLOCKS["double"] - 1
    return Contents("lora", "qwenimage" if last > last_of_flux else "flux" if last == last_of_flux else "")


def _of_flux_blocks(numbers: Iterable[tuple[str, int]]) -> Contents:
    if any(number >= FLUX_BLOCKS[block] for block, number in numbers):
        return Contents(other="made for HunyuanVideo")
    return Contents("lora", "flux")


def _of_flux2_width(widths: set[int]) -> Contents:
    return Contents(other="made for FLUX.2 [dev]") if FLUX2_DEV_WIDTH in widths else Contents("lora", "flux2")


def _inputs(shapes: Mapping[str, tuple[int, ...]], layers: str) -> set[int]:
    """The numbers of inputs of a LoRA's layers whose names have a pattern."""

    def found() -> Iterator[int]:
        for name, shape in shapes.items():
            if len(shape) >= 2 and DOWN.search(name) and re.search(layers, name):
                yield shape[1]

    return set(found())
