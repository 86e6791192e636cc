"""Weights of the style over time: over the frames of a clip, or over the steps of the sampler.

constant(0.8)                       the same everywhere
linear(0.0, 1.0)                    from the first to the last
ease(0.0, 1.0)                      the same, slow at both ends
keyframes((0, 1), (0.5, 0), (1, 1)) straight lines between the points
window(0.2, 0.9)                    1 inside a part of the time, 0 outside

As text (`parse`): the same, in short constant(0.8) as 0.8 and keyframes(…) as 0:1,0.5:0,1:1.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stylecrafter.errors import InvalidInputError


@dataclass(frozen=True)
class Schedule:
    """A weight for every moment of [0, 1]."""

    weight: Callable[[float], float]

    def at(self, count: int) -> tuple[float, ...]:
        """Weights of `count` moments, the first at 0 and the last at 1; a single one is at 0."""
        return tuple(float(self.weight(i / (count - 1) if count > 1 else 0.0)) for i in range(count))


def constant(value: float) -> Schedule:
    """`value` at every moment."""
    _check_finite(value)
    return Schedule(lambda _: value)


def linear(start: float, end: float) -> Schedule:
    """From `start` at 0 to `end` at 1."""
    _check_finite(start, end)
    return Schedule(lambda t: start + (end - start) * t)


def ease(start: float, end: float) -> Schedule:
    """From `start` to `end` along a smoothstep."""
    _check_finite(start, end)
    return Schedule(lambda t: start + (end - start) * t * t * (3 - 2 * t))


def keyframes(*points: tuple[float, float]) -> Schedule:
    """Straight lines between (moment, weight) points; constant before the first and after the last.

    Raises:
        InvalidInputError: No points, moments outside [0, 1] or not rising.
    """
    moments, values = [t for t, _ in points], [v for _, v in points]
    _check_finite(*moments, *values)
    rising = all(a < b for a, b in zip(moments, moments[1:], strict=False))
    if not points or not rising or moments[0] < 0 or moments[-1] > 1:
        raise InvalidInputError(f"keyframes need rising moments in [0, 1], got {moments}")

    def weight(t: float) -> float:
        i = bisect.bisect_right(moments, t)
        if i == 0 or i == len(moments):
            return values[max(0, i - 1)]
        part = (t - moments[i - 1]) / (moments[i] - moments[i - 1])
        return values[i - 1] + (values[i] - values[i - 1]) * part

    return Schedule(weight)


def window(start: float, end: float) -> Schedule:
    """1 from `start` to `end`, 0 elsewhere.

    Raises:
        InvalidInputError: Not 0 <= start <= end <= 1.
    """
    if not 0 <= start <= end <= 1:
        raise InvalidInputError(f"a window needs 0 <= start <= end <= 1, got {start} and {end}")
    return Schedule(lambda t: float(start <= t <= end))


def parse(text: str) -> Schedule:
    """A schedule from its text: "0.8", "0:0,0.5:1,1:0" or a name and its numbers, such as "window(0.3,1)".

    Raises:
        InvalidInputError: It is none of these, or its numbers cannot be.
    """
    named = re.fullmatch(r"\s*([a-z]+)\s*\(([^()]*)\)\s*", text)
    if named and named.group(1) in _NAMED:
        make, count = _NAMED[named.group(1)]
        numbers = [_read_number(part) for part in named.group(2).split(",")]
        if len(numbers) == count and None not in numbers:
            return make(*numbers)
    elif ":" in text:
        pairs = [tuple(_read_number(part) for part in point.split(":")) for point in text.split(",")]
        if all(len(pair) == 2 and None not in pair for pair in pairs):
            return keyframes(*pairs)  # type: ignore[arg-type]
    elif (number := _read_number(text)) is not None:
        return constant(number)
    raise InvalidInputError(
        f"a style schedule is a number (0.8), points MOMENT:WEIGHT (0:0,0.5:1,1:0, moments from 0 to 1), or one of "
        f"{', '.join(f'{name}(…)' for name in _NAMED)} with its numbers, not {text!r}"
    )


def weights(schedule: Schedule | Sequence[float] | str | None, count: int, what: str) -> tuple[float, ...]:
    """Weights for `count` frames or steps from a schedule, its text (`parse`), a sequence of that length, or None (1
    everywhere).

    Raises:
        InvalidInputError: A single number, a sequence of another length, or numbers that are not finite.
    """
    if schedule is None or (isinstance(schedule, str) and not schedule):
        return (1.0,) * count
    if isinstance(schedule, str):
        schedule = parse(schedule)
    if isinstance(schedule, Schedule):
        values = schedule.at(count)
    elif not isinstance(schedule, Iterable) or getattr(schedule, "shape", None) == ():
        raise InvalidInputError(
            f"style weights per {what} are a sequence of {count} numbers or a schedule such as "
            f"schedules.constant({schedule}), got {schedule!r}"
        )
    else:
        values = _numbers(schedule)
    if len(values) != count:
        raise InvalidInputError(f"need one style weight per {what}, {count}, got {len(values)}")
    _check_finite(*values)
    return values


#: Schedules that a text names, and how many numbers each takes.
_NAMED: dict[str, tuple[Callable[..., Schedule], int]] = {
    "constant": (constant, 1),
    "linear": (linear, 2),
    "ease": (ease, 2),
    "window": (window, 2),
}


def _read_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _numbers(values: Iterable[Any]) -> tuple[float, ...]:
    given = list(values)
    try:
        return tuple(float(value) for value in given)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"style weights must be numbers, got {given}") from error


def _check_finite(*values: float) -> None:
    if not all(math.isfinite(v) for v in values):
        raise InvalidInputError(f"style weights must be finite, got {values}")
