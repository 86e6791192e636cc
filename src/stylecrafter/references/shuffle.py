"""A picture whose content is scattered, while colours and textures stay: what StyleMaster's global tokens are read off.

The published code uses ControlNet's content shuffle, at random. Every pixel is taken from a place that two smooth
fields of noise name, one for x and one for y, whose cells are half a picture wide; ours draws the fields from a seed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Where neither a call nor its caller says anything: one picture then has one style, in every call and every batch.
DEFAULT_SEED = 0


def shuffled(pictures: Tensor, seed: int = DEFAULT_SEED) -> Tensor:
    """Square pictures (n, 3, s, s) with their content scattered, all in the same way."""
    side = pictures.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    # Two cells per side, and one more all around for the cubic filter.
    noise = torch.rand(1, 2, 4, 4, generator=generator)
    fields = F.interpolate(noise, size=(2 * side, 2 * side), mode="bicubic", align_corners=False)
    first = side // 2
    fields = fields[0, :, first : first + side, first : first + side]
    low, high = fields.amin(dim=(1, 2), keepdim=True), fields.amax(dim=(1, 2), keepdim=True)
    places = (fields - low) / (high - low).clamp_min(1e-6) * 2 - 1
    grid = places.permute(1, 2, 0).expand(pictures.shape[0], -1, -1, -1)
    return F.grid_sample(pictures, grid.to(pictures), align_corners=True)
