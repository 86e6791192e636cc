"""Names and sizes of StyleMaster's file for Wan 2.1 -> `StyleAdapter`, and the transformer that the file holds too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.formats.stylecrafter_v1 import query_transformer_depth, query_transformer_name
from stylecrafter.weights.formats.videocrafter_unet import Shapes, shape_of

#: Heads of the style model, which shapes cannot tell.
EXTRACTOR_HEADS = 8
#: What the published script guides with, as scales of equation 2.
TEXT_GUIDANCE, STYLE_GUIDANCE = 8.0, 4.0

_STYLE = "style_model"
_LAYER = re.compile(r"blocks\.(\d+)\.cross_attn\.(k_img|v_img|norm_k_img)\.(weight|bias)")
_PARTS = {"k_img": "to_k", "v_img": "to_v", "norm_k_img": "norm_k"}
_GLOBAL = re.compile(r"style_model\.((?:proj|norm)\.(?:weight|bias))")


def matches(shapes: Shapes) -> bool:
    """Whether a file of such tensors is of this format: image-to-video models of Wan have the same layers, and a map of
    a picture beside them."""
    return any(map(_LAYER.fullmatch, shapes)) and not any(key.startswith("img_emb.") for key in shapes)


def adapter_config(shapes: Shapes, heads: int = EXTRACTOR_HEADS) -> dict[str, Any]:
    """The `StyleAdapter` config that the published shapes show.

    A file without the style model makes an adapter that takes style tokens, but cannot read pictures.

    Raises:
        CheckpointError: Something of an adapter is missing.
    """
    numbers = sorted({int(match[1]) for key in shapes if (match := _LAYER.fullmatch(key))})
    try:
        keys = [shape_of(shapes, f"blocks.{number}.cross_attn.k_img.weight", 2) for number in numbers]
        style_dim = keys[0][1]
        config = {
            "text_dim": shape_of(shapes, "text_embedding.0.weight", 2)[1],
            "style_dim": style_dim,
            "layer_names": tuple(f"blocks.{number}.attn2" for number in numbers),
            "layer_dims": tuple(shape[0] for shape in keys),
            "scale_type": "fixed",
            "key_value_bias": True,
            "key_norm": True,
            "output_norm": False,
            "null_style": "zero_tokens",
            "default_text_guidance": TEXT_GUIDANCE,
            "default_style_guidance": STYLE_GUIDANCE,
        }
        if not any(key.startswith(f"{_STYLE}.") for key in shapes):
            return {**config, "image_dim": 1, "extractor_type": "none"}
        _, local, image_dim = shape_of(shapes, f"{_STYLE}.style_emb", 3)
        width, embed_dim = shape_of(shapes, f"{_STYLE}.proj.weight", 2)
    except KeyError as error:
        raise CheckpointError(f"StyleMaster: {error.args[0]} is missing") from error
    return {
        **config,
        "image_dim": image_dim,
        "embed_dim": embed_dim,
        "num_style_tokens": local + width // style_dim,
        "num_local_tokens": local,
        "extractor_type": "patch_selection",
        "extractor_layers": query_transformer_depth(shapes, _STYLE),
        "extractor_heads": heads,
        "image_features": "last",
        "preprocessing": "clip",
    }


def adapter_state(published: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Our state dict from the published one, and the published names that have no place.

    The transformer's tensors, which have one elsewhere (`transformer_state`), are neither.
    """
    layers = sorted({int(match[1]) for key in published if (match := _LAYER.fullmatch(key))})
    index = {number: i for i, number in enumerate(layers)}
    state, unplaced = {}, []
    for key, value in published.items():
        if match := _LAYER.fullmatch(key):
            state[f"layers.{index[int(match[1])]}.{_PARTS[match[2]]}.{match[3]}"] = value
        elif match := _GLOBAL.fullmatch(key):
            state[f"extractor.{match[1]}"] = value
        elif key == f"{_STYLE}.style_emb":
            state["extractor.local.queries"] = value.squeeze(0)
        elif key == f"{_STYLE}.proj_patch":
            # It multiplies from the other side.
            state["extractor.local.proj.weight"] = value.T
        elif key.startswith(f"{_STYLE}."):
            name = query_transformer_name(key.removeprefix(f"{_STYLE}."))
            if name is None:
                unplaced.append(key)
            else:
                state[f"extractor.local.{name}"] = value
    return state, unplaced


def transformer_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's transformer, by the names that diffusers has for it; those that are unknown keep theirs."""
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    own = {
        key: value
        for key, value in published.items()
        if not _LAYER.fullmatch(key) and not key.startswith(f"{_STYLE}.")
    }
    return convert_wan_transformer_to_diffusers(own)
