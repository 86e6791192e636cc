"""Weights of the base model that an adapter was trained with, and that its file holds too."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stylecrafter.errors import InvalidInputError

logger = logging.getLogger(__name__)


def replace_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a base model these weights for its own, and say so.

    Args:
        module: Keeps its parameters themselves; what is loaded beside them (LoRA) stays.
        tensors: One for every parameter, by the names that the model has for them.

    Returns:
        What was there before, on the CPU, of those that differ: `put_into` of it restores the model to the bit.

    Raises:
        InvalidInputError: Names or shapes that are not the model's, which stays as it was.
    """
    own = _own_weights(module)
    strange = [name for name in {**own, **tensors} if _shape(own, name) != _shape(tensors, name)]
    if strange:
        name, kind = strange[0], type(module).__name__
        raise InvalidInputError(
            f"the adapter's file holds a base model too, which is not this {kind}: {name} is {_shape(tensors, name)} "
            f"there and {_shape(own, name)} here; {len(strange)} weights differ so"
        )
    differing = {
        name: value
        for name, value in tensors.items()
        # Without memory (`pipelines.skeleton`) they are only compared by name and shape.
        if not own[name].is_meta and not torch.equal(value.to(own[name].device, own[name].dtype), own[name])
    }
    before = {name: own[name].detach().cpu().clone() for name in differing}
    put_into(module, differing)
    if before:
        logger.warning(
            "%d of %d weights of the %s are now those of the adapter's file, with which it was trained; its own come "
            "back when the adapter is unloaded",
            len(before),
            len(own),
            type(module).__name__,
        )
    return before


@torch.no_grad()
def put_into(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy weights into a model's parameters of the same names, in their number format."""
    own = _own_weights(module)
    for name, value in tensors.items():
        own[name].copy_(value)


def _own_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    # A layer that a LoRA was put into holds its own weights one step further in.
    return {
        name.replace(".base_layer.", "."): value
        for name, value in module.named_parameters()
        if ".lora_" not in name
    }


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | str:
    return tuple(tensors[name].shape) if name in tensors else "absent"
