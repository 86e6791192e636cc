"""What a denoiser is given of texts: their states, and what some read beside these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Texts:
    """n encoded texts.

    Attributes:
        states: (n, l, d), which cross-attention reads.
        arguments: What else `Backbone.predict` takes of each text, such as SDXL's pooled embeddings: (n, …) by name.
    """

    states: Tensor
    arguments: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.states.shape[0]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Texts:
        """The same after a change to every tensor."""
        return Texts(change(self.states), {name: change(value) for name, value in self.arguments.items()})

    def expanded(self, count: int) -> Texts:
        """One text as `count` of them; `count` texts as they are."""
        return self.mapped(lambda tensor: tensor.expand(count, *tensor.shape[1:]))

    def repeated(self, copies: int) -> Texts:
        """Every text `copies` times in a row."""
        return self if copies == 1 else self.mapped(lambda tensor: tensor.repeat_interleave(copies, dim=0))
