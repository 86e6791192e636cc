"""Weights that leave a GPU while they are not needed: the hooks of diffusers and accelerate around a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from accelerate.hooks import UserCpuOffloadHook
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.hooks.group_offloading import (
    _GROUP_OFFLOADING,
    _LAYER_EXECUTION_TRACKER,
    _LAZY_PREFETCH_GROUP_OFFLOADING,
)
from torch import nn

from stylecrafter.errors import InvalidInputError

_GROUP_HOOKS = (_LAZY_PREFETCH_GROUP_OFFLOADING, _LAYER_EXECUTION_TRACKER, _GROUP_OFFLOADING)


class OthersLeave(UserCpuOffloadHook):
    """Stands for all models that leave the device before one of them runs.

    diffusers' chain has a model send away the one before it in a fixed order. Calls here differ in theirs: a style may
    have been read before the text, or a video encoded before the first step, and would stay through all steps.
    """

    def __init__(self, hooks: Sequence[UserCpuOffloadHook]) -> None:
        self.hooks = hooks

    @property
    def model(self) -> nn.Module:
        """The one that accelerate looks at, to see whether there is anything to send away."""
        return next(self._present(), self.hooks[0]).model

    def offload(self) -> None:
        """Send them away."""
        for hook in list(self._present()):
            hook.offload()

    def _present(self) -> Iterator[UserCpuOffloadHook]:
        return (hook for hook in self.hooks if next(hook.model.parameters()).device.type != "cpu")


def let_others_leave(hooks: Sequence[UserCpuOffloadHook], together: Sequence[nn.Module | None]) -> None:
    """Have every model that is about to run send away all others.

    Args:
        hooks: As `enable_model_cpu_offload` has placed them.
        together: Models that run in turns and stay for each other.
    """
    pair = {id(model) for model in together}
    for hook in hooks:
        others = [
            other for other in hooks if other is not hook and not {id(hook.model), id(other.model)} <= pair
        ]
        hook.hook.prev_module_hook = OthersLeave(others) if others else None


def offload_layers(
    model: nn.Module, onload: torch.device, offload: torch.device, offload_type: str, **options: Any
) -> None:
    """Have the layers of a model leave the device, each on its own.

    Args:
        model: Any.
        onload: Where they compute.
        offload: Where they wait.
        offload_type: "leaf_level" or "block_level".
        **options: As `apply_group_offloading` of diffusers takes them.

    Raises:
        InvalidInputError: Two layers share weights, and are to wait on the disk.
    """
    if "offload_to_disk_path" in options and (shared := _shared_weights(model)):
        # The second of them would be written after its numbers have gone.
        raise InvalidInputError(
            f"layers of {type(model).__name__} share weights ({' and '.join(shared)}), which the disk would not keep: "
            "leave this component out with exclude_modules"
        )
    if hasattr(model, "enable_group_offload"):
        cast(Any, model).enable_group_offload(onload, offload, offload_type, **options)
    else:
        apply_group_offloading(model, onload, offload, offload_type, **options)


def _shared_weights(model: nn.Module) -> list[str]:
    """Names of the first weights that have another name too."""
    names: dict[int, str] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        if (first := names.setdefault(id(weight), name)) != name:
            return [first, name]
    return []


def remove_group_offload(model: nn.Module) -> None:
    """Bring the weights of a model back to the device where they compute, and take its hooks for groups off."""
    for module in model.modules():
        registry: Any = getattr(module, "_diffusers_hook", None)
        hook = None if registry is None else registry.get_hook(_GROUP_OFFLOADING)
        if hook is None:
            continue
        hook.group.onload_()
        if hook.group.stream is not None:
            hook.group.stream.synchronize()
        for name in _GROUP_HOOKS:
            registry.remove_hook(name, recurse=False)


def has_group_offload(model: nn.Module) -> bool:
    """Whether some of its layers leave the device."""
    registries = (getattr(module, "_diffusers_hook", None) for module in model.modules())
    return any(isinstance(one, HookRegistry) and one.get_hook(_GROUP_OFFLOADING) for one in registries)


def set_tiles(vae: Any, side: int) -> dict[str, Any]:
    """Have an autoencoder take frames in tiles of `side` pixels, or of the size that it was trained at where that is
    larger: what is smaller is taken whole, as ever.

    Returns:
        How it was before, for `restore_tiles`.
    """
    before = {name: value for name, value in vars(vae).items() if name.startswith(("tile_", "use_"))}
    vae.enable_slicing()
    vae.enable_tiling()
    if hasattr(vae, "tile_sample_min_size"):
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        vae.tile_sample_min_size = max(side, vae.tile_sample_min_size)
        vae.tile_latent_min_size = vae.tile_sample_min_size // factor
    else:
        for axis in ("height", "width"):
            setattr(vae, f"tile_sample_min_{axis}", side)
            setattr(vae, f"tile_sample_stride_{axis}", side * 3 // 4)
    return before


def restore_tiles(vae: Any, before: dict[str, Any]) -> None:
    """The reverse of `set_tiles`."""
    for name, value in before.items():
        setattr(vae, name, value)
