"""Clips whose motion is known."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def texture(seed: int = 0, size: int = 96) -> torch.Tensor:
    """A smooth random picture (3, size, size) in [0, 1]."""
    noise = torch.rand(1, 3, size // 8, size // 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(size, size), mode="bicubic").clamp(0, 1)[0]


def panned(step: int, frames: int = 4) -> torch.Tensor:
    """A window of 64 x 64 that moves to the right over a texture, so that things move to the left."""
    whole = texture()
    return torch.stack([whole[:, 16:80, 8 + step * t : 72 + step * t] for t in range(frames)])
