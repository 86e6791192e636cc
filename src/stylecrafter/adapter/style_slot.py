"""How a style reaches attention layers that are handed no arguments of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from stylecrafter.adapter.style_regions import StyleRegions


@dataclass(frozen=True)
class GivenStyle:
    """What one pass of a model is given.

    Attributes:
        tokens: (b, q, d).
        scales: (b, L), or per frame (b, f, L); None: factor 1.
        num_frames: Frames within one sample, if they lie in the token axis; None: entries per sample.
    """

    tokens: Tensor
    scales: Tensor | None = None
    num_frames: int | None = None


class StyleSlot:
    """One per attachment, seen by all of its processors; empty outside of a pass.

    Masks lie here for every base model, however its layers are handed the style.

    Args:
        style_dim: Width of the style tokens that the attached adapter reads; None: not known.
    """

    def __init__(self, style_dim: int | None = None) -> None:
        self.style_dim = style_dim
        self.style: GivenStyle | None = None
        self.regions: StyleRegions | None = None

    @contextmanager
    def holding(self, style: GivenStyle | None) -> Iterator[None]:
        """Give the style to every layer for as long as this lasts."""
        before, self.style = self.style, style
        try:
            yield
        finally:
            self.style = before

    @contextmanager
    def masking(self, regions: StyleRegions | None) -> Iterator[None]:
        """Confine the style, wherever it comes from, for as long as this lasts."""
        before, self.regions = self.regions, regions
        try:
            yield
        finally:
            self.regions = before

    def checkpointed(self, function: Callable[..., Any], *args: Any) -> Any:
        """Gradient checkpointing that finds, when it computes again, the style that was there at first."""
        style, regions = self.style, self.regions

        def again(*inputs: Any) -> Any:
            with self.holding(style), self.masking(regions):
                return function(*inputs)

        return checkpoint(again, *args, use_reentrant=False)
