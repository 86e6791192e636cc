"""What a denoiser keeps from one step of sampling for the next, so that it need not compute all of itself again.

Neighbouring steps ask it about nearly the same latents. Its deep layers then say nearly the same, and are left out at
some steps:

* `DeepFeatures`, of UNets: what comes up out of the coarse levels is used for several steps, and only the fine levels
  are computed in between (DeepCache, Ma et al. 2023, arXiv 2312.00858);
* `FirstBlock`, of transformers: a step whose first block changes little against the last one computed takes what the
  other blocks added then (the first-block cache of diffusers, after TeaCache, Liu et al. 2024, arXiv 2411.19108).

Passes of a step (without text, with text, with style) and windows of a clip differ by more than steps do: each keeps
its own. Outside of `installed` a denoiser is what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from stylecrafter.errors import InvalidInputError


class StepCache(Protocol):
    """What both kinds answer."""

    #: Whether it decides by all samples of a pass: these then go through one by one, as calls of their own would.
    by_sample: ClassVar[bool]

    def installed(self) -> AbstractContextManager[None]:
        """The denoiser with it, for as long as this lasts; nothing is left of it behind, nor after an error."""

    def of_pass(self, name: Hashable, step: int) -> AbstractContextManager[None]:
        """One pass of the denoiser, at a step counted from 0; passes of one name follow each other over the steps."""


@dataclass(frozen=True)
class DeepBlocks:
    """What of a UNet lies below its fine levels.

    Attributes:
        skipped: Modules that are left out, none inside another; each runs once in a pass.
        gate: The one of them whose output enters the fine levels on the way up.
    """

    skipped: tuple[nn.Module, ...]
    gate: nn.Module


@dataclass
class _Kept:
    """What the last whole pass of a name said, and at which step that was."""

    step: int
    outputs: dict[nn.Module, Any] = field(default_factory=dict)


class DeepFeatures:
    """Deep blocks that run at every n-th step of a pass.

    Of what is not used their outputs have the shapes alone, so that all around them (skip connections, the residuals
    of a ControlNet) runs as ever.

    Args:
        blocks: Of the UNet.
        every: Steps for which one result serves, at least 1.
    """

    by_sample: ClassVar[bool] = False

    def __init__(self, blocks: DeepBlocks, every: int) -> None:
        self._blocks = blocks
        self._every = every
        self._kept: dict[Hashable, _Kept] = {}
        self._writing: _Kept | None = None
        self._reading: _Kept | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        with ExitStack() as undo:
            for module in self._blocks.skipped:
                own = module.__dict__.get("forward")  # others may have put theirs there: offloading, for one
                undo.callback(_restore, module, own)
                module.forward = self._forward(module, module.forward)
            try:
                yield
            finally:
                self._kept.clear()

    @contextmanager
    def of_pass(self, name: Hashable, step: int) -> Iterator[None]:
        kept = self._kept.get(name)
        if kept is None or step - kept.step >= self._every:
            kept = self._writing = _Kept(step)
        else:
            self._reading = kept
        try:
            yield
            self._kept[name] = kept  # a pass that failed leaves nothing behind
        finally:
            self._writing = self._reading = None

    def _forward(self, module: nn.Module, whole: Callable[..., Any]) -> Callable[..., Any]:
        gate = module is self._blocks.gate

        @torch.compiler.disable
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._reading is not None:
                kept = self._reading.outputs[module]
                # What comes next may write into what it is given, as FreeU does.
                return kept.clone() if gate else kept
            output = whole(*args, **kwargs)
            if self._writing is not None:
                self._writing.outputs[module] = output.clone() if gate else _shape_of(output)
            return output

        return forward


class FirstBlock:
    """Blocks of a transformer that are left out where the first one changes little.

    Args:
        transformer: A model of diffusers that takes its caches.
        threshold: Mean change of what the first block adds, as a part of what it added at the last whole pass, from
            which on all blocks run; above 0.
    """

    by_sample: ClassVar[bool] = True

    def __init__(self, transformer: Any, threshold: float) -> None:
        self._transformer = transformer
        self._threshold = threshold

    @contextmanager
    def installed(self) -> Iterator[None]:
        from diffusers import FirstBlockCacheConfig

        transformer = self._transformer
        if transformer.is_cache_enabled:
            raise InvalidInputError(
                "the transformer has a cache of diffusers already: call its disable_cache(), or leave out the skip "
                "threshold"
            )
        own = [(m, m.__dict__.get("forward"), hasattr(m, "_diffusers_hook")) for m in transformer.modules()]
        transformer.enable_cache(FirstBlockCacheConfig(threshold=self._threshold))
        try:
            yield
        finally:
            transformer.disable_cache()
            for module, forward, hooked in own:
                # diffusers leaves empty lists of hooks, and forwards bound to their objects.
                if not hooked and hasattr(module, "_diffusers_hook"):
                    del module._diffusers_hook
                    _restore(module, forward)

    def of_pass(self, name: Hashable, step: int) -> AbstractContextManager[None]:
        context: AbstractContextManager[None] = self._transformer.cache_context(repr(name))
        return context


def deep_blocks(unet: Any, depth: int, label: str, inside: Callable[[Any], list[nn.Module]]) -> DeepBlocks:
    """The blocks of a UNet below its `depth` finest levels.

    Args:
        unet: With `down_blocks`, `mid_block` and `up_blocks`.
        depth: At least 1.
        label: What messages call it.
        inside: The modules of a block that are left out: the block itself where it is called as a whole; the last one
            gives what it hands on.

    Raises:
        InvalidInputError: It has no levels below these.
    """
    levels = len(unet.down_blocks)
    if not 1 <= depth < levels:
        raise InvalidInputError(
            f"reuse_depth must be from 1 to {levels - 1}, the levels of this {label} UNet but its coarsest, got {depth}"
        )
    skipped = [*(unet.down_blocks[depth - 1].downsamplers or [])]
    for block in (*unet.down_blocks[depth:], unet.mid_block, *unet.up_blocks[: levels - depth]):
        skipped += inside(block)
    return DeepBlocks(tuple(skipped), skipped[-1])


def _restore(module: nn.Module, forward: Callable[..., Any] | None) -> None:
    """Give a module the forward back that it had of its own; None: that of its class."""
    if forward is not None:
        module.forward = forward
    else:
        module.__dict__.pop("forward", None)


def _shape_of(output: Any) -> Any:
    """Zeros of the shape of tensors, that take no memory."""
    if isinstance(output, tuple):
        return tuple(_shape_of(part) for part in output)
    return output.new_zeros(()).expand(output.shape)
