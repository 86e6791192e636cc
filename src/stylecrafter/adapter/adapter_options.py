"""What an adapter can be built of; the first of each kind is the published model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, get_args

from stylecrafter.errors import InvalidInputError, unknown_name

ExtractorType = Literal["query", "transformer", "mlp"]
"""How style tokens are read off image tokens (paper, table S8)."""

FusionType = Literal["dual", "attach_to_text"]
"""Whether a layer reads the style beside the text (paper, equation 1) or together with it (ablation in table 4)."""

ScaleType = Literal["predicted", "fixed"]
"""Whether a layer's factor is predicted from style and text, or 1 (ablation "w/o adaptive fusion" in table 4)."""

_TYPES = {"extractor_type": ExtractorType, "fusion_type": FusionType, "scale_type": ScaleType}


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
        elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidInputError(f"{name} must be a whole number of at least 1, got {value!r}")
