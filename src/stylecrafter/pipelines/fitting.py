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
#: Width of text states -> base models that have it.
_BASES = {
    768: "Stable Diffusion 1.x, with AnimateDiff or without",
    1024: "Stable Diffusion 2.x or VideoCrafter",
    2048: "SDXL",
    4096: "Wan 2.1",
}
#: Width of a CLIP's projected embedding, and of its image tokens -> which one it is.
_PROJECTIONS = {768: "ViT-L/14", 1024: "ViT-H/14", 1280: "ViT-bigG/14"}
_TOWERS = {1024: "ViT-L/14", 1280: "ViT-H/14", 1664: "ViT-bigG/14"}
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
    text_dim, image_dim, features = (
        adapter.config[name] for name in ("text_dim", "image_dim", "image_features")
    )
    made_for = f": it is for {_BASES[text_dim]}" if text_dim in _BASES else ""
    pairs = [("style adapter", text_dim, type(backbone.denoiser).__name__, backbone.text_dim, made_for)]
    if image_encoder is not None:
        clip = (_PROJECTIONS if features == "embedding" else _TOWERS).get(image_dim)
        needs = f": it needs the image encoder of CLIP {clip}" if clip else ""
        image_width = feature_width(image_encoder, features)
        pairs.append(("image encoder", image_width, "style adapter", image_dim, needs))
        if "image_embeds" in adapter.needs:
            embed_width = feature_width(image_encoder, "embedding")
            embed_dim = adapter.config["embed_dim"]
            pairs.append(("image encoder's projection", embed_width, "style adapter", embed_dim, ""))
    for giver, given, reader, expected, right in pairs:
        if given != expected:
            raise InvalidInputError(
                f"the {giver} gives width {given}, the {reader} reads width {expected}{right}"
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
