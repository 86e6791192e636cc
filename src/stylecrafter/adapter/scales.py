"""What a caller gives as style scales, as one number per layer and per frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stylecrafter.errors import InvalidInputError, unknown_name

Scale = float | Mapping[str, float] | Sequence[float]


def layer_scales(scale: Scale, names: Sequence[str]) -> tuple[float, ...]:
    """One factor for each layer in `names`.

    Args:
        scale: One factor for all layers; or one per layer, in any container of numbers; or a mapping from layer
            names or dotted prefixes of them to factors: the longest match counts, layers without one have 1.
        names: Dotted names of the layers.

    Raises:
        InvalidInputError: No finite numbers, or not one per layer.
        UnknownNameError: A name that no layer has.
    """
    if isinstance(scale, Mapping):
        for key in scale:
            if not any(_matches(name, key) for name in names):
                raise unknown_name("layer", str(key), names)
        best = (max((k for k in scale if _matches(name, k)), key=len, default=None) for name in names)
        return tuple(1.0 if key is None else _number(scale[key]) for key in best)
    several = _items(scale)
    if several is None:
        return (_number(scale),) * len(names)
    if len(several) != len(names):
        raise InvalidInputError(f"need {len(names)} scales, one per layer, got {len(several)}")
    return tuple(map(_number, several))


def frame_scales(frames: Iterable[float]) -> tuple[float, ...]:
    """One factor per frame, from any container of numbers.

    Raises:
        InvalidInputError: A single number, nothing, or no finite numbers.
    """
    several = _items(frames)
    if several is None:
        raise InvalidInputError(f"frame scales are a sequence with one number per frame, got {frames!r}")
    if not several:
        raise InvalidInputError("frame scales need one number per frame, got none")
    return tuple(map(_number, several))


def _items(value: Any) -> list[Any] | None:
    """The entries of a container (tensors and arrays among them), None for what has none."""
    if isinstance(value, str):
        return None
    try:
        return list(value)
    except TypeError:
        return None


def _number(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInputError(f"style scales must be finite numbers, got {value!r}")
    return number


def _matches(name: str, prefix: Any) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}.")
