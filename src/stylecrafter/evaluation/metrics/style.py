"""How alike two pictures are in style, without training: colour statistics and texture.

The descriptor knows nothing of a generator and nothing of what is shown, so that it can be asked which of several
references a clip was made from. It is coarse: `found_among` is to be read beside its answer for real renders.
"""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.info import MetricInfo

STYLE_FOUND = MetricInfo(
    "style_found",
    "own reference nearest",
    "higher",
    0.0,
    1.0,
    "ours: colour statistics and texture, untrained",
    "chance is 1 / references; real renders do not reach 1",
)

COLOUR_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HISTOGRAM_LEVELS = 3
OCTAVES = 4
DIRECTIONS = 8
LEAST_SIDE = 2**OCTAVES


def describe_style(pictures: torch.Tensor) -> torch.Tensor:
    """Colour statistics and texture of pictures.

    Mean, deviation and quantiles of three opponent colour channels, the square root of a coarse colour histogram,
    energy in octave bands of the lightness, and the distribution of gradient directions weighted by magnitude.

    Args:
        pictures: (n, 3, h, w) in [0, 1], sides of at least `LEAST_SIDE` pixels.

    Returns:
        (n, 60): numbers of the order of 1, compared by `style_distances`.

    Raises:
        InvalidInputError: Another shape.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[2:]) < LEAST_SIDE:
        raise InvalidInputError(
            f"cannot describe the style of a tensor of shape {tuple(pictures.shape)}: "
            f"(n, 3, h, w) with sides of at least {LEAST_SIDE} is needed"
        )
    opponent = _opponent(pictures)
    flat = opponent.flatten(2)
    levels = flat.new_tensor(COLOUR_QUANTILES)
    colour = [flat.mean(2), flat.std(2), flat.quantile(levels, dim=2).permute(1, 2, 0).flatten(1)]
    lightness = opponent[:, :1]
    return torch.cat(
        [*colour, _histogram(pictures), _octave_energies(lightness) * 3, _directions(lightness)], 1
    )


def style_distances(clips: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Distances (n, m) between the styles of clips (n, f, 3, h, w) and references (m, 3, h', w'), all in [0, 1].

    Descriptors of a clip's frames are averaged; see `descriptor_distances`.

    Raises:
        InvalidInputError: Fewer than two references, or pictures that cannot be described.
    """
    of_clips = torch.stack([describe_style(clip).mean(0) for clip in clips])
    return descriptor_distances(of_clips, describe_style(references))


def descriptor_distances(some: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Distances (n, m) between descriptors (n, d) and those of references (m, d); 0 is equal.

    Every number is weighed by its deviation over the references, so that at least two of them are needed.

    Raises:
        InvalidInputError: Fewer than two references.
    """
    if len(references) < 2:
        raise InvalidInputError(f"{len(references)} reference(s): styles are compared with at least 2")
    scale = references.std(0).clamp(min=1e-3)
    return torch.cdist(some / scale, references / scale)


def found_among(distances: torch.Tensor, own: torch.Tensor, choices: int, seed: int) -> torch.Tensor:
    """Whether a clip is nearer to its own reference than to `choices - 1` others: bool (n,).

    Args:
        distances: (n, m), as `style_distances` gives them.
        own: (n,) index of each clip's reference.
        choices: How many references there are to choose from, the own one included; chance is 1 / choices.
        seed: Which others are drawn where m > choices.

    Raises:
        InvalidInputError: More choices than references.
    """
    count = distances.shape[1]
    if not 2 <= choices <= count:
        raise InvalidInputError(
            f"cannot choose among {choices} of {count} references; 2 to {count} are possible"
        )
    rng = random.Random(seed)
    found = []
    for row, mine in zip(distances, own.tolist(), strict=True):
        others = rng.sample([j for j in range(count) if j != mine], choices - 1)
        found.append(bool((row[mine] < row[others]).all()))
    return torch.tensor(found)


def _opponent(pictures: torch.Tensor) -> torch.Tensor:
    red, green, blue = pictures.unbind(1)
    return torch.stack([(red + green + blue) / 3, (red - green) / 2, (red + green) / 4 - blue / 2], 1)


def _histogram(pictures: torch.Tensor) -> torch.Tensor:
    cells = (pictures.clamp(0, 0.999) * HISTOGRAM_LEVELS).floor().long()
    index = (cells[:, 0] * HISTOGRAM_LEVELS + cells[:, 1]) * HISTOGRAM_LEVELS + cells[:, 2]
    return F.one_hot(index.flatten(1), HISTOGRAM_LEVELS**3).float().mean(1).sqrt()


def _octave_energies(lightness: torch.Tensor) -> torch.Tensor:
    bands = []
    for _ in range(OCTAVES):
        smaller = F.avg_pool2d(lightness, 2)
        shown = F.interpolate(smaller, size=lightness.shape[2:], mode="bilinear", align_corners=False)
        bands.append((lightness - shown).square().mean((1, 2, 3)).sqrt())
        lightness = smaller
    return torch.stack(bands, 1)


def _directions(lightness: torch.Tensor) -> torch.Tensor:
    dx, dy = lightness.diff(dim=3)[:, 0, :-1], lightness.diff(dim=2)[:, 0, :, :-1]
    magnitude = (dx.square() + dy.square()).sqrt()
    bins = (torch.atan2(dy, dx) % torch.pi / torch.pi * DIRECTIONS).long().clamp(max=DIRECTIONS - 1)
    weights = torch.stack([(magnitude * (bins == b)).sum((1, 2)) for b in range(DIRECTIONS)], 1)
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-6)
