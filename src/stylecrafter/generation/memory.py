"""What a clip needs of memory, before the model is loaded."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from stylecrafter.generation.models import ModelFacts, look_up_model
from stylecrafter.generation.settings import GenerationSettings, prepare
from stylecrafter.runtime.memory import available_memory
from stylecrafter.weights.footprint import PROCESS_BYTES, MemoryEstimate, estimate_memory

if TYPE_CHECKING:
    import torch


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


def needs(
    model: str,
    parts: Mapping[str, str | None],
    *,
    size: str | None = None,
    frames: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> dict[str, Any]:
    """What a clip would need of a machine's memory, in bytes, and what is free; and the knobs of its fast mode.

    Args:
        model: See `look_up_model`.
        parts: What stands beside it, likewise.
        size: "128x96", width first; None: the model's own.
        frames: None: the model's own.
        device: "auto" or a device of this machine.
        dtype: "auto" or a number format.

    Raises:
        InvalidInputError: There is no such model, or it cannot make such a clip.
    """
    from stylecrafter.runtime.devices import dtype_name, resolve_device, resolve_dtype

    place = resolve_device(device)
    number = resolve_dtype(dtype, place)
    facts = look_up_model(model, **parts)
    asked: dict[str, Any] = {} if size is None else {"size": size}
    settings = GenerationSettings(prompt="-", frames=frames, **asked)
    job = prepare(settings, facts.suffix, facts)
    clip = Clip(job.frames, *job.size, 1 if facts.reads_pictures else 0)
    estimate = estimate_for(facts, clip, number)
    process = 0 if place.type == "cuda" else PROCESS_BYTES
    return {
        "model": facts.name,
        "kind": facts.label,
        "frames": clip.frames,
        "size": f"{clip.width}x{clip.height}",
        "device": str(place),
        "dtype": dtype_name(number),
        "weights": estimate.weights,
        "working": estimate.working,
        "process": process,
        "total": estimate.total + process,
        "free": available_memory(place),
        "fast": dict(facts.fast),
    }
