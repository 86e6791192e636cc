"""The places of StyleWorld, painted from coordinates.

A painter takes x, y (n, h, w) in units of the picture (the camera may move them outside 0 … 1) and four free
parameters in [0, 1] (n, 4), and returns RGB in [0, 1] (n, 3, h, w). The ground is at the bottom of every scene.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from stylecrafter.runtime.devices import constant
from stylecrafter.styleworld.fields import (
    TAU,
    colour,
    column,
    hash_noise,
    hsv_to_rgb,
    length,
    mix,
    rows_by_value,
    smoothstep,
    value_noise,
)
from stylecrafter.styleworld.photographs import PANORAMAS, draw_photographs

Painter = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _rgb(red: float, green: float, blue: float, like: torch.Tensor) -> torch.Tensor:
    return constant((red, green, blue), like.device)[None, :, None, None]


def _sky(y: torch.Tensor, top: torch.Tensor, bottom: torch.Tensor) -> torch.Tensor:
    return mix(top, bottom, y.clamp(0, 1))


def _ridge(x: torch.Tensor, seed: torch.Tensor, frequency: float) -> torch.Tensor:
    """The height of a hilly skyline over x, in [0, 1]."""
    row = torch.zeros_like(x)
    return 0.7 * value_noise(x * frequency, row, seed) + 0.3 * value_noise(x * frequency * 2.7, row + 5, seed)


def _below(height: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """1 under a line at that height, 0 over it."""
    return smoothstep(height - 0.01, height + 0.01, y)


def _disc(
    x: torch.Tensor, y: torch.Tensor, cx: torch.Tensor, cy: torch.Tensor, radius: float
) -> torch.Tensor:
    distance = length(x - column(cx), y - column(cy))
    return smoothstep(radius + 0.012, radius - 0.012, distance)


def _meadow(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y * 1.6, _rgb(0.36, 0.66, 0.95, x), _rgb(0.82, 0.93, 1.0, x))
    out = mix(out, _rgb(1.0, 0.95, 0.6, x), _disc(x, y, 0.15 + 0.7 * p[:, 1], 0.12 + 0.1 * p[:, 2], 0.08))
    hill = 0.62 - 0.16 * _ridge(x, p[:, 0] * 50, 2.0)
    grass = mix(_rgb(0.45, 0.75, 0.28, x), _rgb(0.25, 0.55, 0.16, x), ((y - 0.5) * 2).clamp(0, 1))
    return mix(out, grass, _below(hill, y))


def _desert(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y * 1.5, _rgb(0.45, 0.7, 0.9, x), _rgb(1.0, 0.92, 0.75, x))
    out = mix(out, _rgb(1.0, 0.98, 0.85, x), _disc(x, y, 0.1 + 0.8 * p[:, 1], 0.16 + 0.05 * p[:, 2], 0.1))
    for step, shade in ((0.0, 0.95), (0.14, 0.84), (0.3, 0.72)):
        dune = 0.55 + step + 0.07 * torch.sin(x * (5 + 4 * step) + column(p[:, 0] * TAU) + step * 20)
        sand = _rgb(0.96 * shade, 0.76 * shade, 0.46 * shade, x)
        out = mix(out, sand, _below(dune, y))
    return out


def _beach(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y * 2.2, _rgb(0.3, 0.62, 0.95, x), _rgb(0.85, 0.95, 1.0, x))
    sea = mix(_rgb(0.1, 0.4, 0.7, x), _rgb(0.2, 0.7, 0.78, x), ((y - 0.42) * 4).clamp(0, 1))
    out = mix(out, sea, smoothstep(0.41, 0.43, y))
    shore = 0.68 + 0.04 * torch.sin(x * 7 + column(p[:, 0] * TAU))
    out = mix(out, _rgb(0.96, 0.98, 1.0, x), smoothstep(shore - 0.04, shore - 0.02, y))
    return mix(out, _rgb(0.95, 0.85, 0.62, x), _below(shore, y))


def _night(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y * 1.2, _rgb(0.03, 0.04, 0.15, x), _rgb(0.13, 0.16, 0.38, x))
    cx, cy = (x * 26).floor(), (y * 26).floor()
    star = (hash_noise(cx, cy, p[:, 0] * 9) > 0.93).float()
    spot = 1 - 2.4 * length((x * 26) % 1 - 0.5, (y * 26) % 1 - 0.5)
    out = mix(out, _rgb(1.0, 1.0, 0.9, x), star * spot.clamp(0, 1))
    out = mix(out, _rgb(0.98, 0.96, 0.78, x), _disc(x, y, 0.15 + 0.7 * p[:, 1], 0.13 + 0.1 * p[:, 2], 0.09))
    hill = 0.74 - 0.1 * _ridge(x, p[:, 0] * 50, 2.5)
    return mix(out, _rgb(0.05, 0.08, 0.12, x), _below(hill, y))


def _city(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y * 1.3, _rgb(0.6, 0.75, 0.9, x), _rgb(0.93, 0.93, 0.9, x))
    for layer, (count, base, shade) in enumerate(((7, 0.3, 0.72), (5, 0.42, 0.5))):
        block = (x * count + layer * 0.4).floor()
        roof = base + 0.28 * hash_noise(block, torch.zeros_like(block) + layer, p[:, 0] * 13)
        tint = hash_noise(block, torch.zeros_like(block) + 7, p[:, 0] * 13) * 0.12
        wall = torch.stack([shade + tint, shade + 0.02 + tint * 0.4, shade + 0.1 - tint], 1)
        lit = (((x * count + layer * 0.4) * 4) % 1 > 0.5) & ((y * 16) % 1 > 0.5)
        wall = mix(wall, _rgb(0.98, 0.9, 0.6, x), lit.float() * 0.55)
        out = mix(out, wall, smoothstep(roof - 0.005, roof + 0.005, y))
    road = mix(_rgb(0.35, 0.35, 0.38, x), _rgb(0.25, 0.25, 0.28, x), ((y - 0.8) * 5).clamp(0, 1))
    return mix(out, road, smoothstep(0.79, 0.81, y))


def _mountains(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y * 1.4, _rgb(0.42, 0.6, 0.88, x), _rgb(0.9, 0.93, 0.98, x))
    zigzag = ((x * 2.2 + column(p[:, 0] * 3)) % 1 - 0.5).abs() * 2
    peak = 0.2 + 0.34 * zigzag + 0.05 * value_noise(x * 14, torch.zeros_like(x), p[:, 1] * 20)
    rock = mix(
        _rgb(0.97, 0.98, 1.0, x), _rgb(0.42, 0.42, 0.52, x), smoothstep(0.08, 0.13, y - peak + 0.03 * zigzag)
    )
    out = mix(out, rock, smoothstep(peak - 0.008, peak + 0.008, y))
    hill = 0.7 - 0.08 * _ridge(x, p[:, 2] * 30, 3.0)
    return mix(out, _rgb(0.3, 0.5, 0.3, x), _below(hill, y))


def _forest(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y, _rgb(0.55, 0.78, 0.62, x), _rgb(0.8, 0.9, 0.7, x))
    for layer, (count, shade, base) in enumerate(((8, 0.55, 0.7), (5, 0.33, 0.8))):
        u = x * count + layer * 0.37
        height = 0.5 + 0.2 * hash_noise(u.floor(), torch.zeros_like(u) + layer, p[:, 0] * 11)
        side = ((u % 1) - 0.5).abs() * 2
        crown = side < ((y - (base - height)) / height).clamp(0, 1)
        tree = _rgb(0.15 + 0.2 * shade, 0.25 + 0.5 * shade, 0.12 + 0.15 * shade, x)
        out = mix(out, tree, (crown & (y < base)).float())
    return mix(out, _rgb(0.32, 0.36, 0.16, x), smoothstep(0.72, 0.76, y))


def _snow(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y * 1.5, _rgb(0.62, 0.72, 0.84, x), _rgb(0.86, 0.9, 0.95, x))
    hill = 0.6 - 0.12 * _ridge(x, p[:, 0] * 40, 2.2)
    ground = mix(_rgb(0.98, 0.99, 1.0, x), _rgb(0.82, 0.88, 0.96, x), ((y - 0.6) * 2.5).clamp(0, 1))
    out = mix(out, ground, _below(hill, y))
    u, v = x * 11, y * 11 + column(p[:, 1] * 7)
    flake = (hash_noise(u.floor(), v.floor(), p[:, 2] * 17) > 0.75).float()
    spot = 1 - 3.2 * length(u % 1 - 0.5, v % 1 - 0.5)
    return mix(out, _rgb(1.0, 1.0, 1.0, x), flake * spot.clamp(0, 1))


def _sea(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y * 2, _rgb(0.5, 0.75, 0.95, x), _rgb(0.92, 0.96, 1.0, x))
    for step in range(4):
        level = 0.45 + 0.14 * step + 0.025 * torch.sin(x * (11 - step) + column(p[:, 0] * TAU) + step * 1.9)
        depth = 1 - 0.16 * step
        out = mix(out, _rgb(0.12 * depth, 0.45 * depth, 0.75 * depth, x), _below(level, y))
    return out


def _sunset(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    out = _sky(y * 1.4, _rgb(0.35, 0.2, 0.5, x), _rgb(1.0, 0.6, 0.25, x))
    out = mix(out, _rgb(1.0, 0.88, 0.45, x), _disc(x, y, 0.25 + 0.5 * p[:, 1], 0.5 + 0.06 * p[:, 2], 0.14))
    hill = 0.68 - 0.08 * _ridge(x, p[:, 0] * 50, 2.5)
    return mix(out, _rgb(0.2, 0.1, 0.18, x), _below(hill, y))


def _space(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    cloud = value_noise(x * 3, y * 3, p[:, 0] * 40)
    tint = colour(hsv_to_rgb(p[:, 1], torch.full_like(p[:, 1], 0.6), torch.full_like(p[:, 1], 0.4)))
    out = mix(_rgb(0.02, 0.02, 0.06, x), tint, smoothstep(0.45, 0.9, cloud))
    cx, cy = (x * 30).floor(), (y * 30).floor()
    out = mix(out, _rgb(1.0, 1.0, 1.0, x), (hash_noise(cx, cy, p[:, 2] * 9) > 0.95).float())
    return mix(out, _rgb(0.75, 0.55, 0.4, x), _disc(x, y, 0.2 + 0.6 * p[:, 3], p[:, 2] * 0.2 + 0.1, 0.1))


def _room(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    wall = colour(hsv_to_rgb(p[:, 0], torch.full_like(p[:, 0], 0.25), torch.full_like(p[:, 0], 0.9)))
    stripe = (((x * 9) % 1) > 0.5).float() * 0.12
    out = mix(wall.expand(-1, -1, *x.shape[1:]), wall * 0.7, stripe)
    frame = ((x - 0.12 - 0.5 * column(p[:, 1])).abs() < 0.13).float() * ((y - 0.25).abs() < 0.14).float()
    out = mix(out, _rgb(0.65, 0.85, 1.0, x), frame)
    board = (((x * 4 + (y * 12).floor() * 0.5) % 1) < 0.06).float()
    floor = mix(_rgb(0.62, 0.42, 0.25, x), _rgb(0.42, 0.27, 0.16, x), board)
    return mix(out, floor, smoothstep(0.7, 0.715, y))


#: Drawn scene -> painter.
SCENES: dict[str, Painter] = {
    "meadow": _meadow,
    "desert": _desert,
    "beach": _beach,
    "night": _night,
    "city": _city,
    "mountains": _mountains,
    "forest": _forest,
    "snow": _snow,
    "sea": _sea,
    "sunset": _sunset,
    "space": _space,
    "room": _room,
}
#: The drawn scenes, then the photographic ones. The order is the order of indices in a `WorldBatch`.
SCENE_NAMES: tuple[str, ...] = (*SCENES, *(panorama.name for panorama in PANORAMAS))


def draw_scenes(
    scene: torch.Tensor, x: torch.Tensor, y: torch.Tensor, p: torch.Tensor, size: int
) -> torch.Tensor:
    """Draw scenes, each seen through its own coordinates.

    Args:
        scene: (n,) indices into `SCENE_NAMES`, on the CPU.
        x: (n, h, w) in units of the picture, on the device to draw on.
        y: (n, h, w).
        p: (n, 4) in [0, 1], on the same device.
        size: Pixels of the width of a picture.

    Returns:
        (n, 3, h, w) in [0, 1].
    """
    out = x.new_empty(x.shape[0], 3, *x.shape[1:])
    drawn, painters = len(SCENES), tuple(SCENES.values())
    photographs = (scene >= drawn).nonzero()[:, 0]
    for index, rows in rows_by_value(scene, x.device):
        if index < drawn:
            out[rows] = painters[index](x[rows], y[rows], p[rows])
    if len(photographs):
        rows = photographs.to(x.device)
        panorama = (scene[photographs] - drawn).to(x.device)
        out[rows] = draw_photographs(panorama, x[rows], y[rows], p[rows], size)
    return out.clamp_(0, 1)
