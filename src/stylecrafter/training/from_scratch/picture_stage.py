"""What the stages have in common that are shown pictures, or their captions, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch

from stylecrafter.data.batch import BatchSource
from stylecrafter.training.batch_shares import WHOLE, Shard


class PictureStage(ABC):
    """A `stages.Stage` with one source."""

    name: ClassVar[str]
    pictures: BatchSource

    @abstractmethod
    def inputs(self, step: int, shard: Shard = WHOLE) -> Any: ...

    @abstractmethod
    def compute(self, inputs: Any) -> torch.Tensor: ...

    def sources(self) -> dict[str, BatchSource]:
        return {"pictures": self.pictures}

    def loss(self, step: int, shard: Shard = WHOLE) -> torch.Tensor:
        return self.compute(self.inputs(step, shard))
