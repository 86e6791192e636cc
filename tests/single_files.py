"""Base models of diffusers in the layout of their first publication, one file each, as people share them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def single_file(base: Any) -> dict[str, Tensor]:
    """What such a file of Stable Diffusion or SDXL holds; UNets of one layer per block."""
    unet, vae = base.unet.state_dict(), base.vae.state_dict()
    levels = len(base.vae.config.block_out_channels)
    state = {f"model.diffusion_model.{_unet_name(name, unet)}": value for name, value in unet.items()}
    for name, value in vae.items():
        squares = ".attentions." in name and value.ndim == 2
        state[f"first_stage_model.{_vae_name(name, levels)}"] = value[:, :, None, None] if squares else value
    text = {
        f"text_model.{k.removeprefix('text_model.')}": v for k, v in base.text_encoder.state_dict().items()
    }
    if not hasattr(base, "text_encoder_2"):
        return state | {f"cond_stage_model.transformer.{name}": value for name, value in text.items()}
    state |= {f"conditioner.embedders.0.transformer.{name}": value for name, value in text.items()}
    return state | {
        f"conditioner.embedders.1.model.{k}": v for k, v in _open_clip(base.text_encoder_2).items()
    }


def _unet_name(name: str, unet: dict[str, Tensor]) -> str:
    module, _, leaf = name.rpartition(".")
    if module in _UNET:
        return f"{_UNET[module]}.{leaf}"
    where, _, rest = name.partition("_block")
    if where == "mid":
        kind, number, rest = rest.removeprefix(".").split(".", 2)
        place = f"middle_block.{2 * int(number) if kind == 'resnets' else 1}"
    else:
        block, kind, number, rest = rest.removeprefix("s.").split(".", 3)
        first = 2 * int(block) + (1 if where == "down" else 0)
        side = "input_blocks" if where == "down" else "output_blocks"
        if kind == "downsamplers":
            return f"{side}.{first + 1}.0.op.{leaf}"
        if kind == "upsamplers":
            attended = any(key.startswith(f"up_blocks.{block}.attentions.") for key in unet)
            return f"{side}.{first + 1}.{2 if attended else 1}.conv.{leaf}"
        place = f"{side}.{first + int(number)}.{0 if kind == 'resnets' else 1}"
    return f"{place}.{_renamed(rest, _RESNET) if kind == 'resnets' else rest}"


def _vae_name(name: str, levels: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if ".mid_block.attentions.0." in name:
        side, rest = name.split(".mid_block.attentions.0.")
        return f"{side}.mid.attn_1.{_renamed(rest, _ATTENTION)}"
    for i in (0, 1):
        name = name.replace(f"mid_block.resnets.{i}", f"mid.block_{i + 1}")
    for i in range(levels):
        name = name.replace(f"down_blocks.{i}.", f"down.{i}.").replace(
            f"up_blocks.{i}.", f"up.{levels - 1 - i}."
        )
    name = name.replace(".resnets.", ".block.")
    return name.replace("downsamplers.0.", "downsample.").replace("upsamplers.0.", "upsample.")


def _open_clip(encoder: Any) -> dict[str, Tensor]:
    held = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    state = {"text_projection": held.pop("text_projection.weight").T.contiguous()}
    for name, value in held.items():
        if ".self_attn.q_proj." in name:
            three = [held[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            layer, leaf = name.split(".self_attn.q_proj.")
            state[_renamed(f"{layer}.attn.in_proj_{leaf}", _OPEN_CLIP)] = torch.cat(three)
        elif not any(f".self_attn.{part}_proj." in name for part in "kv"):
            state[_renamed(name, _OPEN_CLIP)] = value
    return state


def _renamed(name: str, table: dict[str, str]) -> str:
    for ours, theirs in table.items():
        name = name.replace(ours, theirs)
    return name
