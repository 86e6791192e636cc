"""Names and sizes of the published `stylecrafter_sdxl.ckpt` -> `StyleAdapter`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.formats.stylecrafter_v1 import (
    LAYER_PARTS,
    query_transformer_depth,
    query_transformer_name,
)
from stylecrafter.weights.formats.videocrafter_unet import Shapes, shape_of

#: Heads of both transformers, which shapes cannot tell.
EXTRACTOR_HEADS, SCALE_HEADS = 20, 8
#: What the published script asks for: the strength, and what to move away from.
DEFAULT_SCALE = 0.5
NEGATIVE_PROMPT = "monochrome, lowres, bad anatomy, worst quality, low quality"

_EXTRACTOR, _SCALES = "image_context_model", "scale_predictor.scale_predictor"
_TOWERS = {_EXTRACTOR: "extractor", _SCALES: "scale_predictor"}
# The file numbers all attention layers of the UNet: those that read the text have the odd numbers.
_LAYER = re.compile(r"kv_attn_layers\.(\d*[13579])\.(\w+)\.(\w+)")
_MAPS = re.compile(r"scale_predictor\.(text_proj|style_proj|out_proj\.[02])\.(weight|bias)")


def matches(shapes: Shapes) -> bool:
    """Whether a file of such tensors is of this format."""
    return f"{_EXTRACTOR}.query_emb" in shapes


def adapter_config(
    shapes: Shapes, extractor_heads: int = EXTRACTOR_HEADS, scale_heads: int = SCALE_HEADS
) -> dict[str, Any]:
    """The `StyleAdapter` config that the published shapes show; its layers are numbered, not named.

    Raises:
        CheckpointError: Something of an adapter is missing, or it does not predict one scale per layer.
    """
    layers = _numbers(shapes)
    try:
        _, num_tokens, image_dim = shape_of(shapes, f"{_EXTRACTOR}.query_emb", 3)
        num_scales = shape_of(shapes, f"{_SCALES}.query_emb", 3)[1]
        scale_dim, text_dim = shape_of(shapes, "scale_predictor.text_proj.weight", 2)
        config = {
            "image_dim": image_dim,
            "text_dim": text_dim,
            "style_dim": shape_of(shapes, f"{_EXTRACTOR}.proj", 2)[1],
            "scale_dim": scale_dim,
            "layer_names": None,
            "layer_dims": tuple(
                shape_of(shapes, f"kv_attn_layers.{number}.to_k_style.weight", 2)[0] for number in layers
            ),
            "num_style_tokens": num_tokens,
            "extractor_layers": query_transformer_depth(shapes, _EXTRACTOR),
            "extractor_heads": extractor_heads,
            "scale_layers": query_transformer_depth(shapes, _SCALES),
            "scale_heads": scale_heads,
            "scale_head_dim": shape_of(shapes, "scale_predictor.out_proj.0.weight", 2)[0],
            "image_features": "penultimate",
            "preprocessing": "clip",
            "default_scale": DEFAULT_SCALE,
            "default_negative_prompt": NEGATIVE_PROMPT,
        }
    except KeyError as error:
        raise CheckpointError(f"StyleCrafter-SDXL adapter: {error.args[0]} is missing") from error
    if num_scales != len(layers):
        raise CheckpointError(
            f"StyleCrafter-SDXL adapter: it predicts {num_scales} scales, but has {len(layers)} layers"
        )
    return config


def adapter_state(published: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Our state dict from the published one, and the published names that have no place."""
    index = {number: i for i, number in enumerate(_numbers(published))}
    state, unplaced = {}, []
    for key, value in published.items():
        name = _our_name(key, index)
        if name is None:
            unplaced.append(key)
        elif name.endswith(".queries"):
            state[name] = value.squeeze(0)
        else:
            # The published projections multiply from the other side.
            state[name] = value.T if key.endswith(".proj") else value
    return state, unplaced


def _numbers(names: Mapping[str, Any]) -> list[int]:
    """The layers' numbers in the file, in the order in which diffusers' UNet registers them: down, up, mid."""
    return sorted({int(match[1]) for key in names if (match := _LAYER.fullmatch(key))})


def _our_name(key: str, index: Mapping[int, int]) -> str | None:
    if match := _LAYER.fullmatch(key):
        part = LAYER_PARTS.get(match[2])
        return None if part is None else f"layers.{index[int(match[1])]}.{part}.{match[3]}"
    if match := _MAPS.fullmatch(key):
        return f"scale_predictor.{match[1].replace('out_proj', 'head')}.{match[2]}"
    for published, ours in _TOWERS.items():
        if key.startswith(f"{published}."):
            rest = key.removeprefix(f"{published}.")
            inside = "queries" if rest == "query_emb" else query_transformer_name(rest)
            return None if inside is None else f"{ours}.{inside}"
    return None
