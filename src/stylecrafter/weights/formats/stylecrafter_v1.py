"""Names and sizes of the published `adapter_v1.pth` <-> `StyleAdapter`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.formats.videocrafter_unet import Shapes, shape_of

_PUBLISHED_LAYER = re.compile(
    r"kv_attn_layers\.((?:input_blocks|middle_block|output_blocks)_[\d_]+.*)_processor\."
)
_PATHS = ("input", "middle", "output")
_TOWERS = {"image_context_model": "extractor", "scale_predictor": "scale_predictor"}
#: Published -> our names of what a layer has.
LAYER_PARTS = {"to_k_style": "to_k", "to_v_style": "to_v", "norm_style": "norm"}
_BLOCK = {
    "ln_1.weight": "norm1.weight",
    "ln_1.bias": "norm1.bias",
    "attn.in_proj_weight": "to_qkv.weight",
    "attn.in_proj_bias": "to_qkv.bias",
    "attn.out_proj.weight": "to_out.weight",
    "attn.out_proj.bias": "to_out.bias",
    "ln_2.weight": "norm2.weight",
    "ln_2.bias": "norm2.bias",
    "mlp.c_fc.weight": "mlp.0.weight",
    "mlp.c_fc.bias": "mlp.0.bias",
    "mlp.c_proj.weight": "mlp.2.weight",
    "mlp.c_proj.bias": "mlp.2.bias",
}
_TOP = {
    "style_emb": "queries",
    "scale_emb": "queries",
    "proj": "proj.weight",
    "ln1.weight": "norm_in.weight",
    "ln1.bias": "norm_in.bias",
    "ln2.weight": "norm_out.weight",
    "ln2.bias": "norm_out.bias",
    "out.0.weight": "head.0.weight",
    "out.0.bias": "head.0.bias",
    "out.2.weight": "head.2.weight",
    "out.2.bias": "head.2.bias",
}


def matches(shapes: Shapes) -> bool:
    """Whether a file of such tensors is of this format."""
    return "image_context_model.style_emb" in shapes


def published_layers(shapes: Shapes) -> list[str]:
    """How the file names its layers, in the order of the scales: down, mid, up."""
    found = {match[1] for key in shapes if (match := _PUBLISHED_LAYER.match(key))}
    return sorted(found, key=_published_place)


def adapter_config(shapes: Shapes, layers: Mapping[str, str], num_heads: int) -> dict[str, Any]:
    """The `StyleAdapter` config that the published shapes show.

    Args:
        shapes: Published adapter key -> shape.
        layers: Published -> our names of the UNet's cross-attention layers, in the order of the scales.
        num_heads: Heads of both transformers, which shapes cannot tell (published: 8).

    Raises:
        CheckpointError: Something of an adapter is missing.
    """
    try:
        _, num_tokens, image_dim = shape_of(shapes, "image_context_model.style_emb", 3)
        config = {
            "image_dim": image_dim,
            "text_dim": shape_of(shapes, "image_context_model.proj", 2)[1],
            "layer_names": tuple(layers.values()),
            "layer_dims": tuple(
                shape_of(shapes, f"{layer_prefix(name)}.to_k_style.weight", 2)[0] for name in layers
            ),
            "num_style_tokens": num_tokens,
            "extractor_layers": query_transformer_depth(shapes, "image_context_model"),
            "extractor_heads": num_heads,
            "scale_layers": query_transformer_depth(shapes, "scale_predictor"),
            "scale_heads": num_heads,
            "scale_head_dim": shape_of(shapes, "scale_predictor.out.0.weight", 2)[0],
        }
        num_scales = shape_of(shapes, "scale_predictor.scale_emb", 3)[1]
    except KeyError as error:
        raise CheckpointError(f"not an adapter for this model: {error.args[0]} is missing") from error
    if num_scales != len(layers):
        raise CheckpointError(
            f"the adapter predicts {num_scales} scales, the model has {len(layers)} cross-attention layers"
        )
    return config


def layer_prefix(published_layer: str) -> str:
    """How the adapter's file names a cross-attention layer of the published UNet."""
    return f"kv_attn_layers.{published_layer.replace('.', '_')}_processor"


