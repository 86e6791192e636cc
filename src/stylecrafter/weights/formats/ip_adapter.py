"""Names and sizes of IP-Adapter and IP-Adapter-Plus files, for SD 1.5 and SDXL <-> `StyleAdapter`.

A file maps `image_proj` and `ip_adapter` to tensors (torch), or has both as prefixes (safetensors). Layers are numbered
as diffusers registers attention layers, down, up, mid, self-attention included: those of the text are odd.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.formats.videocrafter_unet import Shapes, shape_of

MODULES = ("image_proj", "ip_adapter")
#: Guidance that the published scripts ask for, by the width of the text: of both conditions together, which takes two
#: passes of the model; with other scales for text and style it takes three.
_GUIDANCE = {768: 7.5, 2048: 5.0}
#: Of all resamplers, which the shapes of their attention do not tell.
_HEAD_WIDTH = 64
_LAYER = re.compile(r"ip_adapter\.(\d+)\.to_([kv])_ip\.weight")
_BLOCK = {
    "0.norm1": "norm_image",
    "0.norm2": "norm_latents",
    "0.to_q": "to_q",
    "0.to_kv": "to_kv",
    "0.to_out": "to_out",
    "1.0": "mlp.0",
    "1.1": "mlp.1",
    "1.3": "mlp.3",
}
#: What only other variants have -> what they are.
_OTHERS = {
    r"ip_adapter\.\d+\.to_\w+_lora\..+": "an IP-Adapter-FaceID, which reads faces with a network of its own",
    r"image_proj\.perceiver_resampler\..+": "an IP-Adapter-FaceID-Plus, which reads faces with a network of its own",
    r"image_proj\.proj\.3\..+": "an IP-Adapter-Full-Face, which reads all image tokens one by one",
    r"image_proj\.proj\.0\..+": "an IP-Adapter-FaceID, which reads faces with a network of its own",
}


def matches(shapes: Shapes) -> bool:
    """Whether a file with these tensors is of this kind, or of a variant that `adapter_config` refuses."""
    return all(any(key.startswith(f"{module}.") for key in shapes) for module in MODULES)


def adapter_config(shapes: Shapes) -> dict[str, Any]:
    """The `StyleAdapter` config that the shapes show.

    Raises:
        CheckpointError: Another variant of IP-Adapter, or something of one is missing.
    """
    for pattern, kind in _OTHERS.items():
        if any(re.fullmatch(pattern, key) for key in shapes):
            raise CheckpointError(f"this is {kind}; IP-Adapter and IP-Adapter-Plus can be used")
    numbers = sorted({int(match[1]) for key in shapes if (match := _LAYER.fullmatch(key))})
    if not numbers or numbers != list(range(1, 2 * len(numbers), 2)):
        raise CheckpointError(
            "an IP-Adapter of Stable Diffusion or SDXL numbers its layers 1, 3, 5 … without a gap, this file has "
            f"{f'{len(numbers)}: {numbers[:8]}' if numbers else 'none'}"
        )
    try:
        keys = [shape_of(shapes, f"ip_adapter.{number}.to_k_ip.weight", 2) for number in numbers]
        text_dim = keys[0][1]
        plus = "image_proj.latents" in shapes
        return {
            "text_dim": text_dim,
            "layer_names": None,
            "layer_dims": tuple(key[0] for key in keys),
            "scale_type": "fixed",
            "output_norm": False,
            "preprocessing": "clip",
            "default_text_guidance": _GUIDANCE.get(text_dim),
            "default_style_guidance": _GUIDANCE.get(text_dim),
            **(_resampler(shapes) if plus else _linear(shapes, text_dim)),
        }
    except KeyError as error:
        raise CheckpointError(f"not a whole IP-Adapter: {error.args[0]} is missing") from error


def adapter_state(published: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Our state dict from the published one, and the published names that have no place."""
    state, unplaced = {}, []
    for key, value in published.items():
        name = _our_name(key)
        if name is None:
            unplaced.append(key)
        else:
            state[name] = value.squeeze(0) if name == "extractor.latents" else value
    return state, unplaced


def _linear(shapes: Shapes, text_dim: int) -> dict[str, Any]:
    out, image_dim = shape_of(shapes, "image_proj.proj.weight", 2)
    return {
        "image_dim": image_dim,
        "num_style_tokens": out // text_dim,
        "extractor_type": "linear",
        "image_features": "embedding",
        "null_style": "zero_embedding",
    }


def _resampler(shapes: Shapes) -> dict[str, Any]:
    _, tokens, dim = shape_of(shapes, "image_proj.latents", 3)
    return {
        "image_dim": shape_of(shapes, "image_proj.proj_in.weight", 2)[1],
        "num_style_tokens": tokens,
        "extractor_type": "resampler",
        "extractor_dim": dim,
        "extractor_layers": len(
            {key.split(".")[2] for key in shapes if key.startswith("image_proj.layers.")}
        ),
        "extractor_heads": shape_of(shapes, "image_proj.layers.0.0.to_q.weight", 2)[0] // _HEAD_WIDTH,
        "image_features": "penultimate",
        "null_style": "black_picture",
    }


def _our_name(key: str) -> str | None:
    if match := _LAYER.fullmatch(key):
        return f"layers.{int(match[1]) // 2}.to_{match[2]}.weight"
    head, _, rest = key.partition(".")
    if head != "image_proj":
        return None
    if match := re.fullmatch(r"layers\.(\d+)\.(.+)\.(weight|bias)", rest):
        number, part, leaf = match.groups()
        return f"extractor.layers.{number}.{_BLOCK[part]}.{leaf}" if part in _BLOCK else None
    return f"extractor.{rest}"
