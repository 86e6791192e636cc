"""How much of the reference's content stands in a picture: the same edges, wherever they are, in whatever colour."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stylecrafter.evaluation.metrics.info import check_pictures, metric_info

COPYING = metric_info("copying")
#: Pictures are compared at this height and width.
SIDE = 64
#: Content may have moved by this part of the side.
LARGEST_SHIFT = 0.25


def copying(pictures: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Greatest normalised correlation between the edge maps of pictures and references, (n, m) in [0, 1].

    Edge maps are lengths of gradients less their local mean, so that fine even texture counts little. The reference
    may be shifted by `LARGEST_SHIFT` of the side in each direction, and mirrored; what does not overlap then counts
    as 0. A copy gives 1.

    Args:
        pictures: (n, 3, h, w) in [0, 1].
        references: (m, 3, h', w') in [0, 1]; both are brought to `SIDE` x `SIDE`.

    Raises:
        InvalidInputError: Other shapes.
    """
    check_pictures(pictures)
    check_pictures(references)
    mine, theirs = _edges(pictures), _edges(references)
    return torch.maximum(_correlation(mine, theirs), _correlation(mine, theirs.flip(2))).clamp(0, 1)


def _edges(pictures: torch.Tensor) -> torch.Tensor:
    """Edge maps (n, SIDE, SIDE) of mean 0 and length 1; 0 for flat pictures."""
    small = F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    soft = F.avg_pool2d(F.pad(small, (1,) * 4, mode="replicate"), 3, stride=1)
    light = soft.mean(1, keepdim=True)
    dx = F.pad(light[..., 2:] - light[..., :-2], (1, 1, 0, 0))
    dy = F.pad(light[..., 2:, :] - light[..., :-2, :], (0, 0, 1, 1))
    length = (dx.square() + dy.square()).sqrt()
    around = F.avg_pool2d(F.pad(length, (8,) * 4, mode="reflect"), 17, stride=1)
    edges = (length - around)[:, 0]
    edges = edges - edges.mean((1, 2), keepdim=True)
    norm = edges.flatten(1).norm(dim=1)[:, None, None]
    return torch.where(norm > 1e-4, edges / norm.clamp(min=1e-4), torch.zeros_like(edges))


def _correlation(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Greatest correlation (n, m) over shifts, by the convolution theorem on maps padded to twice their size."""
    size = (2 * SIDE, 2 * SIDE)
    product = torch.fft.rfft2(mine, s=size)[:, None] * torch.fft.rfft2(theirs, s=size).conj()[None]
    shifted = torch.fft.irfft2(product, s=size)
    reach = round(LARGEST_SHIFT * SIDE)
    rows = torch.arange(-reach, reach + 1, device=mine.device) % (2 * SIDE)
    return shifted[:, :, rows][:, :, :, rows].amax((2, 3))
