"""What a score is: where it comes from, between what it lies, and which way is better."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import torch

from stylecrafter.errors import InvalidInputError

Direction = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class MetricInfo:
    """One score of a clip.

    Attributes:
        name: Key in json and in tables of data.
        title: As a reader sees it.
        better: Which way is better; "neither" where the score only helps to read others.
        lowest: Least value, None for no bound.
        highest: Greatest value, None for no bound.
        source: Where it was published, or that it is ours.
        note: What it cannot tell.
    """

    name: str
    title: str
    better: Direction
    lowest: float | None
    highest: float | None
    source: str
    note: str = ""


_TABLE = tomllib.loads((resources.files(__package__) / "infos.toml").read_text("utf-8"))


def metric_info(name: str, measured_by: str = "") -> MetricInfo:
    """What the metric of that name is, as `infos.toml` has it.

    Args:
        name: Of the metric.
        measured_by: Encoder or optical flow, which the sources of some metrics name.
    """
    entry = _TABLE[name]
    return MetricInfo(
        name,
        entry["title"],
        entry["better"],
        entry.get("lowest"),
        entry.get("highest"),
        entry["source"].format(by=measured_by),
        entry.get("note", ""),
    )


def check_pictures(pictures: torch.Tensor, least_side: int = 1) -> None:
    """Refuse what are no pictures (n, 3, h, w) with sides of at least so many pixels.

    Raises:
        InvalidInputError: With the shape.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[2:]) < least_side:
        raise InvalidInputError(
            f"pictures of shape {tuple(pictures.shape)}; (n, 3, h, w) with sides of at least {least_side} is needed"
        )


@dataclass(frozen=True)
class MeasuredClip:
    """A clip with what it was made from.

    Attributes:
        index: Position of its entry in the test set.
        name: Name of its entry.
        prompt: What it should show.
        frames: (f, 3, h, w) in [0, 1].
        references: Which of the test set's pictures its style should be; positions, at least one.
    """

    index: int
    name: str
    prompt: str
    frames: torch.Tensor
    references: tuple[int, ...]
