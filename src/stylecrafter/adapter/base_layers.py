"""What of a base model an adapter can be attached to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch import nn

from stylecrafter.adapter.style_processor import StyleAttentionProcessor
from stylecrafter.errors import InvalidInputError, unknown_name

#: Processors that those of a style can stand in for: they compute what the style's attention is added to.
_REPLACED = (AttnProcessor, AttnProcessor2_0, WanAttnProcessor)


def cross_attention_layers(module: nn.Module) -> dict[str, Any]:
    """Name -> module of all cross-attention layers in registration order: whatever takes attention processors, as
    `Attention` and `WanAttention` of diffusers do, and says so of itself."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if hasattr(layer, "set_processor") and getattr(layer, "is_cross_attention", False)
    }


def norms_all_heads(layer: Any) -> bool:
    """Whether a layer norms queries and keys over all heads together, as the attention of Wan does."""
    return isinstance(layer, WanAttention)


def check_fit(
    config: Mapping[str, Any], layer_names: Sequence[str], module: nn.Module, owners: Mapping[str, Any]
) -> None:
    """Check that an adapter can be attached to a model.

    Args:
        config: Of the `StyleAdapter`.
        layer_names: Of the layers that it takes part in.
        module: The model.
        owners: Name -> module of everything in it that takes attention processors.

    Raises:
        InvalidInputError: Another adapter is there, or layers do not fit.
        UnknownNameError: A layer that the model does not have.
    """
    # Also one at other layers: its processors would be kept from the style like all that know none.
    taken = [n for n, o in owners.items() if isinstance(o.get_processor(), StyleAttentionProcessor)]
    if taken:
        raise InvalidInputError(f"another adapter is attached at layer {taken[0]}; detach that one first")
    for name, dim in zip(layer_names, config["layer_dims"], strict=True):
        if name not in owners:
            known = cross_attention_layers(module)
            raise unknown_name(f"layer of {type(module).__name__}", name, known)
        owner = owners[name]
        inner, text = owner.to_k.out_features, owner.to_k.in_features
        # A transformer maps the text to its own width before its layers.
        mapped = norms_all_heads(owner)
        if inner != dim or (text != config["text_dim"] and not mapped):
            raise InvalidInputError(
                f"layer {name} has inner width {inner} and text width {text}, the adapter expects {dim} "
                f"and {config['text_dim']}"
            )
        if mapped and config["fusion_type"] == "attach_to_text":
            raise InvalidInputError(
                f"{type(module).__name__} maps texts before its layers read them; style tokens cannot be attached "
                "to them there: use fusion_type dual"
            )
        for what in ("fused_projections", "add_k_proj"):
            if mapped and getattr(owner, what, None):
                raise InvalidInputError(
                    f"layer {name} has {what}; style attention needs the plain projections of a text-to-video model"
                )
        processor = owner.get_processor()
        if not isinstance(processor, _REPLACED):
            raise InvalidInputError(
                f"layer {name} has the attention processor {type(processor).__name__}; style "
                f"attention can stand in for {', '.join(kind.__name__ for kind in _REPLACED)} only"
            )
