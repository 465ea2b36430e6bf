"""Models of one's own: brought from files, hubs and addresses, looked at, refused with the reason, kept like shipped ones."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines import build
from pipelines.model_store import detection, http_download
from pipelines.model_store.add import NewModel
from pipelines.model_store.download import Source
from pipelines.model_store.files import sha256
from pipelines.model_store.manifest import FAMILY_WORDS, KIND_WORDS, Manifest, Model, ModelFile, ModelKind
from pipelines.model_store.safetensors_file import Tensor
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings
from portrait.errors import Cancelled, OperatorError
from tests.model_server import COMMIT, LORAS, UNET, Server, safetensors, write_lora

SHIPPED = Manifest(
    {"net": Model("net", "test", "MIT", "yes", (ModelFile("net.onnx", (Source("url", "http://127.0.0.1:9/n"),)),))}
)
Headers = dict[str, tuple[str, tuple[int, ...]]]


def store(folder: Path, **settings: Any) -> ModelStore:
    given: dict[str, Any] = {"networks": ("127.0.0.0/8",)} | settings
    return ModelStore(ModelStoreSettings(folder=folder / "models", **given), SHIPPED, build.convert_pickled)


def new(source: str | Path, name: str = "film", kind: Any = "lora", **parts: Any) -> NewModel:
    given: dict[str, Any] = {"licence": "MIT", "commercial": "yes"} | parts
    return NewModel(name, kind, str(source), **given)


def refusal(models: ModelStore, asked: NewModel) -> tuple[str, str]:
    with pytest.raises(OperatorError) as refused:
        models.add(asked)
    assert not (models.file("net", "net.onnx").exists() if models.missing("net") == [] else False)
    return refused.value.code, refused.value.message


# ------------------------------------------------------------------ like a shipped one


def test_a_file_becomes_a_model_like_a_shipped_one(tmp_path: Path) -> None:
    lora, models = write_lora(tmp_path / "Film look.safetensors"), store(tmp_path)
    facts = {"steps": 4, "guidance": 1.5, "scheduler": "lcm"}
    added = models.add(new(lora, page="https://example.org", note='a "note"\n', facts=facts))

    assert (added.state, added.allowed, added.size) == ("here", True, lora.stat().st_size)
    for known in (models, store(tmp_path)):  # the one that added it, and one of another process
        model = known.find("film")
        assert (model.kind, model.family, model.own, model.note, dict(model.facts)) == (
            "lora",
            "sd15",
            True,
            'a "note"\n',
            facts,
        )
        assert model.files[0].sha256 == sha256(lora)
        assert known.weights_file("film").read_bytes() == lora.read_bytes()
        assert known.of_kind("lora") == known.of_kind("lora", "sd15") == [model]
        assert known.of_kind("lora", "sdxl") == known.of_kind("vae") == []
        assert [each.state for each in known.check()] == ["ok"]
        assert [each.model.name for each in known.list()] == ["net", "film"]
    models.weights_file("film").write_bytes(b"other")
    assert [each.state for each in models.check(["film"])] == ["changed"]
    assert models.pull(["film"])[0].fetched == ("Film look.safetensors",)
    assert [each.state for each in models.check(["film"])] == ["ok"]
    lora.write_bytes(lora.read_bytes()[:-1] + b"\1")
    models.weights_file("film").unlink()
    with pytest.raises(OperatorError) as changed:
        models.pull(["film"])
    assert changed.value.code == "hash_mismatch"


def test_names_are_taken_once_replaced_on_request_and_removed(tmp_path: Path) -> None:
    models, lora = store(tmp_path), write_lora(tmp_path / "one.safetensors")
    models.add(new(lora))
    other = write_lora(tmp_path / "two.safetensors", "sdxl")
    assert refusal(models, new(other))[0] == "model_exists"
    assert refusal(models, new(other, "net", replace=True)) == (
        "model_exists",
        "net is a model of this program: choose another name.",
    )
    assert models.find("film").family == "sd15"

    models.add(new(other, replace=True))

    assert models.find("film").family == "sdxl"
    assert models.weights_file("film").name == "two.safetensors"
    assert not (tmp_path / "models" / "film" / "one.safetensors").exists()
    assert [each.state for each in models.check()] == ["ok"]
    for name, code in (("net", "not_own_model"), ("nobody", "unknown_model")):
        with pytest.raises(OperatorError) as refused:
            models.remove(name)
        assert refused.value.code == code
    models.remove("film")
    assert not (tmp_path / "models" / "film").exists()
    assert models.check() == ()
    with pytest.raises(OperatorError) as gone:
        models.find("film")
    assert gone.value.code == "unknown_model"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"name": "Film"}, "bad_model"),
        ({"name": "../film"}, "bad_model"),
        ({"kind": "network"}, "bad_model"),
        ({"licence": " "}, "bad_model"),
        ({"page": "javascript:alert(1)"}, "bad_model"),
        ({"source": "nowhere.safetensors"}, "bad_model_source"),
        ({"source": "~nobody-here/x.safetensors"}, "bad_model_source"),
        ({"source": "hub:nobody"}, "bad_model_source"),
        ({"source": "https://user:secret@example.org/x.safetensors"}, "bad_model_source"),
        ({"commercial": "no"}, "licence_refused"),
    ],
)
def test_what_does_not_hold_is_refused_before_anything_is_fetched(
    parts: dict[str, Any], code: str, tmp_path: Path
) -> None:
    models = store(tmp_path, use="commercial")
    lora = write_lora(tmp_path / "one.safetensors")
    given: dict[str, Any] = {"source": lora} | parts
    assert refusal(models, new(**given))[0] == code
    assert not list((tmp_path / "models").glob("*.toml"))


def test_the_licence_gate_holds_for_own_models(tmp_path: Path) -> None:
    store(tmp_path).add(new(write_lora(tmp_path / "one.safetensors"), commercial="no"))
    strict = store(tmp_path, use="commercial")
    assert [each.allowed for each in strict.list()] == [True, False]
    with pytest.raises(OperatorError) as refused:
        strict.weights_file("film")
    assert refused.value.code == "licence_refused"


def test_writers_of_one_manifest_do_not_lose_each_others_models(tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "one.safetensors")
    threads = [
        threading.Thread(target=lambda name=f"look{number}": store(tmp_path).add(new(lora, name)))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.name for each in store(tmp_path).of_kind("lora")} == {f"look{number}" for number in range(6)}


def test_a_broken_manifest_is_told_and_other_commands_say_where_it_is(tmp_path: Path) -> None:
    models = store(tmp_path)
    models.add(new(write_lora(tmp_path / "one.safetensors")))
    manifest = tmp_path / "models" / "models.toml"
    manifest.write_text(manifest.read_text().replace('commercial = "yes"', 'commercial = "maybe"'))
    with pytest.raises(OperatorError) as broken:
        models.find("film")
    assert broken.value.code == "bad_manifest"
    assert str(manifest) in broken.value.message
    assert str(manifest) in models.missing("net")[0]


# ------------------------------------------------------------------ what a file is


CONTROL = "controlnet_cond_embedding.conv_in.weight"
MODULATION = "single_stream_modulation.lin.weight"
QKV = "lora_unet_double_blocks_{}_img_attn_qkv.lora_down.weight"
SINGLE = "lora_unet_single_blocks_3_linear1.lora_{}.weight"
FLUX = "double_blocks.0.img_mod.lin.weight"
JOINT = "joint_blocks.0.context_block.attn.qkv"
LAYER = "layers.0.attention"
WHAT: dict[str, tuple[Headers, ModelKind | None, str]] = {
    "lora-kohya": (dict(LORAS["sd15"]), "lora", "sd15"),
    "lora-diffusers": (dict(LORAS["sdxl"]), "lora", "sdxl"),
    "lora-peft": (dict(LORAS["sd2"]), "lora", "sd2"),
    "lora-processor": (
        {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": ("F32", (4, 2048))},
        "lora",
        "sdxl",
    ),
    "lora-encoders": (
        {"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": ("F16", (4, 768))},
        "lora",
        "sdxl",
    ),
    "lora-encoder": (
        {"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": ("F16", (4, 768))},
        "lora",
        "sd15",
    ),
    "loha": ({"lora_unet_mid_block_attentions_0_proj_in.hada_w1_a": ("F16", (4, 4))}, None, ""),
    "dora": ({**LORAS["sd15"], "lora_unet_x.dora_scale": ("F16", (4, 1))}, None, ""),
    "flux": ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": ("F16", (4, 8))}, None, ""),
    "base": (
        {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": ("F16", (8, 768))},
        "base",
        "sd15",
    ),
    "base-sdxl": (
        {"model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": ("F16", (8, 2048))},
        "base",
        "sdxl",
    ),
    "refiner": (
        {"model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": ("F16", (8, 1280))},
        None,
        "",
    ),
    "vae": ({"encoder.down_blocks.0.x": ("F32", (1,)), "decoder.up_blocks.0.x": ("F32", (1,))}, "vae", ""),
    "vae-single": (
        {"first_stage_model.encoder.down.0.x": ("F32", (1,)), "first_stage_model.decoder.up.0.x": ("F32", (1,))},
        "vae",
        "",
    ),
    "controlnet": ({CONTROL: ("F16", (2, 2)), UNET: ("F16", (8, 2048))}, "controlnet", "sdxl"),
    "controlnet-single": (
        {"control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": ("F16", (8, 768))},
        "controlnet",
        "sd15",
    ),
    "ip-adapter": (
        {"image_proj.proj.weight": ("F16", (2, 2)), "ip_adapter.1.to_k_ip.weight": ("F16", (8, 2048))},
        "ip-adapter",
        "sdxl",
    ),
    "embedding": ({"emb_params": ("F32", (2, 768))}, "embedding", "sd15"),
    "embedding-sdxl": ({"clip_l": ("F32", (2, 768)), "clip_g": ("F32", (2, 1280))}, "embedding", "sdxl"),
    "embedding-diffusers": ({"<film>": ("F32", (768,))}, "embedding", "sd15"),
    "upscaler": (
        {"conv_first.weight": ("F32", (4, 3, 3, 3)), "body.0.rdb1.conv1.weight": ("F32", (2, 2))},
        "upscaler",
        "",
    ),
    "flux2": ({MODULATION: ("BF16", (18, 6)), "img_in.weight": ("BF16", (3072, 128))}, "base", "flux2"),
    "flux2-prefix": ({f"model.diffusion_model.{MODULATION}": ("BF16", (18, 6))}, "base", "flux2"),
    "flux2-diffusers": ({"single_stream_modulation.linear.weight": ("BF16", (18, 6))}, "base", "flux2"),
    "flux2-dev": ({MODULATION: ("BF16", (18, 6)), "img_in.weight": ("BF16", (6144, 128))}, None, ""),
    "flux2-lora": (
        {"transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj.lora_A.weight": ("BF16", (4, 8))},
        "lora",
        "flux2",
    ),
    "flux2-lora-kohya": (
        {SINGLE.format("down"): ("F16", (4, 8)), SINGLE.format("up"): ("F16", (72, 4))},
        "lora",
        "flux2",
    ),
    "flux2-lora-makers": (
        {
            "diffusion_model.double_blocks.0.img_mlp.2.lora_A.weight": ("F16", (4, 24)),
            "diffusion_model.double_blocks.0.img_mlp.2.lora_B.weight": ("F16", (8, 4)),
        },
        "lora",
        "flux2",
    ),
    "flux2-lora-attention": ({QKV.format(4): ("F16", (4, 3072))}, "lora", "flux2"),
    "flux-attention": ({QKV.format(18): ("F16", (4, 3072))}, "lora", "flux"),
    "hunyuan-attention": ({QKV.format(19): ("F16", (4, 3072))}, None, ""),
    "flux-single": ({SINGLE.format("down"): ("F16", (4, 8)), SINGLE.format("up"): ("F16", (56, 4))}, "lora", "flux"),
    "flux2-dev-single": (
        {SINGLE.format("down"): ("F16", (4, 6144)), SINGLE.format("up"): ("F16", (55296, 4))},
        None,
        "",
    ),
    "flux2-dev-lora": (
        {"transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj.lora_A.weight": ("BF16", (4, 6144))},
        None,
        "",
    ),
    "flux-base": (
        {f"model.diffusion_model.{FLUX}": ("BF16", (18, 6)), "img_in.weight": ("BF16", (3072, 64))},
        "base",
        "flux",
    ),
    "flux-base-diffusers": (
        {
            "single_transformer_blocks.0.proj_mlp.weight": ("BF16", (32, 8)),
            "time_text_embed.text_embedder.linear_1.weight": ("BF16", (8, 8)),
        },
        "base",
        "flux",
    ),
    "flux-fill": ({FLUX: ("BF16", (18, 6)), "img_in.weight": ("BF16", (3072, 384))}, None, ""),
    "chroma": ({FLUX: ("BF16", (18, 6)), "distilled_guidance_layer.in_proj.weight": ("BF16", (8, 8))}, None, ""),
    "flux-lora-diffusers": (
        {"transformer.single_transformer_blocks.37.attn.to_q.lora_A.weight": ("BF16", (4, 3072))},
        "lora",
        "flux",
    ),
    "hunyuan-diffusers": (
        {"transformer.single_transformer_blocks.39.attn.to_q.lora_A.weight": ("BF16", (4, 3072))},
        None,
        "",
    ),
    "flux-adapter": ({"double_blocks.0.processor.proj_lora1.down.weight": ("BF16", (4, 3072))}, None, ""),
    "sd3": ({f"model.diffusion_model.{JOINT}.weight": ("F16", (18, 6))}, "base", "sd3"),
    "sd3-diffusers": (
        {
            "pos_embed.proj.weight": ("F16", (8, 16, 2, 2)),
            "transformer_blocks.0.norm1_context.linear.weight": ("F16", (48, 8)),
        },
        "base",
        "sd3",
    ),
    "sd3-lora": ({"transformer.transformer_blocks.3.attn.to_q.lora_A.weight": ("F16", (4, 1536))}, "lora", "sd3"),
    "sd3-lora-kohya": ({f"lora_unet_{JOINT.replace('.', '_')}.lora_down.weight": ("F16", (4, 8))}, "lora", "sd3"),
    "sd3-lora-makers": ({f"diffusion_model.{JOINT}.lora_A.weight": ("F16", (4, 8))}, "lora", "sd3"),
    "sd3-controlnet": (
        {"controlnet_blocks.0.weight": ("F16", (8, 8)), "pos_embed.proj.weight": ("F16", (8,))},
        None,
        "",
    ),
    "auraflow": ({"joint_transformer_blocks.0.attn.to_q.weight": ("F16", (8, 8))}, None, ""),
    "pixart": ({"transformer.transformer_blocks.0.attn1.to_q.lora_A.weight": ("F16", (4, 1152))}, None, ""),
    "qwenimage": (
        {"txt_norm.weight": ("BF16", (8,)), "transformer_blocks.0.attn.add_q_proj.weight": ("BF16", (8, 8))},
        "base",
        "qwenimage",
    ),
    "qwenimage-lora": (
        {"transformer.transformer_blocks.59.attn.to_q.lora_A.weight": ("BF16", (4, 3072))},
        "lora",
        "qwenimage",
    ),
    "qwenimage-lora-kohya": (
        {"lora_unet_transformer_blocks_0_img_mlp_net_2.lora_down.weight": ("BF16", (4, 8))},
        "lora",
        "qwenimage",
    ),
    "qwenimage-lora-makers": (
        {"diffusion_model.transformer_blocks.0.txt_mod.1.lora_A.weight": ("BF16", (4, 8))},
        "lora",
        "qwenimage",
    ),
    "flux-or-qwenimage": (
        {"transformer.transformer_blocks.3.attn.to_q.lora_A.weight": ("BF16", (4, 3072))},
        "lora",
        "",
    ),
    "zimage": (
        {"cap_pad_token": ("BF16", (1, 8)), "layers.0.attention.qkv.weight": ("BF16", (8, 8))},
        "base",
        "zimage",
    ),
    "lumina": ({"layers.0.attention.qkv.weight": ("BF16", (8, 8))}, None, ""),
    "zimage-lora": ({f"transformer.{LAYER}.to_q.lora_A.weight": ("BF16", (4, 3840))}, "lora", "zimage"),
    "zimage-lora-kohya": (
        {f"lora_unet_{LAYER.replace('.', '_')}_to_q.lora_down.weight": ("BF16", (4, 3840))},
        "lora",
        "zimage",
    ),
    "zimage-lora-makers": ({f"diffusion_model.{LAYER}.qkv.lora_A.weight": ("BF16", (4, 3840))}, "lora", "zimage"),
    "lumina-lora": ({f"diffusion_model.{LAYER}.qkv.lora_A.weight": ("BF16", (4, 2304))}, None, ""),
    "zimage-controlnet": ({"control_layers.0.attention.to_q.weight": ("BF16", (8, 8))}, None, ""),
    "animatediff": ({"down_blocks.0.motion_modules.0.proj_in.weight": ("F16", (8, 8))}, None, ""),
    "empty": ({SINGLE.format("down"): ("F16", (4, 0)), SINGLE.format("up"): ("F16", (56, 4))}, None, ""),
    "flux2-scalar": ({MODULATION: ("BF16", (18, 6)), "img_in.weight": ("BF16", ())}, "base", "flux2"),
    "unknown": ({"text_model.embeddings.position_embedding.weight": ("F16", (2, 2))}, None, ""),
}


@pytest.mark.parametrize("what", WHAT)
def test_kind_and_family_are_read_off_the_header(what: str) -> None:
    headers, kind, family = WHAT[what]
    tensors = {name: Tensor(dtype, shape, 0, 0) for name, (dtype, shape) in headers.items()}
    found = detection.detect(tensors)
    said = kind or "lora"
    if kind is None:
        with pytest.raises(OperatorError) as refused:
            detection.require("file", found, said)
        assert refused.value.code == "wrong_kind"
        return
    assert (found.kind, found.family) == (kind, family)
    other = "vae" if kind != "vae" else "lora"
    with pytest.raises(OperatorError, match=KIND_WORDS[other]) as differs:
        detection.require("file", found, other)
    assert f"--kind {kind}" in differs.value.message
    if family:
        with pytest.raises(OperatorError) as differs:
            detection.require("file", found, kind, "sdxl" if family == "sd15" else "sd15")
        assert FAMILY_WORDS[family] in differs.value.message
    alike = next((name for name, other in detection.LIKE.items() if other == family), "")
    if alike:
        assert detection.require("file", found, kind, alike) == alike, "only who adds it knows"


LORA = safetensors(LORAS["sd15"])
NAME = next(iter(LORAS["sd15"]))


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "not_weights", "is empty"),
        (b"<!DOCTYPE html><title>Sign in</title>" * 9, "not_weights", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "not_weights", "Git LFS"),
        (b"GGUF" + bytes(99), "not_weights", "GGUF"),
        (bytes(99), "not_weights", "no file of weights"),
        (LORA[:-10], "truncated_weights", f"{len(LORA) - 10} bytes of {len(LORA)}"),
        (LORA[:60], "truncated_weights", "60 bytes"),
        (LORA[:8] + b"{" * (len(LORA) - 8), "not_weights", "header"),
        (safetensors({}), "not_weights", "no tensor"),
        (b"PK\3\4" + bytes(99), "pickled_weights", "--pickled"),
        (b"\x80\2}q" + bytes(99), "pickled_weights", "--pickled"),
        (safetensors({NAME: ("F16", (4, 768))}, 0xFF), "broken_weights", NAME),
        (safetensors({NAME: ("BF16", (4, 768))}, 0xFF), "broken_weights", "NaN"),
        (safetensors({NAME: ("F32", (4, 768))}, 0xFF), "broken_weights", "NaN"),
        (safetensors({NAME: ("F64", (4, 768))}, 0xFF), "broken_weights", "NaN"),
        (safetensors({NAME: ("F8_E4M3", (4, 768))}, 0xFF), "broken_weights", "NaN"),
        (safetensors({NAME: ("F8_E5M2", (4, 768))}, 0x7C), "broken_weights", "NaN"),
        (safetensors({NAME: ("U8", (4, 768))}), "broken_weights", "quantised"),
        (LORA.replace(b"768]", b"767]"), "broken_weights", "shape"),
        (LORA.replace(b'"F16"', b'"F4x"'), "broken_weights", "F4x"),
    ],
)
def test_a_fault_is_told_as_what_it_is_and_nothing_is_kept(
    content: bytes, code: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "film.safetensors").write_bytes(content)
    models = store(tmp_path)
    told = refusal(models, new(tmp_path / "film.safetensors"))
    assert told[0] == code
    assert words in told[1]
    assert "film.safetensors" in told[1]
    assert not (tmp_path / "models" / ".partial" / "film").exists()
    assert models.additions() == (), "whoever adds a model is told"


@pytest.mark.parametrize(("dtype", "fill"), [("F8_E4M3", 0x7E), ("F8_E5M2", 0x7B), ("BF16", 0x7E), ("F16", 0x7B)])
def test_the_largest_numbers_of_each_type_are_numbers(dtype: str, fill: int, tmp_path: Path) -> None:
    (tmp_path / "film.safetensors").write_bytes(safetensors({NAME: (dtype, (4, 768))}, fill))
    assert store(tmp_path).add(new(tmp_path / "film.safetensors")).state == "here"


def test_pickled_files_are_taken_as_tensors_and_only_where_that_is_asked_for(tmp_path: Path, server: Server) -> None:
    import torch

    pickled = tmp_path / "film.pt"
    torch.save({"state_dict": {NAME: torch.ones(4, 768)}, "epoch": 3}, pickled)
    models = store(tmp_path)
    assert refusal(models, new(pickled))[0] == "pickled_weights"
    server.files["/film.pt"] = pickled.read_bytes()

    models.add(new(f"{server.url}/film.pt", pickled=True))

    kept = models.weights_file("film")
    assert kept.name == "film.safetensors"
    file = models.find("film").files[0]
    assert (file.sha256, file.sources[0].pickled) == (sha256(kept), sha256(pickled))
    kept.unlink()
    assert models.pull(["film"])[0].fetched == ("film.safetensors",)
    assert sha256(models.weights_file("film")) == file.sha256
    torch.save({"weights": Path("/")}, pickled)
    told = refusal(models, new(pickled, pickled=True, replace=True))
    assert told[0] == "pickled_weights"
    assert "more than tensors" in told[1]
    assert sha256(models.weights_file("film")) == file.sha256


# ------------------------------------------------------------------ from addresses and hubs


def test_an_address_is_fetched_and_goes_on_where_it_broke(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_download, "BUSY_SECONDS", 0.01)
    server.files["/film"] = LORA
    server.redirects["/download?id=1"] = f"{server.url}/film"
    server.busy, server.breaks = [429, 503], [1000]
    models = store(tmp_path)

    models.add(new(f"{server.url}/download?id=1"))

    assert models.weights_file("film").name == "film.safetensors"
    assert models.weights_file("film").read_bytes() == LORA
    assert [each.get("Range") for each in server.gets("/film")] == [None, "bytes=1000-"]
    server.busy = [503] * 9
    told = refusal(models, new(f"{server.url}/film", "other"))
    assert told[0] == "download_failed"
    assert "answered 503" in told[1]


@pytest.mark.parametrize("noted_by_an_earlier_version", [False, True])
def test_a_part_that_is_the_whole_is_taken(
    noted_by_an_earlier_version: bool, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/film.safetensors"] = LORA
    models, asked = store(tmp_path), new(f"{server.url}/film.safetensors")

    def killed(transfer: object, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(http_download._Transfer, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            models.add(asked)
    part = tmp_path / "models" / ".partial" / "film" / "film.safetensors.part"
    assert part.read_bytes() == LORA
    if noted_by_an_earlier_version:
        note = part.with_name("film.safetensors.part.json")
        note.write_text(
            json.dumps({name: value for name, value in json.loads(note.read_text()).items() if name != "bytes"})
        )
    models.add(asked)
    assert models.weights_file("film").read_bytes() == LORA
    asked_again = [f"bytes={len(LORA)}-"] if noted_by_an_earlier_version else []
    assert [each.get("Range") for each in server.gets()] == [None, *asked_again]


@pytest.mark.parametrize("networks", [(), ("127.0.0.1/32",)])
def test_no_private_address_is_called_whether_named_or_redirected_to(
    networks: tuple[str, ...], server: Server, tmp_path: Path
) -> None:
    server.files["/secret"] = LORA
    port = server.url.rpartition(":")[2]
    server.redirects["/film"] = f"http://127.0.0.2:{port}/secret"
    models = store(tmp_path, networks=networks)
    told = refusal(models, new(f"{server.url}/film"))
    assert told[0] == "forbidden_address"
    assert "models.networks" in told[1]
    assert len(server.gets("/secret")) == 0
    assert len(server.gets("/film")) == len(networks)


def test_a_name_that_leads_to_a_private_address_is_not_called(server: Server, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    told = refusal(store(tmp_path, networks=()), new(f"https://localhost:{port}/film"))
    assert told[0] == "forbidden_address"
    assert server.requests == []


def test_a_file_that_is_too_large_is_refused_before_it_is_fetched(server: Server, tmp_path: Path) -> None:
    server.files["/film.safetensors"] = LORA
    told = refusal(store(tmp_path, max_gigabytes=1e-6), new(f"{server.url}/film.safetensors"))
    assert told[0] == "model_too_large"
    assert "models.max_gigabytes" in told[1]


BASE = {
    "model_index.json": b"{}",
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": safetensors({UNET: ("F32", (8, 2048)), "mid_block.x": ("F32", (1,))}),
    "unet/diffusion_pytorch_model.fp16.safetensors": safetensors(
        {UNET: ("F16", (8, 2048)), "mid_block.x": ("F16", (1,))}
    ),
    "vae/diffusion_pytorch_model.bin": b"PK",
    "tokenizer/vocab.json": b"{}",
    "safety_checker/model.safetensors": b"",
    "README.md": b"#",
}


def test_a_repository_gives_a_base_in_one_precision_held_to_its_commit(server: Server, tmp_path: Path) -> None:
    server.publish("maker/base", BASE)
    models = store(tmp_path, hub=server.url)
    models.add(new("hub:maker/base", "own_xl", "base"))
    model = models.find("own_xl")
    assert {file.name for file in model.files} == {
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "tokenizer/vocab.json",
    }
    assert model.family == "sdxl"
    assert {source.revision for file in model.files for source in file.sources} == {COMMIT}
    assert (models.folder("own_xl") / "unet" / "config.json").is_file()
    folder = tmp_path / "again"
    for name, content in BASE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    models.add(new(folder, "own_folder", "base"))
    assert [file.name for file in models.find("own_folder").files] == [file.name for file in model.files]


PART = "transformer/diffusion_pytorch_model-{:05}-of-00002.safetensors"
IN_PARTS = {
    "model_index.json": b"{}",
    "tokenizer/chat_template.jinja": b"x",
    PART.format(1): safetensors({"x_embedder.weight": ("BF16", (3072, 2))}),
    PART.format(2): safetensors({"single_stream_modulation.linear.weight": ("BF16", (2, 2))}),
    "transformer/diffusion_pytorch_model.safetensors.index.json": b"{}",
    "flux-2-klein-4b.safetensors": b"",
}


def test_a_base_in_parts_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    for name, content in IN_PARTS.items():
        (tmp_path / "base" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "base" / name).write_bytes(content)
    models = store(tmp_path)
    models.add(new(tmp_path / "base", "own_klein", "base"))
    assert {file.name for file in models.find("own_klein").files} == IN_PARTS.keys() - {"flux-2-klein-4b.safetensors"}
    assert models.find("own_klein").family == "flux2", "what the second part says"
    (tmp_path / "base" / PART.format(1)).unlink()
    code, sentence = refusal(models, new(tmp_path / "base", "other", "base"))
    assert (code, "not all the parts" in sentence) == ("bad_model_source", True)


def test_a_repository_of_several_loras_asks_which(server: Server, tmp_path: Path) -> None:
    server.publish(
        "maker/looks", {"a.safetensors": LORA, "deep/b.safetensors": LORA, "c.safetensors": LORA, "d.bin": b""}
    )
    models = store(tmp_path, hub=server.url)
    told = refusal(models, new("hub:maker/looks"))
    assert told[0] == "bad_model_source"
    assert "a.safetensors, c.safetensors" in told[1]
    models.add(new("hub:maker/looks@main:deep/b.safetensors"))
    file = models.find("film").files[0]
    assert (file.name, file.sources[0].path, file.sources[0].revision) == (
        "b.safetensors",
        "deep/b.safetensors",
        COMMIT,
    )
    assert refusal(models, new("hub:maker/nothing", "other"))[0] == "download_failed"


# ------------------------------------------------------------------ progress


def test_progress_is_seen_by_others_and_an_addition_can_be_stopped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.model_store.additions.REPORT_SECONDS", 0)
    server.files["/film.safetensors"] = LORA
    models, other = store(tmp_path), store(tmp_path)
    seen: list[tuple[int, int]] = []

    def watch(done: int, total: int, doing: str, preview: object = None) -> None:
        (noted,) = other.additions()
        seen.append((noted.done, noted.total))
        assert noted.state == "running"
        with pytest.raises(OperatorError) as busy:
            other.add(new(f"{server.url}/film.safetensors"))
        assert busy.value.code == "model_busy"
        if noted.done:
            other.remove("film")

    with pytest.raises(Cancelled):
        models.add(new(f"{server.url}/film.safetensors"), watch)
    assert seen[-1] == (len(LORA), len(LORA))
    assert models.additions() == ()
    assert [each.name for each in models.of_kind("lora")] == []


def test_why_one_could_not_be_added_in_the_background_stays_noted(tmp_path: Path) -> None:
    models = store(tmp_path)
    (tmp_path / "film.safetensors").write_bytes(b"<html>" * 9)
    run = models.start_adding(new(tmp_path / "film.safetensors"))
    assert [each.state for each in store(tmp_path).additions()] == ["running"]
    with pytest.raises(OperatorError):
        run()
    (noted,) = store(tmp_path).additions()
    assert (noted.name, noted.state, noted.code, noted.licence) == ("film", "failed", "not_weights", "MIT")
    models.remove("film")
    assert models.additions() == ()


def test_a_process_that_ended_in_between_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "models" / ".adding"
    folder.mkdir(parents=True)
    note = {"name": "film", "kind": "lora", "source": "hub:a/b", "started": 1.0, "done": 5, "total": 9}
    (folder / "film.json").write_text(json.dumps(note))
    (folder / "torn.json").write_text("{")
    models = store(tmp_path)
    assert [(each.name, each.state, each.done) for each in models.additions()] == [("film", "broken_off", 5)]
    models.add(new(write_lora(tmp_path / "one.safetensors")))
    assert models.additions() == ()
