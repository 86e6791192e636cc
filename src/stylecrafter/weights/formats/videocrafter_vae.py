"""Names and sizes of the published first stage (latent diffusion) -> diffusers' `AutoencoderKL`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.formats.videocrafter_unet import Shapes

_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_SAME = re.compile(r"(?:quant_conv|post_quant_conv|(?:encoder|decoder)\.conv_(?:in|out))\.(?:weight|bias)")
_BLOCK = re.compile(r"(encoder|decoder)\.(?:down|up)\.(\d+)\.block\.(\d+)\.(.+)")
_SAMPLER = re.compile(r"(encoder|decoder)\.(?:down|up)\.(\d+)\.(down|up)sample\.conv\.(.+)")
_MIDDLE = re.compile(r"(encoder|decoder)\.mid\.(block|attn)_(\d+)\.(.+)")
_NORM = re.compile(r"(encoder|decoder)\.norm_out\.(.+)")


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """`AutoencoderKL` config that the published shapes (names without prefix) show; scaling factor 0.18215.

    Raises:
        CheckpointError: The keys do not describe the published autoencoder.
    """
    try:
        levels = _count(shapes, r"encoder\.down\.(\d+)\.block")
        widths = tuple(shapes[f"encoder.down.{i}.block.0.conv2.weight"][0] for i in range(levels))
        latent = shapes["post_quant_conv.weight"]
        config = {
            "in_channels": shapes["encoder.conv_in.weight"][1],
            "out_channels": shapes["decoder.conv_out.weight"][0],
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
            "block_out_channels": widths,
            "layers_per_block": _count(shapes, r"encoder\.down\.0\.block\.(\d+)"),
            "latent_channels": latent[1],
            "scaling_factor": 0.18215,
        }
    except KeyError as error:
        raise CheckpointError(f"not the published autoencoder: {error.args[0]} is missing") from error
    if not levels or latent[0] != latent[1]:
        raise CheckpointError(
            f"not the published autoencoder: {levels} resolutions, {latent[1]} latent channels of "
            f"{latent[0]} decoder channels"
        )
    return config


def vae_state(published: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """diffusers' state dict from the published one (names without prefix), and the names without a place."""
    levels = _count(published, r"decoder\.up\.(\d+)\.block")
    state, unplaced = {}, []
    for key, value in published.items():
        name = _our_name(key, levels)
        if name is None:
            unplaced.append(key)
        elif ".attentions." in name and value.ndim == 4:
            state[name] = value[:, :, 0, 0]
        else:
            state[name] = value
    return state, unplaced


def _our_name(key: str, levels: int) -> str | None:
    if _SAME.fullmatch(key):
        return key
    if match := _NORM.fullmatch(key):
        return f"{match[1]}.conv_norm_out.{match[2]}"
    if match := _MIDDLE.fullmatch(key):
        side, kind, number, leaf = match.groups()
        if kind == "block":
            return f"{side}.mid_block.resnets.{int(number) - 1}.{_shortcut(leaf)}"
        module, _, leaf = leaf.rpartition(".")
        return f"{side}.mid_block.attentions.0.{_ATTENTION[module]}.{leaf}" if module in _ATTENTION else None
    if match := _BLOCK.fullmatch(key):
        side, level, number, leaf = match.groups()
        return f"{_stage(side, level, levels)}.resnets.{number}.{_shortcut(leaf)}"
    if match := _SAMPLER.fullmatch(key):
        side, level, way, leaf = match.groups()
        return f"{_stage(side, level, levels)}.{way}samplers.0.conv.{leaf}"
    return None


def _stage(side: str, level: str, levels: int) -> str:
    """The decoder counts its resolutions from fine to coarse there, from coarse to fine here."""
    if side == "encoder":
        return f"encoder.down_blocks.{level}"
    return f"decoder.up_blocks.{levels - 1 - int(level)}"


def _shortcut(leaf: str) -> str:
    return leaf.replace("nin_shortcut", "conv_shortcut")


def _count(keys: Mapping[str, object], pattern: str) -> int:
    return len({match[1] for key in keys if (match := re.match(pattern, key))})
