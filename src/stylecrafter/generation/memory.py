"""What a clip needs of memory, before the model is loaded, and what would take less."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stylecrafter.generation.models import ModelFacts, look_up_model
from stylecrafter.generation.settings import GenerationSettings, prepare
from stylecrafter.pipelines.memory_options import MemoryOptions, Workload
from stylecrafter.runtime.memory import available_memory, format_bytes
from stylecrafter.weights.footprint import PROCESS_BYTES, MemoryEstimate, check_memory, estimate_memory

if TYPE_CHECKING:
    import torch

    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

#: A flag that saves less than this part is not worth its name.
_WORTH = 0.97


@dataclass(frozen=True)
class Plan:
    """How a clip is to be made.

    Attributes:
        device_type: "cpu", "cuda" or "mps".
    """

    work: Workload
    dtype: torch.dtype
    options: MemoryOptions = MemoryOptions()
    device_type: str = "cpu"


# Entries of a batch mostly ask for the same.
@functools.lru_cache(maxsize=32)
def estimate_for(model: ModelFacts, plan: Plan) -> MemoryEstimate:
    """Bytes at the peak of making a clip, counted from configs alone.

    Raises:
        InvalidInputError: The model cannot make it.
        CheckpointError: Configs that cannot be read.
    """
    from stylecrafter.pipelines.footprint import estimate_peak

    return estimate_peak(_outlined(model, plan.dtype), plan.work, plan.options, plan.device_type)


@functools.lru_cache(maxsize=2)
def _outlined(model: ModelFacts, dtype: torch.dtype) -> StyleCrafterPipeline:
    return model.outlined(dtype)


def check_clip(model: ModelFacts, plan: Plan, device: torch.device, *, loaded: bool = False) -> None:
    """Warn when a clip may not fit, refuse when it cannot, and name the flags that take less.

    Args:
        model: Of the clip.
        plan: How it is to be made.
        device: Where.
        loaded: Its weights are in memory already.

    Raises:
        InvalidInputError: It needs more than twice of what is free.
        CheckpointError: Configs or weights that cannot be read.
    """
    if model.outline is None and _surely_fits(model, plan, device):
        return  # which takes less time than counting
    estimate = estimate_for(model, plan)
    if loaded:
        estimate = replace(estimate, weights=0, host=0)
    check_memory(estimate, device, lambda: counted_remedies(model, plan, loaded=loaded))


def _surely_fits(model: ModelFacts, plan: Plan, device: torch.device) -> bool:
    """Whether a bound far above what VideoCrafter's models take is free."""
    work = plan.work
    bound = estimate_memory(
        model.folder,
        work.frames,
        work.width,
        work.height,
        plan.dtype.itemsize,
        references=work.references + work.negatives,
        window=work.window,
    )
    places = {available_memory(), available_memory(device)}
    return bound.total + PROCESS_BYTES <= min(places)


def remedies(model: ModelFacts, plan: Plan, *, loaded: bool = False) -> dict[str, int]:
    """Flags -> what the clip would take with them in bytes, the least first; those alone that save something.

    Args:
        model: Of the clip.
        plan: How it was to be made.
        loaded: Its weights are in memory already, so that only what a clip asks for can change.
    """

    def total(one: Plan) -> int:
        found = estimate_for(model, one)
        return found.working if loaded else found.total

    now = total(plan)
    ways = [*_of_the_clip(model, plan)] if loaded else [*_of_the_machine(plan), *_of_the_clip(model, plan)]
    found = {flags: total(changed) for flags, changed in ways}
    return {flags: size for flags, size in sorted(found.items(), key=lambda i: i[1]) if size < _WORTH * now}


def counted_remedies(model: ModelFacts, plan: Plan, *, loaded: bool = False) -> str:
    """`remedies` in words: "--low-memory (3.2 GiB), --frames 8 (4.1 GiB)"; the process itself not counted."""
    found = remedies(model, plan, loaded=loaded)
    return ", ".join(f"{flags} ({format_bytes(size)})" for flags, size in found.items())


def _of_the_machine(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """What changes how the model is kept and run."""
    import torch

    options, every = plan.options, plan
    flags: list[str] = []
    steps: list[tuple[str, bool, dict[str, Any]]] = [
        ("--low-memory", not options.low_memory, {"low_memory": True}),
        ("--offload group", plan.device_type == "cuda" and options.offload != "group", {"offload": "group"}),
        ("--weights fp8", options.weights_as == "full", {"weights_as": "fp8"}),
    ]
    for flag, applies, change in steps:
        if applies:
            yield flag, replace(plan, options=replace(options, **change))
            every, flags = replace(every, options=replace(every.options, **change)), [*flags, flag]
    if plan.dtype == torch.float32:
        yield "--dtype bfloat16", replace(plan, dtype=torch.bfloat16)
        every, flags = replace(every, dtype=torch.bfloat16), [*flags, "--dtype bfloat16"]
    if len(flags) > 1:
        yield " ".join(flags), every


def _of_the_clip(model: ModelFacts, plan: Plan) -> Iterator[tuple[str, Plan]]:
    """What changes the clip itself: windows, fewer frames, a smaller size."""
    work, own = plan.work, int(model.default("frames", 1))
    if 1 < own < (work.window or work.frames):
        yield f"--window {own}", replace(plan, work=replace(work, window=own))
    if work.frames > 1:
        backbone = _outlined(model, plan.dtype).backbone
        fewer = 1 + (work.frames - 1) // 2 // backbone.frames_per_latent * backbone.frames_per_latent
        yield f"--frames {fewer}", replace(plan, work=replace(work, frames=fewer))
    step = model.size_multiple
    width, height = (max(step, side // 2 // step * step) for side in (work.width, work.height))
    if (width, height) != (work.width, work.height):
        yield f"--size {width}x{height}", replace(plan, work=replace(work, width=width, height=height))


def needs(
    model: str,
    parts: Mapping[str, str | None],
    *,
    size: str | None = None,
    frames: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    options: MemoryOptions = MemoryOptions(),  # noqa: B008  # frozen
) -> dict[str, Any]:
    """What a clip would need of a machine's memory, in bytes, and what is free; and the knobs of its fast mode.

    Args:
        model: See `look_up_model`.
        parts: What stands beside it, likewise.
        size: "128x96", width first; None: the model's own.
        frames: None: the model's own.
        device: "auto" or a device of this machine.
        dtype: "auto" or a number format.
        options: How memory is saved.

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
    work = Workload(job.frames, *job.size, 1 if facts.reads_pictures else 0, job.settings.window or 0)
    plan = Plan(work, number, options, place.type)
    estimate = estimate_for(facts, plan)
    process = 0 if place.type == "cuda" else PROCESS_BYTES
    total, free = estimate.total + process, available_memory(place)
    return {
        "model": facts.name,
        "kind": facts.label,
        "frames": work.frames,
        "size": f"{work.width}x{work.height}",
        "device": str(place),
        "dtype": dtype_name(number),
        "weights": estimate.weights,
        "working": estimate.working,
        "process": process,
        "fast": dict(facts.fast),
        "total": total,
        "free": free,
        **({"host": estimate.host} if estimate.host else {}),
        **({"less": remedies(facts, plan)} if total > free else {}),
    }
