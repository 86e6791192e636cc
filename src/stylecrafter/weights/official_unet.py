"""Names and sizes of the published UNet: VideoCrafter's `UNetModel` <-> `VideoCrafterUNet`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from stylecrafter.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_TEMPORAL = {
    "relative_position_k.embeddings_table": "key_positions",
    "relative_position_v.embeddings_table": "value_positions",
    "to_out.0": "to_out",
}
_FIXED = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "init_attn.0": "init_temporal",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.temporals.0",
    "middle_block.3": "mid_block.resnets.1",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def unet_modules(keys: Collection[str]) -> dict[str, str]:
    """Published module name -> our module name, from the UNet's published keys (without prefix)."""
    blocks: dict[str, set[str]] = {}
    for key in keys:
        match = re.match(r"((?:in|out)put_blocks\.\d+\.\d+)\.(.+)", key)
        if match:
            blocks.setdefault(match[1], set()).add(match[2])
    modules = dict(_FIXED)
    level = layer = 0
    for block, position in _ordered(blocks, "input_blocks"):
        name = f"input_blocks.{block}.{position}"
        kind = _kind(blocks[name])
        if block == 0:
            continue
        if kind == "op":
            modules[name] = f"down_blocks.{level}.downsamplers.0"
            level, layer = level + 1, 0
        else:
            layer += kind == "resnets"
            modules[name] = f"down_blocks.{level}.{kind}.{layer - 1}"
    levels = level + 1
    count = len({block for block, _ in _ordered(blocks, "output_blocks")})
    per_stage = count // levels if levels else 0
    for block, position in _ordered(blocks, "output_blocks"):
        name = f"output_blocks.{block}.{position}"
        kind = _kind(blocks[name])
        stage, layer = divmod(block, per_stage)
        modules[name] = f"up_blocks.{stage}." + ("upsamplers.0" if kind == "conv" else f"{kind}.{layer}")
    return modules


def unet_key_map(keys: Collection[str]) -> dict[str, str]:
    """Published key -> our key, for those published UNet keys (without prefix) that have a place.

    Both directions: the map is one to one, so its inverse leads back.
    """
    modules = unet_modules(keys)
    result = {}
    for key in keys:
        match = re.match(
            r"((?:in|out)put_blocks\.\d+\.\d+|(?:middle_block|init_attn|time_embed|out)\.\d+)\.(.+)", key
        )
        if match and match[1] in modules:
            result[key] = rename_inside(modules[match[1]], match[2])
    return result


def rename_inside(module: str, leaf: str) -> str:
    """Our key of the published `leaf` inside our `module`."""
    table: Mapping[str, str] = {}
    if ".resnets." in module:
        table = _RESNET
    elif ".temporals." in module or module == "init_temporal":
        table = _TEMPORAL
    elif ".downsamplers." in module:
        table = {"op": "conv"}
    for old, new in table.items():
        leaf = re.sub(rf"(^|\.){re.escape(old)}(?=\.|$)", rf"\g<1>{new}", leaf)
    return f"{module}.{leaf}"


def to_ours(name: str, value: Tensor) -> Tensor:
    """The tensor as our key `name` holds it: 1x1 convolutions of the first temporal layer become linear."""
    if name.startswith("init_temporal.proj_") and value.ndim == 3:
        return value.squeeze(-1)
    return value


def to_published(name: str, value: Tensor) -> Tensor:
    """Inverse of `to_ours`."""
    if name.startswith("init_temporal.proj_") and value.ndim == 2:
        return value.unsqueeze(-1)
    return value


def unet_config(shapes: Shapes, attention_head_dim: int) -> dict[str, Any]:
    """The `VideoCrafterUNet` config that the published shapes (without prefix) show.

    Args:
        shapes: Published UNet key -> shape.
        attention_head_dim: Width of a head, which shapes cannot tell (published: 64).

    Raises:
        CheckpointError: The keys do not describe a VideoCrafter UNet.
    """
    modules = unet_modules(shapes)
    resnets = [(old, new) for old, new in modules.items() if re.match(r"down_blocks\.\d+\.resnets", new)]
    try:
        levels = 1 + max(int(new.split(".")[1]) for _, new in resnets)
        widths: list[int] = [0] * levels
        counts = [0] * levels
        for old, new in resnets:
            level = int(new.split(".")[1])
            widths[level] = shapes[f"{old}.out_layers.3.weight"][0]
            counts[level] += 1
        attended = {
            int(new.split(".")[1]) for new in modules.values() if re.match(r"down_blocks\.\d+\.att", new)
        }
        table, table_dim = shapes[
            "init_attn.0.transformer_blocks.0.attn1.relative_position_k.embeddings_table"
        ]
        config = {
            "in_channels": shapes["input_blocks.0.0.weight"][1],
            "out_channels": shapes["out.2.weight"][0],
            "block_out_channels": tuple(widths),
            "attention_levels": tuple(level in attended for level in range(levels)),
            "layers_per_block": counts[0],
            "transformer_layers_per_block": 1
            + max(
                int(key.split(".")[3])
                for key in shapes
                if key.startswith("middle_block.1.transformer_blocks.")
            ),
            "attention_head_dim": attention_head_dim,
            "cross_attention_dim": shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
            "max_relative_position": (table - 1) // 2,
            "init_temporal_heads": shapes["init_attn.0.proj_in.weight"][0] // table_dim,
            "init_temporal_head_dim": table_dim,
        }
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"not a VideoCrafter UNet: its tensors lack {error}") from error
    if len(set(counts)) > 1:
        raise CheckpointError(f"resolutions with different numbers of residual blocks: {counts}")
    return config


def _ordered(blocks: Mapping[str, object], path: str) -> list[tuple[int, int]]:
    numbers = (name.split(".") for name in blocks if name.startswith(f"{path}."))
    return sorted((int(block), int(position)) for _, block, position in numbers)


def _kind(leaves: set[str]) -> str:
    """What a published sub-module is, by the names of its parameters."""
    if any("relative_position" in leaf for leaf in leaves):
        return "temporals"
    if any(leaf.startswith("transformer_blocks.") for leaf in leaves):
        return "attentions"
    if any(leaf.startswith("in_layers.") for leaf in leaves):
        return "resnets"
    return "op" if any(leaf.startswith("op.") for leaf in leaves) else "conv"
