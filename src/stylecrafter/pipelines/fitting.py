"""Whether the components of a pipeline, and the numbers it is built with, go together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.errors import InvalidInputError
from stylecrafter.references.encoder import feature_width

#: Defaults of a pipeline that an adapter may have values of its own for.
_GUIDANCE = ("default_text_guidance", "default_style_guidance")
#: Width of text states -> published base models that have it, which adapters of that width are for.
_OF_WIDTH = {
    768: "Stable Diffusion 1",
    1024: "Stable Diffusion 2 or VideoCrafter",
    2048: "SDXL",
    4096: "Wan",
}
#: No picture, clip or number of steps is larger.
MOST = 2**20


def check_widths(
    backbone: Backbone,
    image_encoder: CLIPVisionModel | CLIPVisionModelWithProjection | None,
    adapter: StyleAdapter | None,
) -> None:
    """Check that every component reads the width that another gives.

    Raises:
        InvalidInputError: One does not.
    """
    backbone.check()
    if adapter is None:
        return
    pairs = [
        ("style adapter", adapter.config["text_dim"], type(backbone.denoiser).__name__, backbone.text_dim)
    ]
    if image_encoder is not None:
        image_width = feature_width(image_encoder, adapter.config["image_features"])
        pairs.append(("image encoder", image_width, "style adapter", adapter.config["image_dim"]))
        if "image_embeds" in adapter.needs:
            embed_width = feature_width(image_encoder, "embedding")
            pairs.append(
                ("image encoder's projection", embed_width, "style adapter", adapter.config["embed_dim"])
            )
    for giver, given, reader, expected in pairs:
        if given != expected:
            bases = _OF_WIDTH.get(given) if giver == "style adapter" else None
            hint = "" if bases is None else f"; it is an adapter for {bases}"
            raise InvalidInputError(
                f"the {giver} gives width {given}, the {reader} reads width {expected}{hint}"
            )


def adapter_defaults(adapter: StyleAdapter) -> dict[str, Any]:
    """What a call uses with an adapter where it says nothing, as a pipeline's config names it."""
    guidance = {name: adapter.config[name] for name in _GUIDANCE}
    return {
        "default_style_scale": adapter.config["default_scale"],
        "default_negative_prompt": adapter.config["default_negative_prompt"],
        **{name: value for name, value in guidance.items() if value is not None},
    }


def defaults_without(adapter: StyleAdapter, backbone: Backbone) -> dict[str, Any]:
    """What holds again once that adapter is unloaded."""
    own = {f"default_{name}": value for name, value in backbone.default_knobs().items()}
    changed = {name: own[name] for name in _GUIDANCE if adapter.config[name] is not None and name in own}
    return {"default_style_scale": 1.0, "default_negative_prompt": "", **changed}


def check_defaults(counts: Mapping[str, Any], numbers: Mapping[str, Any]) -> None:
    """Check what a pipeline uses where a call says nothing.

    Args:
        counts: Whole numbers of at least 1.
        numbers: Finite numbers.

    Raises:
        InvalidInputError: Something else among them.
    """
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST:
            raise InvalidInputError(f"{name} must be a whole number from 1 to {MOST:,}, got {_brief(value)}")
    for name, value in numbers.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            raise InvalidInputError(f"{name} must be a finite number, got {_brief(value)}")


def _brief(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "very many"
    return text if len(text) <= 80 else f"{text[:80]}…"
