"""Finds out what a file of weights is, and for which bases, from the names and shapes of its tensors."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pipelines.model_store.manifest import FAMILY_WORDS, KIND_WORDS, ModelFamily, ModelKind
from pipelines.model_store.safetensors_file import Tensor
from portrait.errors import OperatorError

FAMILIES: Mapping[int, ModelFamily] = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
"""By the width of the text that the U-Net's cross-attention reads."""
REFINER_WIDTH = 1280
FLUX2 = "flux2"
FLUX2_BLOCKS = {3072: (5, 20), 4096: (8, 24)}
"""Double and single blocks of FLUX.2 [klein] by its width: 4B and 9B."""
FLUX2_DEV_WIDTH = 6144
FLUX2_RATIOS = {"linear1": 9, "linear2": 1 / 4, "mlp_0": 6, "mlp_2": 1 / 3}
"""Results to inputs of layers that tell FLUX.2 from FLUX.1, which has the same names: there they are 7, 1/5, 4 and 1/4."""
OTHERS = (
    (r"(^|[._])(double_blocks|single_blocks|single_transformer_blocks)[._]", "Flux"),
    (r"(^|[._])joint_(transformer_)?blocks[._]", "Stable Diffusion 3"),
    (r"(^|[._])motion_modules[._]", "AnimateDiff"),
    (r"^lora_controlnet$", "Control-LoRA"),
    (r"^(model\.)?(layers|blocks)\.\d+\.", "a transformer"),
)
"""Names of tensors of architectures that nothing here draws with."""
METHODS = (
    (r"hada_w", "LoHa"),
    (r"lokr_w", "LoKr"),
    (r"dora_scale", "DoRA"),
    (r"(^|\.)oft_(blocks|diag|R)", "OFT"),
    (r"\.on_input$", "IA3"),
)
"""Names of tensors of adapters that are no plain LoRA."""
_LORA = re.compile(
    r"[._]lora_(down|up|mid|A|B)([._]|$)|_lora\.(down|up)\.|\.lora\.(down|up)\.|lora_linear_layer"
    r"|hada_w|lokr_w|dora_scale|^base_model\.model\.|^lora_(unet|te\d?)_"
)
_FLUX_LAYER = re.compile(r"(double|single)_blocks[._](\d+)[._](?:(?:img|txt)_)?(\w+(?:\.\w+)?)\.lora_(down|up|A|B)\b")
_CROSS_KEYS = re.compile(r"attn2[._](processor[._])?to_[kv]")
_DOWN = re.compile(r"lora_down|lora_A|lora[._]down|hada_w1_b")
_EMBEDDING_WIDTHS = (768, 1024, 1280)


@dataclass(frozen=True, slots=True)
class Contents:
    """What files hold, as far as it can be told."""

    kind: ModelKind | None = None
    """None where it is nothing that can be added."""
    family: ModelFamily = ""
    other: str = ""
    """What it is instead, in words; empty where it is not known."""


def detect(tensors: Mapping[str, Tensor]) -> Contents:
    """Find out what a file is; a U-Net alone in the layout of diffusers is called a base."""
    if found := _flux2(tensors):
        return found
    if other := _first(OTHERS, tensors):
        return Contents(other=f"made for {other}" if other[0].isupper() else other)
    for kind, applies in _KINDS:
        if applies(tensors):
            return _of_kind(kind, tensors)
    return Contents()


def require(path: str, found: Contents, kind: ModelKind, family: ModelFamily = "") -> ModelFamily:
    """Return the family of a file that was said to be of a kind and family; raises `OperatorError` (`wrong_kind`)."""
    if found.kind != kind:
        what = f"a {KIND_WORDS[found.kind]}" if found.kind else found.other or "nothing that is known here"
        advice = f": add it with --kind {found.kind}" if found.kind else ""
        raise OperatorError("wrong_kind", f"{path} is {what}, not a {KIND_WORDS[kind]}{advice}.")
    if found.other:
        raise OperatorError("wrong_kind", f"{path} is {found.other}.")
    if family and found.family and family != found.family:
        made, said = (FAMILY_WORDS.get(each, each) for each in (found.family, family))
        raise OperatorError("wrong_kind", f"{path} was made for {made}, not for {said}.")
    return found.family or family


def _flux2(tensors: Mapping[str, Tensor]) -> Contents | None:
    """What a file of FLUX.2 is: its transformer, or a LoRA in the names of diffusers or of its makers; None for any other."""
    shapes = {name.removeprefix("model.diffusion_model."): tensor.shape for name, tensor in tensors.items()}
    if any(f"single_stream_modulation.{layer}.weight" in shapes for layer in ("lin", "linear")):
        first = next((shapes[name] for name in ("img_in.weight", "x_embedder.weight") if name in shapes), (0,))
        return Contents(other="made for FLUX.2 [dev]") if first[0] == FLUX2_DEV_WIDTH else Contents("base", FLUX2)
    diffusers = any(re.search(r"attn[._]to_qkv_mlp_proj\.", name) for name in tensors)
    is_lora = any(_LORA.search(name) for name in tensors) and (diffusers or _is_flux2_lora(tensors))
    return _of_kind("lora", tensors, FLUX2) if is_lora else None


