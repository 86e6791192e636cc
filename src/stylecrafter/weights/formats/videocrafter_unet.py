"""Names and sizes of the published UNet: VideoCrafter's `UNetModel` <-> `VideoCrafterUNet`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stylecrafter.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]


def shape_of(shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor that has so many axes.

    Raises:
        KeyError: There is no such tensor.
        CheckpointError: It has fewer or more of them.
    """
    shape = shapes[name]
    if len(shape) != axes:
        raise CheckpointError(f"{name} has the shape {shape}, where one of {axes} axes belongs")
    return shape


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
_MODULE = re.compile(
    r"((?:input|output)_blocks\.\d+\.\d+|(?:middle_block|init_attn|time_embed|out)\.\d+)\.(.+)"
)


def unet_config(shapes: Shapes, attention_head_dim: int) -> dict[str, Any]:
    """The `VideoCrafterUNet` config that the published shapes (names without prefix) show.

    Args:
        shapes: Published UNet key -> shape.
        attention_head_dim: Width of a head, which shapes cannot tell (published: 64).

    Raises:
        CheckpointError: The keys do not describe a VideoCrafter UNet.
    """
    widths, counts, attended = [0], [0], [False]
    block = 1
    while True:
        convolution = f"input_blocks.{block}.0.out_layers.3.weight"
        if f"input_blocks.{block}.0.op.weight" in shapes:
            widths, counts, attended = [*widths, 0], [*counts, 0], [*attended, False]
        elif convolution in shapes:
            widths[-1] = shapes[convolution][0]
            counts[-1] += 1
            attended[-1] = f"input_blocks.{block}.1.norm.weight" in shapes
        else:
            break
        block += 1
    if min(counts) == 0 or len(set(counts)) > 1:
        raise CheckpointError(
            "not a VideoCrafter UNet: expected the same number of residual blocks in every resolution, "
            f"found {counts}"
        )
    depth = {
        int(match[1])
        for key in shapes
        if (match := re.match(r"middle_block\.1\.transformer_blocks\.(\d+)\.", key))
    }
    try:
        rows, table_dim = shapes[
            "init_attn.0.transformer_blocks.0.attn1.relative_position_k.embeddings_table"
        ]
        return {
            "in_channels": shapes["input_blocks.0.0.weight"][1],
            "out_channels": shapes["out.2.weight"][0],
            "block_out_channels": tuple(widths),
            "attention_levels": tuple(attended),
            "layers_per_block": counts[0],
            "transformer_layers_per_block": len(depth),
            "attention_head_dim": attention_head_dim,
            "cross_attention_dim": shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
            "max_relative_position": (rows - 1) // 2,
            "init_temporal_heads": shapes["init_attn.0.proj_in.weight"][0] // table_dim,
            "init_temporal_head_dim": table_dim,
        }
    except KeyError as error:
        raise CheckpointError(f"not a VideoCrafter UNet: {error.args[0]} is missing") from error


def unet_modules(config: Mapping[str, Any]) -> dict[str, str]:
    """Published module name -> our module name, in the published order of layers."""
    layers, attention = config["layers_per_block"], config["attention_levels"]
    last = len(attention) - 1
    modules = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "init_attn.0": "init_temporal",
    }
    block = 1
    for level, attended in enumerate(attention):
        for layer in range(layers):
            modules |= _layer(f"input_blocks.{block}", f"down_blocks.{level}", layer, attended)
            block += 1
        if level < last:
            modules[f"input_blocks.{block}.0"] = f"down_blocks.{level}.downsamplers.0"
            block += 1
    modules |= _layer("middle_block", "mid_block", 0, True)
    modules["middle_block.3"] = "mid_block.resnets.1"
    for stage, attended in enumerate(reversed(attention)):
        for layer in range(layers + 1):
            block = stage * (layers + 1) + layer
            modules |= _layer(f"output_blocks.{block}", f"up_blocks.{stage}", layer, attended)
        if stage < last:
            modules[f"output_blocks.{block}.{3 if attended else 1}"] = f"up_blocks.{stage}.upsamplers.0"
    return modules | {"out.0": "conv_norm_out", "out.2": "conv_out"}


def cross_attention_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Published -> our name of all cross-attention layers, in the order of the predicted scales."""
    blocks = range(config["transformer_layers_per_block"])
    return {
        f"{published}.transformer_blocks.{i}.attn2": f"{ours}.transformer_blocks.{i}.attn2"
        for published, ours in unet_modules(config).items()
        if ".attentions." in ours
        for i in blocks
    }


def unet_state(
    published: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Tensor], list[str]]:
    """Our state dict from the published one (names without prefix), and the names that have no place."""
    modules = unet_modules(config)
    state, unplaced = {}, []
    for key, value in published.items():
        match = _MODULE.match(key)
        if match is None or match[1] not in modules:
            unplaced.append(key)
            continue
        module = modules[match[1]]
        if module == "init_temporal" and match[2] in ("proj_in.weight", "proj_out.weight"):
            value = value.squeeze(-1)
        state[f"{module}.{_rename(match[2], _leaves(module))}"] = value
    return state, unplaced


def published_unet_state(ours: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Inverse of `unet_state`: the published state dict (names without prefix) of one of our UNets."""
    modules = {module: published for published, module in unet_modules(config).items()}
    state = {}
    for key, value in ours.items():
        module = next(name for name in modules if key.startswith(f"{name}."))
        leaf = key.removeprefix(f"{module}.")
        if module == "init_temporal" and leaf in ("proj_in.weight", "proj_out.weight"):
            value = value.unsqueeze(-1)
        inverse = {new: old for old, new in _leaves(module).items()}
        state[f"{modules[module]}.{_rename(leaf, inverse)}"] = value
    return state


def _layer(published: str, ours: str, layer: int, attended: bool) -> dict[str, str]:
    """Names of a residual block and of the attention after it."""
    kinds = ("resnets", "attentions", "temporals") if attended else ("resnets",)
    return {f"{published}.{position}": f"{ours}.{kind}.{layer}" for position, kind in enumerate(kinds)}


def _leaves(module: str) -> Mapping[str, str]:
    """Published -> our names inside one of our modules."""
    if ".resnets." in module:
        return _RESNET
    if ".temporals." in module or module == "init_temporal":
        return _TEMPORAL
    return {"op": "conv"} if ".downsamplers." in module else {}


def _rename(leaf: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        renamed = re.sub(rf"(^|\.){re.escape(old)}(?=\.|$)", rf"\g<1>{new}", leaf)
        if renamed != leaf:
            return renamed
    return leaf
