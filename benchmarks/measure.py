"""Time and memory of calls that take turns, and what they say of each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds on the clock, and of the processor by this process; bytes at its most.

    None is not known. On a CPU the bytes are those of the whole process, on a GPU those of its tensors.
    """

    wall: float
    cpu: float
    peak: int | None = None

    def __add__(self, other: Cost) -> Cost:
        peaks = [peak for peak in (self.peak, other.peak) if peak is not None]
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(peaks, default=None))

    def __mul__(self, times: float) -> Cost:
        return Cost(self.wall * times, self.cpu * times, self.peak)


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and the smallest and the largest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def measured(run: Callable[[], object], device: torch.device) -> Cost:
    """The cost of one call."""
    _forget_peak(device)
    started = time.perf_counter(), time.process_time()
    run()
    finish(device)
    return Cost(time.perf_counter() - started[0], time.process_time() - started[1], _peak(device))


def taking_turns(
    runs: Mapping[str, Callable[[], object]], repeats: int, device: torch.device
) -> dict[str, list[Cost]]:
    """What each of several calls costs, `repeats` times in turn, each round in the other order; after one round of all
    that does not count."""
    for run in runs.values():
        run()
    finish(device)
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    for turn in range(repeats):
        for name in runs if turn % 2 == 0 else reversed(runs):
            costs[name].append(measured(runs[name], device))
    return costs


def keeping(
    runs: Mapping[str, Callable[[], Any]], results: dict[str, Any]
) -> dict[str, Callable[[], object]]:
    """The same calls, which leave what they return in `results`, so that it need not be made again to be compared."""

    def kept(name: str, run: Callable[[], Any]) -> Callable[[], object]:
        def call() -> None:
            results[name] = run()

        return call

    return {name: kept(name, run) for name, run in runs.items()}


def ratios(base: Sequence[Cost], other: Sequence[Cost], of: str = "wall") -> Spread:
    """How many times faster `other` was than `base`, from pairs of neighbouring runs; `of`: "wall" or "cpu"."""
    return Spread.of([getattr(b, of) / getattr(o, of) for b, o in zip(base, other, strict=True)])


def finish(device: torch.device) -> None:
    """Wait until an accelerator has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (clear := Path("/proc/self/clear_refs")).exists():
        clear.write_text("5")


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not (status := Path("/proc/self/status")).exists():
        return None
    lines = status.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def psnr(a: Any, b: Any) -> float:
    """Of two clips with values in [0, 1], in dB; infinite where they are the same."""
    error = (torch.as_tensor(a).double() - torch.as_tensor(b).double()).square().mean()
    return float(-10 * torch.log10(error))


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """p of seconds ~ sizes ** p, fitted by least squares to the logarithms."""
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (sizes, seconds))
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())