def _is_flux2_lora(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a LoRA in names that FLUX.1 and FLUX.2 share is of FLUX.2: by the ratios of its layers, else by its blocks."""
    layers: dict[tuple[str, int, str], dict[str, int]] = {}
    for name, tensor in tensors.items():
        found = _FLUX_LAYER.search(name)
        if found and len(tensor.shape) >= 2:
            down = found[4] in ("down", "A")
            layer = (found[1], int(found[2]), found[3].replace(".", "_"))
            layers.setdefault(layer, {})["in" if down else "out"] = tensor.shape[1 if down else 0]
    told = {
        round(sides["out"] / sides["in"], 6) == round(FLUX2_RATIOS[layer[2]], 6)
        for layer, sides in layers.items()
        if layer[2] in FLUX2_RATIOS and len(sides) == 2
    }
    width = next((sides["in"] for layer, sides in layers.items() if "in" in sides and layer[2].startswith("attn_")), 0)
    most: dict[str, int] = dict(zip(("double", "single"), FLUX2_BLOCKS.get(width, (0, 0)), strict=True))
    return told == {True} or (not told and width > 0 and all(number < most[block] for block, number, _ in layers))


def _of_kind(kind: ModelKind, tensors: Mapping[str, Tensor], family: ModelFamily = "") -> Contents:
    if kind == "lora":
        method = _first(METHODS, tensors)
        words = f"a {method}, which is not read here: take a plain LoRA" if method else ""
        return Contents(kind, family or _lora_family(tensors), words)
    if kind == "embedding":
        return Contents(kind, _embedding_family(tensors))
    suffix = "to_k_ip.weight" if kind == "ip-adapter" else "attn2.to_k.weight"
    width = _width(tensors, suffix)
    if kind == "base" and width == REFINER_WIDTH:
        return Contents(None, other="a refiner of SDXL")
    return Contents(kind, FAMILIES.get(width, ""))


def _first(patterns: Iterable[tuple[str, str]], names: Iterable[str]) -> str:
    """The word of the first pattern that any of the names fits."""
    known = list(names)
    return next((word for pattern, word in patterns if any(re.search(pattern, name) for name in known)), "")


def _width(tensors: Mapping[str, Tensor], suffix: str) -> int:
    """The number of inputs of the first matrix whose name ends like that; 0 where there is none."""
    shapes = (tensor.shape for name, tensor in tensors.items() if name.endswith(suffix))
    return next((shape[1] for shape in shapes if len(shape) >= 2), 0)


def _lora_family(tensors: Mapping[str, Tensor]) -> ModelFamily:
    for name, tensor in tensors.items():
        if _CROSS_KEYS.search(name) and _DOWN.search(name) and len(tensor.shape) >= 2:
            return FAMILIES.get(tensor.shape[1], "")
    if any(re.search(r"lora_te[12]_|text_encoder_2|transformer_blocks[._][1-9]", name) for name in tensors):
        return "sdxl"
    encoder = (t.shape for n, t in tensors.items() if re.search(r"self_attn[._]q_proj", n) and _DOWN.search(n))
    return FAMILIES.get(next((shape[1] for shape in encoder if len(shape) == 2), 0), "")


def _embedding_family(tensors: Mapping[str, Tensor]) -> ModelFamily:
    if "clip_g" in tensors:
        return "sdxl"
    return FAMILIES.get(next(iter(tensors.values())).shape[-1], "")


def _begins(tensors: Mapping[str, Tensor], *prefixes: str) -> bool:
    return all(any(name.startswith(prefix) for name in tensors) for prefix in prefixes)


def _is_embedding(tensors: Mapping[str, Tensor]) -> bool:
    if not set(tensors) <= {"emb_params", "clip_l", "clip_g"} and (
        len(tensors) > 1 or next(iter(tensors)).endswith((".weight", ".bias"))
    ):
        return False
    return all(len(t.shape) in (1, 2) and t.shape[-1] in _EMBEDDING_WIDTHS for t in tensors.values())


def _is_controlnet(tensors: Mapping[str, Tensor]) -> bool:
    return any(
        name.startswith("control_model.") or "controlnet_cond_embedding." in name or "input_hint_block." in name
        for name in tensors
    )


def _is_vae(tensors: Mapping[str, Tensor]) -> bool:
    names = [name.removeprefix("first_stage_model.") for name in tensors]
    return all(any(name.startswith(prefix) for name in names) for prefix in ("encoder.down", "decoder.up"))


def _is_upscaler(tensors: Mapping[str, Tensor]) -> bool:
    """The names of ESRGAN (the authors' old ones and BasicSR's) and of the compact network of Real-ESRGAN."""
    return "conv_first.weight" in tensors or _begins(tensors, "model.1.sub.") or _begins(tensors, "body.0.", "body.2.")


_KINDS: tuple[tuple[ModelKind, Callable[[Mapping[str, Tensor]], bool]], ...] = (
    ("ip-adapter", lambda tensors: _begins(tensors, "image_proj.", "ip_adapter.")),
    ("lora", lambda tensors: any(_LORA.search(name) for name in tensors)),
    ("embedding", _is_embedding),
    ("controlnet", _is_controlnet),
    (
        "base",
        lambda tensors: _begins(tensors, "model.diffusion_model.") or _begins(tensors, "down_blocks.", "mid_block."),
    ),
    ("vae", _is_vae),
    ("upscaler", _is_upscaler),
)
"""In this order: the LoRAs inside of an IP-Adapter do not make it one."""
