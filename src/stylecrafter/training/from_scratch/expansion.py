"""Function-preserving expansion: a trained UNet with attention at more resolutions, and its style adapter there.

What is new adds nothing until it has learned something, so that an expanded model draws what it drew before: cheaper
than training a larger one from nothing. `mini` had no attention at its finest resolution, where textures are decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.backbones.spatial import SpatialTransformer
from stylecrafter.backbones.videocrafter import VideoCrafter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError


def expand(
    backbone: Backbone, adapter: StyleAdapter | None, levels: Sequence[bool]
) -> tuple[Backbone, StyleAdapter | None]:
    """A base model with attention at more resolutions, and its adapter, attached there; themselves where it has that.

    Raises:
        InvalidInputError: It is no VideoCrafter model; or see `with_attention`.
    """
    unet = _videocrafter_unet(backbone, "model.attention_levels")
    if tuple(levels) == tuple(unet.config["attention_levels"]):
        return backbone, adapter
    if adapter is not None:
        adapter.detach()
    unet = with_attention(unet, levels)
    if adapter is not None:
        adapter = adapter_for_expanded(adapter, unet).attach(unet)
    return VideoCrafter(**{**backbone.components, "unet": unet}), adapter


def interpolate_positions(backbone: Backbone, factor: float) -> None:
    """Let a base model take so many times the frames (`VideoCrafterUNet.stretch_time`).

    Raises:
        InvalidInputError: It is no VideoCrafter model, or the factor is below 1.
    """
    if factor != 1:
        _videocrafter_unet(backbone, "position_interpolation").stretch_time(factor)


def _videocrafter_unet(backbone: Backbone, what: str) -> VideoCrafterUNet:
    if not isinstance(backbone, VideoCrafter):
        raise InvalidInputError(f"{what} changes VideoCrafter models, this one is of {backbone.label}")
    return backbone.denoiser


def with_attention(unet: VideoCrafterUNet, levels: Sequence[bool]) -> VideoCrafterUNet:
    """The UNet with spatial and temporal attention at more resolutions; itself where it has that already.

    Fresh transformers begin as the identity (their last projection is zero), fresh weights are drawn from torch's
    global generator.

    Args:
        unet: Trained, with no adapter attached; it is left as it is.
        levels: Whether a resolution has attention, from fine to coarse, as `VideoCrafterUNet.attention_levels`.

    Raises:
        InvalidInputError: Not one value per resolution, attention taken away, or channels that heads do not divide.
    """
    before, after = tuple(unet.config["attention_levels"]), tuple(levels)
    if before == after:
        return unet
    if len(before) != len(after) or any(had and not has for had, has in zip(before, after, strict=True)):
        raise InvalidInputError(
            f"attention_levels {list(after)}: the model has {list(before)}, to which attention can be added and from "
            "which it cannot be taken"
        )
    expanded = VideoCrafterUNet.from_config({**unet.config, "attention_levels": after})
    expanded = expanded.to(unet.device, unet.dtype).train(unet.training)
    known = unet.state_dict()
    expanded.load_state_dict({**expanded.state_dict(), **known})
    for name, module in expanded.named_modules():
        # Fresh temporal transformers are the identity anyway.
        if isinstance(module, SpatialTransformer) and f"{name}.proj_out.weight" not in known:
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
    return expanded


def adapter_for_expanded(adapter: StyleAdapter, unet: VideoCrafterUNet) -> StyleAdapter:
    """An adapter for all layers of an expanded UNet, which gives those that `adapter` has what that gives them.

    Only the factors change a little where they are predicted, because the predictor's queries see each other: those
    of fresh layers begin as the mean of the others.

    Args:
        adapter: Trained, and detached; it is left as it is.
        unet: From `with_attention`.

    Raises:
        InvalidInputError: `adapter` has a layer that `unet` has not.
    """
    expanded = StyleAdapter.for_model(unet, adapter.config["image_dim"], **adapter.options)
    missing = [name for name in adapter.layer_names if name not in expanded.layer_names]
    if missing:
        raise InvalidInputError(f"the adapter has a layer {missing[0]!r}, the expanded UNet has not")
    places = [expanded.layer_names.index(name) for name in adapter.layer_names]
    state: dict[str, Any] = {k: v for k, v in adapter.state_dict().items() if not k.startswith("layers.")}
    queries = state.pop("scale_predictor.queries", None)
    expanded.load_state_dict({**expanded.state_dict(), **state})
    with torch.no_grad():
        for own, place in zip(adapter.layers, places, strict=False):
            expanded.layers[place].load_state_dict(own.state_dict())
        if queries is not None and expanded.scale_predictor is not None:
            expanded.scale_predictor.queries.copy_(queries.mean(0, keepdim=True))
            expanded.scale_predictor.queries[places] = queries
    return expanded.to(adapter.device, adapter.dtype)
