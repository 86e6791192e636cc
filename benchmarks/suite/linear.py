"""Does a pass cost in proportion to its frames and to its pixels?"""

from __future__ import annotations

import math
from typing import Any

import torch

from benchmarks.measure import Cost, Spread, exponent, taking_turns
from benchmarks.models import videocrafter
from benchmarks.results import Facts, Result, shown
from benchmarks.settings import Settings
from benchmarks.suite.one_pass import pass_inputs
from stylecrafter.errors import MissingDependencyError
from stylecrafter.evaluation.statistics import Interval
from stylecrafter.studies import plots

FRAMES = {"full": (4, 8, 16, 32), "tiny": (2, 4, 8, 16)}
#: Sides of the latents, each twice the places of the one before.
SIDES = {"full": ((8, 8), (8, 16), (16, 16), (16, 32)), "tiny": ((4, 4), (4, 8), (8, 8), (8, 16))}


def run(settings: Settings) -> list[Result]:
    """Four sizes of each, in turns; exponents, and plots where Matplotlib is there."""
    pipe = videocrafter(settings.size, settings.device)
    frames, sides = FRAMES[settings.size], SIDES[settings.size]
    places = math.prod(sides[2])
    rows = {
        "frames": {float(f): (f, *sides[2]) for f in frames},
        "places": {float(h * w): (frames[2], h, w) for h, w in sides},
    }
    results: list[Result] = []
    for name, shapes in rows.items():
        runs = {str(size): _pass(pipe, shape) for size, shape in shapes.items()}
        costs = list(taking_turns(runs, settings.repeats, settings.device).values())
        other = f"{places} places" if name == "frames" else f"{frames[2]} frames"
        results.append(_facts(name, list(shapes), costs, other))
    return results


def _pass(pipe: Any, shape: tuple[int, int, int]) -> Any:
    latents, *others = pass_inputs(pipe, shape[0], 1)
    latents = torch.randn((*latents.shape[:2], *shape), device=latents.device)

    def call() -> None:
        with torch.no_grad():
            pipe.unet(latents, *others)

    return call


def _facts(name: str, sizes: list[float], costs: list[list[Cost]], other: str) -> Facts:
    spreads = [Spread.of([cost.cpu for cost in runs]) for runs in costs]
    numbers: dict[str, Any] = {}
    for size, spread, runs in zip(sizes, spreads, costs, strict=True):
        clock = Spread.of([cost.wall for cost in runs])
        numbers[f"{size:g} {name}"] = f"{shown(spread)} s of the processor, {shown(clock)} s"
    numbers[f"time grows as {name} to the power of"] = round(exponent(sizes, [s.median for s in spreads]), 3)
    per = [spread.median / size for spread, size in zip(spreads, sizes, strict=True)]
    numbers[f"most over least time per one of the {name}"] = round(max(per) / min(per), 3)
    notes = [f"one pass with style at {other} of latents, float32"]
    try:
        svg = plots.lines(
            f"One pass, {other}",
            (name, sizes),
            "seconds of the processor",
            {"ours": [Interval(s.median, s.low, s.high, len(costs[0])) for s in spreads]},
        )
    except MissingDependencyError as error:
        notes.append(f"not plotted: {error}")
        return Facts(f"Cost by {name}", numbers, notes)
    return Facts(f"Cost by {name}", numbers, notes, {f"cost_by_{name}.svg": svg})
