"""What a stage of training is given at each step, and who gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """n pictures or clips with their captions."""

    frames: torch.Tensor
    """(n, f, 3, h, w) float32 in [0, 1]; pictures have one frame."""
    captions: list[str]
    """n captions, as the model is to read them."""
    references: torch.Tensor | None = None
    """(n, 3, s, s) float32 in [0, 1]: one style reference per row, where there are any."""

    def __len__(self) -> int:
        return self.frames.shape[0]

    def __getitem__(self, rows: slice) -> TrainingBatch:
        return TrainingBatch(
            frames=self.frames[rows],
            captions=self.captions[rows],
            references=None if self.references is None else self.references[rows],
        )


class BatchSource(Protocol):
    """An endless sequence of batches, any of which can be asked for at any time.

    A batch is a pure function of the source's seed, the step and the rows. Resuming therefore needs nothing but the
    step, and several processes share a batch by asking for different rows of it.
    """

    @property
    def batch_size(self) -> int:
        """Rows of one step, over all processes and accumulated parts together."""
        ...

    def batch(self, step: int, rows: slice) -> TrainingBatch:
        """Rows `rows` (of 0 … batch_size - 1) of the batch of step `step`."""
        ...


@runtime_checkable
class Captioned(Protocol):
    """A source that tells its captions without making pictures for them."""

    def captions_of(self, step: int, rows: slice) -> list[str]:
        """The captions of `batch(step, rows)`."""
        ...
