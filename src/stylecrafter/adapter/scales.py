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


def grouped_scales(scale: Scale | str, names: Sequence[str]) -> tuple[float, ...]:
    """As `layer_scales`, for a mapping that may name groups of layers too (`layer_groups`), or its text.

    Raises:
        InvalidInputError: No finite numbers, not one per layer, or a text that cannot be read.
        UnknownNameError: A name that no layer or group has.
    """
    given = parse_scales(scale) if isinstance(scale, str) else scale
    if not isinstance(given, Mapping):
        return layer_scales(given, names)
    groups = layer_groups(names)
    prefixes: dict[str, float] = {}
    for key, value in given.items():
        if key not in groups and not any(_matches(name, key) for name in names):
            raise unknown_name("group of layers or layer", str(key), (*groups, *names))
        prefixes |= dict.fromkeys(groups.get(key, (key,)), value)
    return layer_scales(prefixes, names)


def parse_scales(text: str) -> dict[str, float]:
    """ "down=0.5,up=1" as a mapping.

    Raises:
        InvalidInputError: Something else, or a name twice.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not sign or not math.isfinite(number) or name in found:
            raise InvalidInputError(
                f"style scales of layers are NAME=NUMBER, each name once, such as down=0.5,mid=1,up=1, not {text!r}"
            )
        found[name] = number
    return found


def layer_groups(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Words for parts of a model -> prefixes of its layers: "all"; "down", "mid" and "up" of a UNet; of what has one
    row of numbered blocks, a transformer, its thirds "early", "middle" and "late"."""
    groups: dict[str, tuple[str, ...]] = {"all": ("",)}
    first = dict.fromkeys(name.split(".")[0] for name in names)
    for word, prefix in (("down", "down_blocks"), ("mid", "mid_block"), ("up", "up_blocks")):
        if prefix in first:
            groups[word] = (prefix,)
    if list(first) == ["blocks"]:
        blocks = list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))
        ends = [round(len(blocks) * k / 3) for k in range(4)]
        for word, start, end in zip(("early", "middle", "late"), ends, ends[1:], strict=False):
            groups |= {word: tuple(blocks[start:end])} if end > start else {}
    return groups


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
