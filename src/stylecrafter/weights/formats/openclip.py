"""Names and sizes of OpenCLIP's towers -> transformers' `CLIPTextModel` and `CLIPVisionModel`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.formats.videocrafter_unet import Shapes

_BLOCK = {
    "ln_1": "layer_norm1",
    "attn.out_proj": "self_attn.out_proj",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TEXT = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_VISION = {
    "class_embedding": "embeddings.class_embedding",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_BLOCK_KEY = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\Z")


def text_config(shapes: Shapes, num_heads: int) -> dict[str, Any]:
    """`CLIPTextConfig` values for the published text embeddings: all blocks but the last, then ln_final.

    Args:
        shapes: Text tower key -> shape.
        num_heads: Attention heads, which shapes cannot tell (published: 16).

    Raises:
        CheckpointError: Something of a text tower is missing.
    """
    try:
        vocabulary, width = shapes["token_embedding.weight"]
        return {
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
            "num_hidden_layers": _depth(shapes) - 1,
            "num_attention_heads": num_heads,
            "max_position_embeddings": shapes["positional_embedding"][0],
            "hidden_act": "gelu",
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": 0,
        }
    except KeyError as error:
        raise CheckpointError(f"not an OpenCLIP text tower: {error.args[0]} is missing") from error


def vision_config(shapes: Shapes, num_heads: int) -> dict[str, Any]:
    """`CLIPVisionConfig` values that the shapes of the image tower (names without `visual.`) show.

    Args:
        shapes: Image tower key -> shape.
        num_heads: Attention heads, which shapes cannot tell (published: 16).

    Raises:
        CheckpointError: Something of an image tower is missing.
    """
    try:
        width, channels, patch, _ = shapes["conv1.weight"]
        return {
            "hidden_size": width,
            "intermediate_size": shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
            "num_hidden_layers": _depth(shapes),
            "num_attention_heads": num_heads,
            "num_channels": channels,
            "image_size": math.isqrt(shapes["positional_embedding"][0] - 1) * patch,
            "patch_size": patch,
            "hidden_act": "gelu",
        }
    except KeyError as error:
        raise CheckpointError(f"not an OpenCLIP image tower: visual.{error.args[0]} is missing") from error


def text_state(published: Mapping[str, Tensor], num_layers: int) -> tuple[dict[str, Tensor], list[str]]:
    """`CLIPTextModel`'s first `num_layers` blocks from a text tower, and the names that have no place."""
    return _state(published, _TEXT, num_layers)


def vision_state(published: Mapping[str, Tensor], num_layers: int) -> tuple[dict[str, Tensor], list[str]]:
    """`CLIPVisionModel`'s tensors from an image tower, and the names that have no place."""
    return _state(published, _VISION, num_layers)


def _state(
    published: Mapping[str, Tensor], top: Mapping[str, str], num_layers: int
) -> tuple[dict[str, Tensor], list[str]]:
    state: dict[str, Tensor] = {}
    unplaced = []
    for key, value in published.items():
        match = _BLOCK_KEY.match(key)
        if key in top:
            state[top[key]] = value
        elif match is None or int(match[1]) >= num_layers:
            unplaced.append(key)
        elif match[2] in ("attn.in_proj_weight", "attn.in_proj_bias"):
            leaf = match[2].removeprefix("attn.in_proj_")
            # Copies, because the three parts are saved as tensors of their own.
            for name, part in zip("qkv", value.chunk(3), strict=True):
                state[f"encoder.layers.{match[1]}.self_attn.{name}_proj.{leaf}"] = part.clone()
        else:
            module, _, leaf = match[2].rpartition(".")
            if module in _BLOCK:
                state[f"encoder.layers.{match[1]}.{_BLOCK[module]}.{leaf}"] = value
            else:
                unplaced.append(key)
    return state, unplaced


def _depth(shapes: Shapes) -> int:
    return len({match[1] for key in shapes if (match := _BLOCK_KEY.match(key))})
