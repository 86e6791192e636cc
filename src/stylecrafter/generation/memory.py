"""What a clip needs of memory, before the model is loaded."""

from __future__ import annotations

import functools
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from stylecrafter.weights.footprint import MemoryEstimate, estimate_memory

if TYPE_CHECKING:
    import torch

    from stylecrafter.generation.models import ModelFacts


@dataclass(frozen=True)
class Clip:
    """A clip, in frames and pixels, with so many style pictures; the denoiser sees `window` frames at once, 0: all."""

    frames: int
    width: int
    height: int
    references: int = 0
    window: int = 0


def estimate_for(model: ModelFacts, clip: Clip, dtype: torch.dtype) -> MemoryEstimate:
    """Bytes at the peak of making a clip, from configs alone.

    Raises:
        InvalidInputError: The model cannot make it.
        CheckpointError: Configs or weights that cannot be read.
    """
    if model.outline is None:
        return estimate_memory(
            model.folder,
            clip.frames,
            clip.width,
            clip.height,
            dtype.itemsize,
            references=clip.references,
            window=clip.window,
        )
    return _counted(model, clip, dtype)


# Entries of a batch mostly ask for the same.
@functools.lru_cache(maxsize=8)
def _counted(model: ModelFacts, clip: Clip, dtype: torch.dtype) -> MemoryEstimate:
    from stylecrafter.pipelines.footprint import Workload, estimate_peak

    return estimate_peak(model.outlined(dtype), Workload(*astuple(clip)))
