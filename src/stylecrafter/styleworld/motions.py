"""How the object of a clip moves: position, size and turn over time, as pure functions of time.

A motion maps time u (n, f) in [0, 1] to offsets in units of the picture: x and y of the centre, a factor of the
size, and an angle in radians. A still picture is the motion at u = 0.5, where every motion passes the middle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from stylecrafter.styleworld.fields import TAU


class Pose(NamedTuple):
    """Offsets from the place of the object, each (n, f)."""

    x: torch.Tensor
    y: torch.Tensor
    size: torch.Tensor
    angle: torch.Tensor


def _pose(u: torch.Tensor, **changes: torch.Tensor) -> Pose:
    """The pose of a thing that rests at times u, but for what is named."""
    zero = torch.zeros_like(u)
    return Pose(zero, zero, zero + 1, zero)._replace(**changes)


#: Motion name -> pose over time. The order is the order of indices in a `WorldBatch`.
MOTIONS: dict[str, Callable[[torch.Tensor], Pose]] = {
    "still": lambda u: _pose(u),
    "left": lambda u: _pose(u, x=0.5 * (0.5 - u)),
    "right": lambda u: _pose(u, x=0.5 * (u - 0.5)),
    "up": lambda u: _pose(u, y=0.4 * (0.5 - u)),
    "down": lambda u: _pose(u, y=0.4 * (u - 0.5)),
    "jump": lambda u: _pose(u, y=-0.24 * torch.sin(TAU * u).abs()),
    "spin": lambda u: _pose(u, angle=TAU * (u - 0.5)),
    "grow": lambda u: _pose(u, size=0.6 + 0.8 * u),
    "shrink": lambda u: _pose(u, size=1.4 - 0.8 * u),
    "sway": lambda u: _pose(u, angle=0.5 * torch.sin(2 * TAU * u)),
    "circle": lambda u: _pose(u, x=0.15 * torch.sin(TAU * u), y=-0.15 * (1 + torch.cos(TAU * u))),
}
MOTION_NAMES: tuple[str, ...] = tuple(MOTIONS)


def poses(motion: torch.Tensor, u: torch.Tensor) -> Pose:
    """Poses of a batch: `motion` (n,) indices into `MOTION_NAMES`, `u` (n, f) times in [0, 1]."""
    out = _pose(u)
    for index, move in enumerate(MOTIONS.values()):
        rows = (motion == index)[:, None]
        out = Pose(*(torch.where(rows, new, old) for new, old in zip(move(u), out, strict=True)))
    return out