def adapter_state(
    published: Mapping[str, Tensor], layers: Sequence[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Our state dict from the published one, and the published names that have no place.

    Args:
        published: The adapter's tensors.
        layers: Published names of the UNet's cross-attention layers, in the order of the scales.
    """
    index = {layer_prefix(name): i for i, name in enumerate(layers)}
    state, unplaced = {}, []
    for key, value in published.items():
        name = _our_name(key, index)
        if name is None:
            unplaced.append(key)
        elif name.endswith(".queries"):
            state[name] = value.squeeze(0)
        elif name == "extractor.proj.weight":
            state[name] = value.T
        else:
            state[name] = value
    return state, unplaced


def published_adapter_state(ours: Mapping[str, Tensor], layers: Sequence[str]) -> dict[str, Tensor]:
    """Inverse of `adapter_state`: the tensors of `adapter_v1.pth` from one of our adapters.

    Raises:
        CheckpointError: The adapter is one of the alternatives, which the published layout cannot hold.
    """
    needed = ("extractor.queries", "scale_predictor.queries", "layers.0.to_k.weight")
    missing = [part for part in needed if part not in ours]
    if missing:
        raise CheckpointError(
            "the published layout holds adapters of extractor_type query, fusion_type dual, scale_type predicted; "
            f"this one has no {missing[0]}"
        )
    layer = {new: old for old, new in LAYER_PARTS.items()}
    block = {new: old for old, new in _BLOCK.items()}
    top = {new: old for old, new in _TOP.items() if not old.endswith("_emb")}
    state = {}
    for key, value in ours.items():
        head, rest = key.split(".", 1)
        if head == "layers":
            number, part, leaf = rest.split(".")
            state[f"{layer_prefix(layers[int(number)])}.{layer[part]}.{leaf}"] = value
            continue
        tower = next(old for old, new in _TOWERS.items() if new == head)
        if rest == "queries":
            emb = "style_emb" if head == "extractor" else "scale_emb"
            state[f"{tower}.{emb}"] = value.unsqueeze(0)
        elif rest == "proj.weight":
            state[f"{tower}.proj"] = value.T
        elif rest.startswith("blocks."):
            _, number, leaf = rest.split(".", 2)
            state[f"{tower}.transformer_blocks.resblocks.{number}.{block[leaf]}"] = value
        else:
            state[f"{tower}.{top[rest]}"] = value
    return state


def query_transformer_name(rest: str) -> str | None:
    """Our name of a tensor in a published query transformer; None where there is none."""
    match = re.fullmatch(r"transformer_blocks\.resblocks\.(\d+)\.(.+)", rest)
    if match is None:
        return _TOP.get(rest)
    return f"blocks.{match[1]}.{_BLOCK[match[2]]}" if match[2] in _BLOCK else None


def query_transformer_depth(shapes: Shapes, tower: str) -> int:
    """How many blocks the transformer under that prefix has."""
    pattern = re.compile(rf"{re.escape(tower)}\.transformer_blocks\.resblocks\.(\d+)\.")
    return len({match[1] for key in shapes if (match := pattern.match(key))})


def _our_name(key: str, index: Mapping[str, int]) -> str | None:
    head, _, rest = key.partition(".")
    if head == "kv_attn_layers":
        prefix, part, leaf = (key.rsplit(".", 2) + ["", ""])[:3]
        if prefix in index and part in LAYER_PARTS:
            return f"layers.{index[prefix]}.{LAYER_PARTS[part]}.{leaf}"
        return None
    if head not in _TOWERS:
        return None
    inside = query_transformer_name(rest)
    return None if inside is None else f"{_TOWERS[head]}.{inside}"


def _published_place(layer: str) -> tuple[int, ...]:
    path = layer.partition("_")[0]
    return _PATHS.index(path), *map(int, re.findall(r"\d+", layer))
