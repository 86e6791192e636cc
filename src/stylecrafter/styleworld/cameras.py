"""How the camera of a clip moves: shift and scale of the picture's coordinates over time.

A camera maps time u (n, f) in [0, 1] to the point of the scene it looks at (offsets x and y from the middle, in units
of the picture) and to the width of what it sees, 1 being the still picture. At u = 0.5 every camera is the fixed one,
so a still picture looks the same whatever the camera does in the clip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch


class View(NamedTuple):
    """What the camera sees, each (n, f): offsets of the centre, and the width relative to the still picture."""

    x: torch.Tensor
    y: torch.Tensor
    width: torch.Tensor

    def scene_coordinates(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixel coordinates (1, h, w) as coordinates of the scene, for views (k,): two (k, h, w) tensors."""
        width = self.width[:, None, None]
        return (
            0.5 + self.x[:, None, None] + (x - 0.5) * width,
            0.5 + self.y[:, None, None] + (y - 0.5) * width,
        )


PAN, TILT, ZOOM = 0.4, 0.3, 1.7


def _view(u: torch.Tensor, **changes: torch.Tensor) -> View:
    """The fixed camera's view at times u, but for what is named."""
    zero = torch.zeros_like(u)
    return View(zero, zero, zero + 1)._replace(**changes)


#: Camera name -> view over time. The order is the order of indices in a `WorldBatch`; "fixed" does not move.
CAMERAS: dict[str, Callable[[torch.Tensor], View]] = {
    "fixed": lambda u: _view(u),
    "pan left": lambda u: _view(u, x=PAN * (0.5 - u)),
    "pan right": lambda u: _view(u, x=PAN * (u - 0.5)),
    "tilt up": lambda u: _view(u, y=TILT * (0.5 - u)),
    "tilt down": lambda u: _view(u, y=TILT * (u - 0.5)),
    "zoom in": lambda u: _view(u, width=ZOOM ** (0.5 - u)),
    "zoom out": lambda u: _view(u, width=ZOOM ** (u - 0.5)),
}
CAMERA_NAMES: tuple[str, ...] = tuple(CAMERAS)

#: What an object may do under a moving camera: motions in place, which a turn of the camera cannot be taken for.
MOTIONS_UNDER_CAMERA = ("still", "jump", "spin", "sway")


def views(camera: torch.Tensor, u: torch.Tensor) -> View:
    """Views of a batch: `camera` (n,) indices into `CAMERA_NAMES`, `u` (n, f) times in [0, 1]."""
    out = _view(u)
    for index, move in enumerate(CAMERAS.values()):
        rows = (camera == index)[:, None]
        out = View(*(torch.where(rows, new, old) for new, old in zip(move(u), out, strict=True)))
    return out
