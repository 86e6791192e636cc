"""How alike two pictures are in style, without training: colour statistics and texture.

The descriptor knows nothing of a generator and nothing of what is shown, so that it can be asked which of several
references a clip was made from. It is coarse: its answer is to be read beside that for real renders.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.info import check_pictures, metric_info

STYLE_FOUND = metric_info("style_found")

HISTOGRAM_LEVELS = 8
OCTAVES = 4
DIRECTIONS = 8
LEAST_SIDE = 2**OCTAVES
#: Numbers of a descriptor by what they tell, in order: colours, energies of octaves, directions.
PARTS = (HISTOGRAM_LEVELS**3, OCTAVES, DIRECTIONS)
#: Of the parts in a distance. Chosen on real renders of the training split, where 94 % of references are found among
#: 20, and 90 % when the renders are softened.
WEIGHTS = (4.0, 1.0, 1.0)


def describe_style(pictures: torch.Tensor) -> torch.Tensor:
    """Colour statistics and texture of pictures.

    The square root of a colour histogram, energy in octave bands of the lightness, and the distribution of gradient
    directions weighted by magnitude. None of it has hard borders: what nobody sees changes none of it.

    Args:
        pictures: (n, 3, h, w) in [0, 1], sides of at least `LEAST_SIDE` pixels.

    Returns:
        (n, sum of `PARTS`), compared by `descriptor_distances`.

    Raises:
        InvalidInputError: Another shape.
    """
    check_pictures(pictures, LEAST_SIDE)
    lightness = pictures.mean(1, keepdim=True)
    colours = torch.stack([_histogram(picture) for picture in pictures])
    return torch.cat([colours, _octave_energies(lightness), _directions(lightness)], 1)


def descriptor_distances(some: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Distances (n, m) between descriptors (n, d) and those of references (m, d); 0 is equal.

    Square root of the weighted mean over `PARTS` of squared distances, each in units of its mean among the references,
    so that at least two of them are needed. Colours are compared as they are (Hellinger), the numbers of the other
    parts in units of their deviation over the references.

    Raises:
        InvalidInputError: Fewer than two references.
    """
    if len(references) < 2:
        raise InvalidInputError(f"{len(references)} reference(s): styles are compared with at least 2")
    total = some.new_zeros(len(some), len(references))
    for i, (mine, theirs) in enumerate(zip(some.split(PARTS, 1), references.split(PARTS, 1), strict=True)):
        scale = theirs.std(0).clamp(min=1e-3) if i else 1.0
        apart = torch.cdist(mine / scale, theirs / scale).square()
        among = torch.pdist(theirs / scale).square().mean().clamp(min=1e-6)
        total += WEIGHTS[i] * apart / among
    return (total / sum(WEIGHTS)).sqrt()


def _histogram(picture: torch.Tensor) -> torch.Tensor:
    """Square root of the share of each colour cell of (3, h, w): (HISTOGRAM_LEVELS ** 3,).

    A pixel counts for the cells around it by how near their centres are: with hard borders a change that nobody sees
    would move flat areas from one cell to the next.
    """
    place = (picture.flatten(1) * HISTOGRAM_LEVELS - 0.5).clamp(0, HISTOGRAM_LEVELS - 1)
    levels = torch.arange(HISTOGRAM_LEVELS, dtype=place.dtype, device=place.device)
    red, green, blue = (1 - (place[..., None] - levels).abs()).clamp(min=0)
    counts = torch.einsum("pr,pg,pb->rgb", red, green, blue)
    return (counts.flatten() / place.shape[1]).sqrt()


def _octave_energies(lightness: torch.Tensor) -> torch.Tensor:
    bands = []
    for _ in range(OCTAVES):
        smaller = F.avg_pool2d(lightness, 2)
        shown = F.interpolate(smaller, size=lightness.shape[2:], mode="bilinear", align_corners=False)
        bands.append((lightness - shown).square().mean((1, 2, 3)).sqrt())
        lightness = smaller
    return torch.stack(bands, 1)


def _directions(lightness: torch.Tensor) -> torch.Tensor:
    """Share of each direction among the gradients, weighted by magnitude: (n, DIRECTIONS).

    A gradient counts for the two directions around it by how near they are; horizontal and vertical ones lie on
    directions, and not between two.
    """
    dx, dy = lightness.diff(dim=3)[:, 0, :-1], lightness.diff(dim=2)[:, 0, :, :-1]
    # Less than one level of 8 bits is no edge, and must not decide where there are no others.
    magnitude = ((dx.square() + dy.square()).sqrt() - 1 / 255).clamp(min=0)
    place = torch.atan2(dy, dx) % torch.pi / torch.pi * DIRECTIONS
    weights = []
    for direction in range(DIRECTIONS):
        apart = (place - direction).abs()
        apart = torch.minimum(apart, DIRECTIONS - apart)
        weights.append((magnitude * (1 - apart).clamp(min=0)).sum((1, 2)))
    total = torch.stack(weights, 1)
    return total / total.sum(1, keepdim=True).clamp(min=1e-6)
