"""What a call keeps from step to step, where its knobs say so: guidance, and deep features of the denoiser."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from stylecrafter.backbones.protocol import Backbone
from stylecrafter.backbones.step_caches import StepCache

#: Text and style scale of equation 2; None: no style.
Scales = tuple[float, float | None]


class StepReuse:
    """For the steps of one call, within `with`. By default nothing is kept, and every pass is made in full.

    Args:
        guidance_every: Steps for which one difference of guidance serves, at least 1.
        cache: Of the denoiser.
    """

    def __init__(self, guidance_every: int = 1, cache: StepCache | None = None) -> None:
        self._every = guidance_every
        self._cache = cache
        self._step = 0
        self._differences: dict[Hashable, tuple[int, Scales, Tensor]] = {}
        self._installed = ExitStack()

    @classmethod
    def of(cls, backbone: Backbone, params: Any) -> Self:
        """What filled `SamplingParams` say.

        Raises:
            InvalidInputError: The base model has no such blocks to leave out.
        """
        cache: StepCache | None = None
        if params.skip_threshold > 0:
            cache = backbone.block_cache(params.skip_threshold)
        if params.reuse_every > 1:
            cache = backbone.deep_features(params.reuse_every, params.reuse_depth)
        return cls(params.guidance_every, cache)

    @property
    def by_sample(self) -> bool:
        """Whether samples of a batch are to be asked one by one."""
        return self._cache is not None and self._cache.by_sample

    def __enter__(self) -> Self:
        if self._cache is not None:
            self._installed.enter_context(self._cache.installed())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._differences.clear()
        self._installed.close()

    def at(self, step: int) -> Self:
        """The same at a step, counted from 0 by calls of the sampler."""
        self._step = step
        return self

    def of_pass(self, name: Hashable) -> AbstractContextManager[None]:
        """One pass of the denoiser; those of one name follow each other over the steps."""
        return nullcontext() if self._cache is None else self._cache.of_pass(name, self._step)

    def difference(self, name: Hashable, scales: Scales) -> Tensor | None:
        """What guidance added to the conditional prediction, where that still serves: at the same scales."""
        step, of, kept = self._differences.get(name, (0, None, None))
        return kept if of == scales and self._step - step < self._every else None

    def keep(self, name: Hashable, scales: Scales, difference: Tensor) -> None:
        """Keep what guidance added at this step."""
        if self._every > 1:
            self._differences[name] = self._step, scales, difference
