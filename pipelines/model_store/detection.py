"""Finds out what a file of weights is, and for which bases, from the names and shapes of its tensors."""

import re
from collections.abc import Callable, Iterable, Mapping

from pipelines.model_store.manifest import FAMILY_WORDS, KIND_WORDS, ModelFamily, ModelKind
from pipelines.model_store.safetensors_file import Tensor
from pipelines.model_store.transformer_files import DOWN, LORA_NAMES, Contents, detect_transformer
from portrait.errors import OperatorError

FAMILIES: Mapping[int, ModelFamily] = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
"""By the width of the text that the U-Net's cross-attention reads."""
REFINER_WIDTH = 1280
OTHERS = (
    (r"(^|[._])(double_blocks|single_blocks|single_transformer_blocks)[._]", "a transformer in the names of FLUX"),
    (r"(^|[._])joint_transformer_blocks[._]", "AuraFlow"),
    (r"(^|[._])motion_modules[._]", "AnimateDiff"),
    (r"^lora_controlnet$", "Control-LoRA"),
    (r"^(model\.)?(layers|blocks)\.\d+\.", "a transformer"),
)
"""Names of tensors of architectures that nothing here draws with."""
LIKE: Mapping[ModelFamily, ModelFamily] = {"flux_kontext": "flux", "qwenimage_edit": "qwenimage"}
"""Families whose files look like those of another: only who adds one knows."""
METHODS = (
    (r"hada_w", "LoHa"),
    (r"lokr_w", "LoKr"),
    (r"dora_scale", "DoRA"),
    (r"(^|\.)oft_(blocks|diag|R)", "OFT"),
    (r"\.on_input$", "IA3"),
)
"""Names of tensors of adapters that are no plain LoRA."""
_CROSS_KEYS = re.compile(r"attn2[._](processor[._])?to_[kv]")
_EMBEDDING_WIDTHS = (768, 1024, 1280)


def detect(tensors: Mapping[str, Tensor]) -> Contents:
    """Find out what a file is; a U-Net alone in the layout of diffusers is called a base."""
    if found := detect_transformer(tensors):
        return _lora(tensors, found.family) if found.kind == "lora" else found
    if other := _first(OTHERS, tensors):
        return Contents(other=f"made for {other}")
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
    if found.family and LIKE.get(family) == found.family:
        return family
    if family and found.family and family != found.family:
        made, said = (FAMILY_WORDS.get(each, each) for each in (found.family, family))
        raise OperatorError("wrong_kind", f"{path} was made for {made}, not for {said}.")
    return found.family or family


def _lora(tensors: Mapping[str, Tensor], family: ModelFamily) -> Contents:
    method = _first(METHODS, tensors)
    return Contents("lora", family, f"a {method}, which is not read here: take a plain LoRA" if method else "")


def _of_kind(kind: ModelKind, tensors: Mapping[str, Tensor]) -> Contents:
    if kind == "lora":
        return _lora(tensors, _lora_family(tensors))
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
        if _CROSS_KEYS.search(name) and DOWN.search(name) and len(tensor.shape) >= 2:
            return FAMILIES.get(tensor.shape[1], "")
    if any(re.search(r"lora_te[12]_|text_encoder_2|transformer_blocks[._][1-9]", name) for name in tensors):
        return "sdxl"
    encoder = (t.shape for n, t in tensors.items() if re.search(r"self_attn[._]q_proj", n) and DOWN.search(n))
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
    ("lora", lambda tensors: any(LORA_NAMES.search(name) for name in tensors)),
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
