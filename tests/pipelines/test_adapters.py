"""Adapters from anywhere: told by their tensors, every tensor accounted for, refused where they do not belong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.pipelines.official import UNET, build_adapter, build_unet
from stylecrafter.weights import load_adapter
from stylecrafter.weights.formats.checkpoint_files import with_prefix
from tests.golden.support import HEADS, checkpoint
from tests.tiny import (
    WIDTH,
    stable_diffusion_unet,
    tiny_image_encoder,
    tiny_picture,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
)


@pytest.fixture(scope="module")
def sdxl_tensors() -> dict[str, Tensor]:
    """A StyleCrafter-SDXL file for `tiny_sdxl_pipeline` and `tiny_image_encoder`, by way of the published names."""
    unet = tiny_sdxl_pipeline().unet
    adapter = StyleAdapter.for_model(unet, WIDTH, text_dim=2 * WIDTH, scale_dim=8, num_style_tokens=2)
    generator = torch.Generator().manual_seed(0)
    drawn = {k: torch.randn(v.shape, generator=generator) * 0.2 for k, v in adapter.state_dict().items()}
    return {_published(name): _turned(name, value) for name, value in drawn.items()}


def _published(name: str) -> str:
    head, rest = name.split(".", 1)
    if head == "layers":
        number, part, leaf = rest.split(".")
        return f"kv_attn_layers.{2 * int(number) + 1}.{part}_style.{leaf}"
    tower = "image_context_model" if head == "extractor" else "scale_predictor.scale_predictor"
    if rest.startswith(("text_proj", "style_proj")):
        return f"scale_predictor.{rest}"
    if rest.startswith("head."):
        return f"scale_predictor.out_proj.{rest.removeprefix('head.')}"
    for ours, theirs in _RENAMED:
        rest = rest.replace(ours, theirs)
    return f"{tower}.{rest}"


_RENAMED = (
    ("queries", "query_emb"),
    ("proj.weight", "proj"),
    ("norm_in", "ln1"),
    ("norm_out", "ln2"),
    ("blocks.", "transformer_blocks.resblocks."),
    ("norm1", "ln_1"),
    ("norm2", "ln_2"),
    ("to_qkv.", "attn.in_proj_"),
    ("to_out", "attn.out_proj"),
    ("mlp.0", "mlp.c_fc"),
    ("mlp.2", "mlp.c_proj"),
)


def _turned(name: str, value: Tensor) -> Tensor:
    if name.endswith("queries"):
        return value[None]
    return (
        value.T.contiguous() if name.endswith(("extractor.proj.weight", "predictor.proj.weight")) else value
    )


def test_stylecrafter_v1_numbers_its_layers_as_the_unet_registers_them() -> None:
    tensors = checkpoint("tiny", "adapter")
    heads = HEADS["tiny"]
    unet, _ = build_unet(
        with_prefix(checkpoint("tiny", "model", UNET), UNET), heads["attention_head_dim"], False
    )
    wanted = build_adapter(tensors, unet, heads["adapter_num_heads"], copy=True)
    found = load_adapter(tensors, num_heads=heads["adapter_num_heads"])
    assert found.config["layer_names"] is None and found.attach(unet).layer_names == wanted.layer_names
    states = found.state_dict(), wanted.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert found.config["extractor_heads"] == found.config["scale_heads"] == heads["adapter_num_heads"]


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors", ".nothing"])
def test_a_published_file_in_a_pipeline(sdxl_tensors, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    if suffix == ".ckpt":
        torch.save({"state_dict": sdxl_tensors}, file)
    else:
        save_file(sdxl_tensors, file)
    pipe = StyleCrafterPipeline.from_base(tiny_sdxl_pipeline(), image_encoder=tiny_image_encoder())
    pipe.set_progress_bar_config(disable=True)
    pipe.load_adapter(load_adapter(file, num_heads=2, scale_heads=2))
    assert pipe.config.default_style_scale == 0.5
    assert pipe.config.default_negative_prompt.startswith("monochrome, lowres")
    assert pipe.style_adapter.layer_names[0].startswith("down_blocks") and pipe.style_adapter.layer_names[
        -1
    ].startswith("mid_block")
    call = {"num_inference_steps": 2, "output_type": "latent", "seed": 1}
    styled = pipe("a red fox", tiny_picture(), **call).frames
    assert torch.equal(pipe("a red fox", tiny_picture(), style_scale=0.5, **call).frames, styled)
    pipe.unload_adapter()
    assert pipe.config.default_style_scale == 1.0 and pipe.config.default_negative_prompt == ""
    if suffix == ".ckpt":
        folder = tmp_path / "ours"
        load_adapter(file, num_heads=2).save_pretrained(folder)
        again = load_adapter(folder)
        assert again.config["default_scale"] == 0.5 and again.config["layer_names"] is None


def test_every_tensor_has_a_place(sdxl_tensors) -> None:
    changes = [
        ({"kv_attn_layers.2.to_k_style.weight": torch.zeros(1)}, "without a place"),
        ({"kv_attn_layers.1.to_q_style.weight": torch.zeros(1)}, "without a place"),
        ({"image_context_model.ln1.weight": torch.zeros(3)}, "of another shape"),
        ({"image_context_model.ln1.weight": torch.full((WIDTH,), torch.nan)}, "not finite"),
    ]
    for change, message in changes:
        with pytest.raises(CheckpointError, match=message):
            load_adapter({**sdxl_tensors, **change}, num_heads=2, scale_heads=2)
    for name in ("scale_predictor.text_proj.weight", "scale_predictor.scale_predictor.proj"):
        less = {key: value for key, value in sdxl_tensors.items() if key != name}
        with pytest.raises(CheckpointError, match="missing"):
            load_adapter(less, num_heads=2, scale_heads=2)
    fewer = {key: value for key, value in sdxl_tensors.items() if not key.startswith("kv_attn_layers.1.")}
    with pytest.raises(CheckpointError, match="predicts 8 scales, but has 7 layers"):
        load_adapter(fewer, num_heads=2, scale_heads=2)


def test_other_files_are_told_what_they_are(tmp_path: Path) -> None:
    unet = stable_diffusion_unet()
    own = StyleAdapter.for_model(unet, WIDTH, extractor_heads=2, scale_heads=2, num_style_tokens=2)
    cases = [
        (own.state_dict(), "one of our adapters: give its whole folder"),
        ({"unet.a.lora_A.weight": torch.zeros(2)}, "a LoRA, which `pipe.base.load_lora_weights` loads"),
        (unet.state_dict(), "a UNet"),
        ({"model.diffusion_model.a": torch.zeros(1)}, "a whole base model, which `from_base` loads"),
        (
            {"x": torch.zeros(1)},
            r"holds 1 tensor \(x\); known are StyleCrafter v1, StyleCrafter-SDXL, IP-Adapter",
        ),
    ]
    for tensors, message in cases:
        with pytest.raises(CheckpointError, match=message):
            load_adapter(tensors)
    with pytest.raises(CheckpointError, match="no such file|cannot be read|not there|No such file"):
        load_adapter(tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match="holds no tensors"):
        load_adapter({})


def test_a_published_width_says_what_base_is_right() -> None:
    pipe = StyleCrafterPipeline.from_base(tiny_sd_pipeline())
    wide = StyleAdapter(16, 2048, None, (16,), extractor_heads=2, scale_type="fixed", extractor_layers=1)
    with pytest.raises(InvalidInputError, match="reads width 16: it is for SDXL"):
        pipe.load_adapter(wide)


def test_the_wrong_base_and_the_wrong_encoder_are_refused(sdxl_tensors) -> None:
    adapter = load_adapter(sdxl_tensors, num_heads=2, scale_heads=2)
    pipe = StyleCrafterPipeline.from_base(tiny_sd_pipeline())
    with pytest.raises(InvalidInputError, match="gives width 32, the UNet2DConditionModel reads width 16"):
        pipe.load_adapter(adapter)
    assert pipe.style_adapter is None
    pipe = StyleCrafterPipeline.from_base(tiny_sdxl_pipeline())
    with pytest.raises(
        InvalidInputError, match="image encoder gives width 24, the style adapter reads width 16"
    ):
        pipe.load_adapter(adapter, image_encoder=tiny_image_encoder(hidden_size=24))
    assert pipe.style_adapter is None and not adapter.attached
    pipe.load_adapter(adapter)


def test_a_file_on_the_hub_goes_by_its_place_there(
    sdxl_tensors: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(sdxl_tensors, tmp_path / "style.safetensors")
    asked: list[tuple[str, str]] = []

    def fetched(repo: str, inside: str) -> str:
        asked.append((repo, inside))
        return str(tmp_path / "style.safetensors")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
    heads = {"num_heads": 2, "scale_heads": 2}
    adapter = load_adapter("owner/name/models/style.safetensors", **heads)
    assert asked == [("owner/name", "models/style.safetensors")]
    assert adapter.num_layers == load_adapter(sdxl_tensors, **heads).num_layers
    with pytest.raises(CheckpointError):
        load_adapter(tmp_path / "folder" / "style.safetensors")  # a path of this machine is none of the hub
    assert len(asked) == 1
