"""How far apart the palettes of two pictures are, wherever in the picture their colours stand."""

from __future__ import annotations

import torch

from stylecrafter.evaluation.metrics.info import check_pictures, metric_info

PALETTE_DISTANCE = metric_info("palette_distance")
PALETTE_NEARER = metric_info("palette_nearer")

#: Linear sRGB to CIE XYZ (IEC 61966-2-1), each row divided by the white point D65.
_RGB_TO_XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
QUANTILES = 256


def to_lab(colours: torch.Tensor) -> torch.Tensor:
    """sRGB (..., 3) in [0, 1] to CIE Lab (..., 3) under D65: L in [0, 100], a and b in about [-110, 110]."""
    linear = torch.where(colours <= 0.04045, colours / 12.92, ((colours.clamp(min=0) + 0.055) / 1.055) ** 2.4)
    xyz = linear @ linear.new_tensor(_RGB_TO_XYZ).T
    delta = 6 / 29
    f = torch.where(xyz > delta**3, xyz.clamp(min=1e-9) ** (1 / 3), xyz / (3 * delta**2) + 4 / 29)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def palette_distance(
    pictures: torch.Tensor, others: torch.Tensor, *, directions: int = 64, seed: int = 0
) -> torch.Tensor:
    """Sliced Wasserstein-1 distance between the colours of pictures, in Lab units (ΔE of CIE 1976).

    Colours are projected on random directions of Lab, and on each the mean distance between their quantiles is taken
    (Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing"). For two flat pictures it is
    the length of their difference times E|cos|, which is 1/2 in three dimensions.

    Args:
        pictures: (n, 3, h, w) in [0, 1].
        others: (m, 3, h', w') in [0, 1]; sizes may differ.
        directions: How many directions are drawn.
        seed: Which.

    Returns:
        (n, m), at least 0; smaller is nearer.

    Raises:
        InvalidInputError: Other shapes.
    """
    drawn = {"directions": directions, "seed": seed}
    return quantile_distance(colour_quantiles(pictures, **drawn), colour_quantiles(others, **drawn))


def colour_quantiles(pictures: torch.Tensor, *, directions: int = 64, seed: int = 0) -> torch.Tensor:
    """Quantiles of the Lab colours of pictures along random directions: (n, directions · QUANTILES).

    What `palette_distance` compares; worth keeping for pictures that are compared many times.

    Args:
        pictures: (n, 3, h, w) in [0, 1].
        directions: How many directions are drawn.
        seed: Which.

    Raises:
        InvalidInputError: Another shape.
    """
    check_pictures(pictures)
    drawn = torch.randn(3, directions, generator=torch.Generator().manual_seed(seed))
    drawn = (drawn / drawn.norm(dim=0)).to(pictures)
    colours = to_lab(pictures.flatten(2).transpose(1, 2)) @ drawn
    middles = (torch.arange(QUANTILES, dtype=colours.dtype, device=colours.device) + 0.5) / QUANTILES
    ordered = colours.sort(dim=1).values
    index = (middles * ordered.shape[1]).long().clamp(max=ordered.shape[1] - 1)
    return ordered[:, index].flatten(1)


def quantile_distance(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """`palette_distance` (n, m) of `colour_quantiles` (n, k) and (m, k)."""
    return torch.cdist(some, others, p=1) / some.shape[1]
