"""Tiny bases and adapters on the disk, under the names and in the layouts in which people have the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stylecrafter.adapter.style_adapter import StyleAdapter, cross_attention_layers
from tests.golden import regenerate
from tests.golden.test_stylemaster import KEYS, WAN
from tests.tiny import (
    motion_adapter,
    sdxl_unet,
    stable_diffusion_unet,
    tiny_image_encoder,
    tiny_ip_adapter,
    tiny_picture,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
    tiny_wan_base,
)

#: Width of the image encoder that all adapters here read: the heads of the published ones divide it.
ENCODER_WIDTH = 40


def write_published(folder: Path) -> None:
    """All that the command lines of docs/backbones.md name, at tiny size."""
    stable_diffusion = tiny_sd_pipeline()
    stable_diffusion.save_pretrained(folder / "stable-diffusion-v1-5/stable-diffusion-v1-5")
    tiny_sd_pipeline(1, "v_prediction").save_pretrained(folder / "stabilityai/stable-diffusion-2-1")
    tiny_sdxl_pipeline().save_pretrained(folder / "stabilityai/stable-diffusion-xl-base-1.0")
    tiny_wan_base(**{**WAN, "rope_max_seq_len": 64}).save_pretrained(
        folder / "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    )
    motion_adapter().save_pretrained(folder / "guoyww/animatediff-motion-adapter-v1-5-2")
    published = folder / "h94/IP-Adapter"
    for part in ("models", "sdxl_models"):
        encoder = tiny_image_encoder(hidden_size=ENCODER_WIDTH, patch_size=4)
        encoder.save_pretrained(published / part / "image_encoder")
    plus = tiny_ip_adapter(stable_diffusion.unet, plus=True)
    plus["image_proj"]["proj_in.weight"] = torch.randn(8, ENCODER_WIDTH)
    save_file(flat(plus), published / "models/ip-adapter-plus_sd15.safetensors")
    torch.save(tiny_ip_adapter(sdxl_unet()), published / "sdxl_models/ip-adapter_sdxl.bin")
    torch.save(stylecrafter_sdxl(sdxl_unet()), folder / "stylecrafter_sdxl.ckpt")
    save_file(stylemaster(), folder / "stylemaster.safetensors")
    own = StyleAdapter.for_model(
        stable_diffusion_unet(), ENCODER_WIDTH, extractor_layers=1, extractor_heads=2, scale_heads=2
    )
    own.save_pretrained(folder / "my-adapter")
    tiny_picture().save(folder / "painting.jpg")


def flat(state: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Nested state dicts as a safetensors file has them."""
    return {f"{module}.{key}": value for module, tensors in state.items() for key, value in tensors.items()}


def stylecrafter_sdxl(unet: Any) -> dict[str, Tensor]:
    """A `stylecrafter_sdxl.ckpt` for a UNet."""
    layers = cross_attention_layers(unet)
    (text_dim,) = {layer.to_k.in_features for layer in layers.values()}
    scale_dim = 16
    shapes: dict[str, tuple[int, ...]] = {
        **_tower("image_context_model.", ENCODER_WIDTH, 4, text_dim),
        **_tower("scale_predictor.scale_predictor.", scale_dim, len(layers), scale_dim),
        "scale_predictor.text_proj.weight": (scale_dim, text_dim),
        "scale_predictor.text_proj.bias": (scale_dim,),
        "scale_predictor.style_proj.weight": (scale_dim, text_dim),
        "scale_predictor.style_proj.bias": (scale_dim,),
        "scale_predictor.out_proj.0.weight": (scale_dim, scale_dim),
        "scale_predictor.out_proj.0.bias": (scale_dim,),
        "scale_predictor.out_proj.2.weight": (1, scale_dim),
        "scale_predictor.out_proj.2.bias": (1,),
    }
    for i, layer in enumerate(layers.values()):
        width = layer.to_k.out_features
        shapes |= {f"kv_attn_layers.{2 * i + 1}.to_{part}_style.weight": (width, text_dim) for part in "kv"}
        shapes |= {f"kv_attn_layers.{2 * i + 1}.norm_style.{leaf}": (width,) for leaf in ("weight", "bias")}
    return _drawn(shapes)


def stylemaster() -> dict[str, Tensor]:
    """A StyleMaster file for a Wan of the sizes `WAN`: the transformer and its style model."""
    width, style_dim = ENCODER_WIDTH, WAN["num_attention_heads"] * 16
    names = {"query_emb": "style_emb", "proj": "proj_patch"}
    style = {names.get(name, name): shape for name, shape in _tower("", width, 2, style_dim).items()}
    style |= {"proj.weight": (3 * style_dim, 12), "proj.bias": (3 * style_dim,)}
    style |= {"norm.weight": (style_dim,), "norm.bias": (style_dim,)}
    return _drawn({**KEYS["tiny"]["dit"], **{f"style_model.{name}": shape for name, shape in style.items()}})


def _tower(prefix: str, width: int, tokens: int, out: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published query transformer of one block."""
    vectors = ("ln1", "ln2", "transformer_blocks.resblocks.0.ln_1", "transformer_blocks.resblocks.0.ln_2")
    block = {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width),
        "mlp.c_proj.bias": (width,),
    }
    shapes = {"query_emb": (1, tokens, width), "proj": (width, out)}
    shapes |= {f"{vector}.{leaf}": (width,) for vector in vectors for leaf in ("weight", "bias")}
    shapes |= {f"transformer_blocks.resblocks.0.{name}": shape for name, shape in block.items()}
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def _drawn(shapes: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in regenerate.weights(shapes).items()}
