"""Small image fields that scenes and styles are painted with; every function is pure and batched.

Shapes: n pictures of h × w pixels. Coordinates are in units of the picture: x grows to the right, y downward,
0 … 1 inside the frame. `column` arguments are (n,) tensors, broadcast over the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from stylecrafter.runtime.devices import constant


def grid(height: int, width: int, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Pixel-centre coordinates: two (1, h, w) tensors, x and y."""
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return x[None, None, :].expand(1, height, width), y[None, :, None].expand(1, height, width)


def rows_by_value(values: torch.Tensor, device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
    """Each value of (n,) CPU indices with its rows on `device`; one copy to the device for all of them."""
    order = torch.argsort(values, stable=True)
    found, counts = torch.unique_consecutive(values[order], return_counts=True)
    yield from zip(found.tolist(), order.to(device).split(counts.tolist()), strict=True)


def column(values: torch.Tensor) -> torch.Tensor:
    """(n,) -> (n, 1, 1), to be broadcast over a picture."""
    return values[:, None, None]


def hash_noise(x: torch.Tensor, y: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """White noise in [0, 1) as a fixed function of integer cell coordinates and a seed per picture: (n, h, w)."""
    value = torch.sin(x * 12.9898 + y * 78.233 + column(seed) * 37.719) * 43758.5453
    return value - value.floor()


def value_noise(x: torch.Tensor, y: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """Smooth noise in [0, 1]: lattice noise with one cell per unit of x and y, interpolated with a smoothstep."""
    x0, y0 = x.floor(), y.floor()
    u, v = x - x0, y - y0
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    top = torch.lerp(hash_noise(x0, y0, seed), hash_noise(x0 + 1, y0, seed), u)
    bottom = torch.lerp(hash_noise(x0, y0 + 1, seed), hash_noise(x0 + 1, y0 + 1, seed), u)
    return torch.lerp(top, bottom, v)


def rotate(x: torch.Tensor, y: torch.Tensor, angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates in axes turned by `angle` radians (n,)."""
    cos, sin = column(angle.cos()), column(angle.sin())
    return x * cos + y * sin, y * cos - x * sin


def length(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Length of the vectors (x, y), in the shape of both together."""
    return (x.square() + y.square()).sqrt()


def smoothstep(low: torch.Tensor | float, high: torch.Tensor | float, value: torch.Tensor) -> torch.Tensor:
    """0 below `low`, 1 above `high`, a cubic ramp between; `low` > `high` turns it round."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def luminance(rgb: torch.Tensor) -> torch.Tensor:
    """Rec. 601 luma of (n, 3, h, w) in [0, 1]: (n, h, w)."""
    return 0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2]


def blur(field: torch.Tensor, radius: int) -> torch.Tensor:
    """Box blur applied twice (a triangle filter) with replicated borders: (n, h, w) -> (n, h, w)."""
    if radius < 1:
        return field
    out = field[:, None]
    for _ in range(2):
        for axis, pads in ((-1, (radius, radius, 0, 0)), (-2, (0, 0, radius, radius))):
            out = _box(F.pad(out, pads, mode="replicate"), 2 * radius + 1, axis)
    return out[:, 0]


def _box(padded: torch.Tensor, width: int, axis: int) -> torch.Tensor:
    """Running means of `width` values along an axis; wide ones from running sums, whose cost is the same for all."""
    if width < 9:
        return F.avg_pool2d(padded, (1, width) if axis == -1 else (width, 1), stride=1)
    sums = F.pad(padded.cumsum(axis), (1, 0) if axis == -1 else (0, 0, 1, 0))
    count = padded.shape[axis] - width + 1
    return (sums.narrow(axis, width, count) - sums.narrow(axis, 0, count)) / width


def edges(field: torch.Tensor) -> torch.Tensor:
    """Gradient magnitude by central differences, in units per 1/64 of the picture: (n, h, w) -> (n, h, w)."""
    padded = F.pad(field[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    dx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    dy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return length(dx, dy) * (field.shape[-1] / 64)


def mix(low: torch.Tensor, high: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Blend colours: `low` and `high` are (n, 3, 1, 1) or (n, 3, h, w), `weight` is (n, h, w) in [0, 1]."""
    return low + (high - low) * weight[:, None]


def colour(values: torch.Tensor) -> torch.Tensor:
    """(n, 3) -> (n, 3, 1, 1)."""
    return values[:, :, None, None]


def hsv_to_rgb(hue: torch.Tensor, saturation: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Hue, saturation and value in [0, 1] (hue wraps), each of shape s, to RGB of shape (*s, 3)."""
    k = (constant((5.0, 3.0, 1.0), hue.device) + (hue[..., None] % 1.0) * 6) % 6
    return value[..., None] * (1 - saturation[..., None] * torch.minimum(k, 4 - k).clamp(0, 1))


TAU = 2 * math.pi
