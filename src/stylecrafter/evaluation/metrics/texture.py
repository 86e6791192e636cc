"""How alike two pictures are in texture, whatever they show: Gram matrices of fixed oriented filters.

The statistics are those of Gatys et al. 2015 ("Texture synthesis using convolutional neural networks"): products of
filter responses, averaged over the picture. The filters are fixed ones on an octave pyramid, as in Portilla and
Simoncelli 2000, so that no weights are needed and no generator can have been trained against them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.info import check_pictures, metric_info

TEXTURE_DISTANCE = metric_info("texture_distance")
OCTAVES = 4
ORIENTATIONS = 4
#: Shorter sides have too few pixels left in the coarsest octave.
LEAST_SIDE = 2 ** (OCTAVES - 1) * 8
_RADIUS = 3
_SIGMA = 1.0


def describe_texture(pictures: torch.Tensor) -> torch.Tensor:
    """Roots of the Gram matrices of rectified filter responses of the lightness, one matrix per octave.

    Args:
        pictures: (n, 3, h, w) in [0, 1], sides of at least `LEAST_SIDE` pixels.

    Returns:
        (n, OCTAVES * k (k + 1) / 2) with k = 2 ORIENTATIONS filters (edges and lines); at least 0, and all 0 for a flat
        picture.

    Raises:
        InvalidInputError: Another shape.
    """
    check_pictures(pictures, LEAST_SIDE)
    level = torch.einsum("c,nchw->nhw", pictures.new_tensor((0.299, 0.587, 0.114)), pictures)[:, None]
    filters = oriented_filters().to(pictures)
    upper = torch.triu_indices(len(filters), len(filters))
    described = []
    for _ in range(OCTAVES):
        padded = F.pad(level, (_RADIUS,) * 4, mode="reflect")
        responses = F.conv2d(padded, filters[:, None]).abs().flatten(2)
        gram = responses @ responses.transpose(1, 2) / responses.shape[2]
        described.append(gram[:, upper[0], upper[1]].sqrt())
        level = F.avg_pool2d(level, 2)
    return torch.cat(described, 1)


def texture_distances(pictures: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Distances (n, m) in [0, 1] between textures: |a - b| / (|a| + |b|) of `describe_texture`; 0 is equal.

    Args:
        pictures: (n, 3, h, w) in [0, 1].
        others: (m, 3, h, w) in [0, 1]; of the same size, because what is coarse and fine depends on it.

    Raises:
        InvalidInputError: Other shapes.
    """
    if pictures.shape[2:] != others.shape[2:]:
        raise InvalidInputError(
            f"pictures of {tuple(pictures.shape[2:])} and {tuple(others.shape[2:])} pixels; textures are "
            "compared at one size"
        )
    mine, theirs = describe_texture(pictures), describe_texture(others)
    sizes = mine.norm(dim=1)[:, None] + theirs.norm(dim=1)[None]
    return torch.cdist(mine, theirs) / sizes.clamp(min=1e-8)


def oriented_filters() -> torch.Tensor:
    """First and second derivatives of a Gaussian in `ORIENTATIONS` directions: (2 ORIENTATIONS, 7, 7).

    Every filter sums to 0 and its absolute values sum to 1.
    """
    axis = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    bell = torch.exp(-(x.square() + y.square()) / (2 * _SIGMA**2))
    filters = []
    for k in range(ORIENTATIONS):
        angle = math.pi * k / ORIENTATIONS
        across = x * math.cos(angle) + y * math.sin(angle)
        filters += [across * bell, (across.square() / _SIGMA**2 - 1) * bell]
    stacked = torch.stack(filters)
    stacked = stacked - stacked.mean((1, 2), keepdim=True)
    return (stacked / stacked.abs().sum((1, 2), keepdim=True)).float()
