"""What an adapter can be built of; the first of each kind is the published model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, get_args

from stylecrafter.errors import InvalidInputError, unknown_name

ExtractorType = Literal["query", "transformer", "mlp", "linear", "resampler", "patch_selection", "none"]
"""How style tokens are read off image tokens: the first three are those of the paper's table S8, "linear" is that of
IP-Adapter, "resampler" that of IP-Adapter-Plus, "patch_selection" that of StyleMaster (patches that the prompt selects,
and a picture as a whole); "none" where the caller brings style tokens."""

FusionType = Literal["dual", "attach_to_text"]
"""Whether a layer reads the style beside the text (paper, equation 1) or together with it (ablation in table 4)."""

ScaleType = Literal["predicted", "fixed"]
"""Whether a layer's factor is predicted from style and text, or 1 (ablation "w/o adaptive fusion" in table 4)."""

ImageFeatures = Literal["last_normed", "penultimate", "embedding", "last"]
"""What of a CLIP image tower the extractor reads: (StyleCrafter v1) the last layer with its first token behind the last
norm; (StyleCrafter-SDXL, IP-Adapter-Plus) the layer before; (IP-Adapter) the projected embedding; (StyleMaster) the
last layer as it is, beside the embedding of a shuffled picture."""

Preprocessing = Literal["blur", "clip"]
"""What a style picture goes through before the encoder: (StyleCrafter) a square of `reference_size` from its middle,
blurred and resized; (IP-Adapter, StyleMaster) what CLIP's own image processor does."""

NullStyle = Literal["omit", "zero_embedding", "black_picture", "zero_tokens"]
"""What stands for "no style" in guidance: the base without adapter; or, as some were trained, tokens that are read off
an embedding of zeros (IP-Adapter) or off a black picture (IP-Adapter-Plus), or that are zeros (StyleMaster)."""

_TYPES = {
    "extractor_type": ExtractorType,
    "fusion_type": FusionType,
    "scale_type": ScaleType,
    "image_features": ImageFeatures,
    "preprocessing": Preprocessing,
    "null_style": NullStyle,
}
_SWITCHES = ("key_value_bias", "output_norm", "key_norm")
_OPTIONAL = ("scale_dim", "extractor_dim", "num_local_tokens", "embed_dim")


class AdapterOptions(TypedDict, total=False):
    """Arguments of `StyleAdapter` that do not follow from the models around it."""

    num_style_tokens: int
    extractor_layers: int
    extractor_heads: int
    scale_layers: int
    scale_heads: int
    scale_head_dim: int
    extractor_type: ExtractorType
    fusion_type: FusionType
    scale_type: ScaleType
    scale_dim: int | None
    extractor_dim: int | None
    key_value_bias: bool
    output_norm: bool
    key_norm: bool
    image_features: ImageFeatures
    preprocessing: Preprocessing
    null_style: NullStyle
    num_local_tokens: int | None
    embed_dim: int | None


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what no `StyleAdapter` can be built of.

    Raises:
        UnknownNameError: An option, or an extractor, fusion or kind of scales, that does not exist.
        InvalidInputError: A size that is no whole number of at least 1.
    """
    for name, value in options.items():
        if name not in AdapterOptions.__annotations__:
            raise unknown_name("option of StyleAdapter", name, AdapterOptions.__annotations__)
        if name in _TYPES:
            if value not in get_args(_TYPES[name]):
                raise unknown_name(name, str(value), get_args(_TYPES[name]))
        elif name in _SWITCHES:
            if not isinstance(value, bool):
                raise InvalidInputError(f"{name} must be True or False, got {value!r}")
        elif value is None and name in _OPTIONAL:
            continue
        elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidInputError(f"{name} must be a whole number of at least 1, got {value!r}")
