"""Photographic scenes: views into panoramas of real places, for a camera that may turn and zoom.

The panoramas are CC0 (see `atlas/LICENSES.md`), 512 × 256 pixels, prepared by `scripts/build_panoramas.py`. A view of
75 degrees is about 107 of their pixels wide, so pictures of 128 pixels are a little soft.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F

from stylecrafter.styleworld.fields import column

PANORAMA_WIDTH, PANORAMA_HEIGHT = 512, 256
#: Columns repeated on either side, so that a view may cross the seam.
_SEAM = 8
#: Horizontal field of view in degrees: the narrowest and the widest before the camera zooms.
FIELD_OF_VIEW = (62.0, 84.0)


@dataclass(frozen=True, kw_only=True)
class Panorama:
    """A place: its scene name, the file it comes from, and the directions in which it looks like its name.

    `centre` and `spread` are in turns: a view looks towards `centre` ± `spread`, 0 being the left border of the
    panorama. `pitch` is in degrees, upwards; it keeps the horizon where objects can stand below it.
    """

    name: str
    source: str
    centre: float = 0.5
    spread: float = 0.5
    pitch: float = 0.0


#: Named by what is to be seen: the file names of some mislead. The order is that of the atlas and of the scenes.
PANORAMAS: tuple[Panorama, ...] = (
    Panorama(name="apartment", source="apartment", centre=0.6, spread=0.3),
    Panorama(name="skywalk", source="bridge"),
    Panorama(name="city square", source="city", centre=0.6, spread=0.15, pitch=6),
    Panorama(name="rocky hills", source="dawn", centre=0.5, spread=0.3, pitch=4),
    Panorama(name="mall", source="esplanade"),
    Panorama(name="pine forest", source="forest"),
    Panorama(name="ballroom", source="hall"),
    Panorama(name="machine room", source="lab"),
    Panorama(name="lobby", source="lobby"),
    Panorama(name="night field", source="night", pitch=8),
    Panorama(name="lawn", source="park", pitch=3),
    Panorama(name="clouds", source="sky", pitch=6),
    Panorama(name="photo studio", source="studio"),
    Panorama(name="sunrise", source="sunrise", centre=0.5, spread=0.12, pitch=5),
    Panorama(name="old square", source="sunset", centre=0.22, spread=0.17, pitch=6),
    Panorama(name="waterfront", source="venice", centre=0.66, spread=0.17),
    Panorama(name="warehouse", source="warehouse"),
    Panorama(name="workshop", source="workshop"),
)


@functools.cache
def load_panoramas() -> torch.Tensor:
    """All panoramas: (18, 3, 256, 512) float32 in [0, 1]."""
    from PIL import Image

    with resources.as_file(resources.files("stylecrafter.styleworld") / "atlas" / "panoramas.webp") as path:
        stack = np.asarray(Image.open(path).convert("RGB"))
    pictures = stack.reshape(len(PANORAMAS), PANORAMA_HEIGHT, PANORAMA_WIDTH, 3).transpose(0, 3, 1, 2)
    return torch.from_numpy(pictures.copy()).float() / 255


@functools.cache
def _sheet(shrink: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The panoramas below each other, (1, 3, h, w), reduced by `shrink`; and (18, 3) centre, spread, pitch."""
    pictures = F.avg_pool2d(load_panoramas(), shrink) if shrink > 1 else load_panoramas()
    padded = F.pad(pictures, (_SEAM, _SEAM, 0, 0), mode="circular")
    sheet = padded.transpose(0, 1).reshape(1, 3, -1, padded.shape[-1])
    views = torch.tensor([[p.centre, p.spread, math.radians(p.pitch)] for p in PANORAMAS])
    return sheet.to(device), views.to(device)


def draw_photographs(
    panorama: torch.Tensor, x: torch.Tensor, y: torch.Tensor, p: torch.Tensor, size: int
) -> torch.Tensor:
    """Views into panoramas, each through its own camera.

    Args:
        panorama: (n,) indices into `PANORAMAS`, on the device of the others.
        x: (n, h, w) coordinates in units of the still picture; a camera that turns shifts them, one that zooms
            scales them.
        y: (n, h, w), downward.
        p: (n, 4) in [0, 1]: direction, field of view, mirror image or not, a little pitch.
        size: Pixels of the width of a picture, to choose how finely the panoramas are sampled.

    Returns:
        (n, 3, h, w) in [0, 1].
    """
    shrink = max(1, int(PANORAMA_WIDTH * sum(FIELD_OF_VIEW) / 720 / size))
    sheet, views = _sheet(shrink, x.device)
    centre, spread, pitch = views[panorama].unbind(1)
    low, high = FIELD_OF_VIEW
    plane = 2 * torch.tan(torch.deg2rad(low + (high - low) * p[:, 1]) / 2)
    # A shift of the whole picture is a turn of the camera; what is left of the coordinates is the place on the
    # picture plane. So panning bends the lines as a real camera does, and nothing is ever seen at infinity.
    middle_x, middle_y = x.mean((1, 2)) - 0.5, y.mean((1, 2)) - 0.5
    flip = torch.where(p[:, 2] < 0.5, -1.0, 1.0)
    forward = torch.ones_like(x)
    right = (x - column(middle_x + 0.5)) * column(plane * flip)
    down = (y - column(middle_y + 0.5)) * column(plane)
    tilt = pitch + torch.deg2rad(6 * (p[:, 3] - 0.5)) - middle_y * plane
    cos, sin = column(tilt.cos()), column(tilt.sin())
    ahead, below = forward * cos + down * sin, down * cos - forward * sin
    longitude = torch.atan2(right, ahead) / math.tau
    latitude = torch.atan2(below, (right.square() + ahead.square()).sqrt()) / math.pi
    turn = centre + (p[:, 0] * 2 - 1) * spread + flip * middle_x * plane / math.tau
    u = (longitude + column(turn)) % 1.0
    width = PANORAMA_WIDTH // shrink
    column_of = (u * width + _SEAM) / (width + 2 * _SEAM)
    row_of = ((latitude + 0.5).clamp(0.02, 0.98) + column(panorama.to(x.dtype))) / len(PANORAMAS)
    n, h, w = x.shape
    where = torch.stack([column_of, row_of], -1).reshape(1, n * h, w, 2) * 2 - 1
    drawn = F.grid_sample(sheet, where, padding_mode="border", align_corners=False)
    return drawn.reshape(3, n, h, w).transpose(0, 1)
