"""Style pictures and their weights, in the forms a caller may give them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.images import PictureLike

StyleImages = PictureLike | Sequence[PictureLike] | Sequence[Sequence[PictureLike]]
StyleWeights = Sequence[float] | Sequence[Sequence[float]]


def group_per_sample(pictures: StyleImages | None, samples: int) -> list[list[PictureLike]]:
    """The references of every sample: one picture or a flat list are shared by all, a nested list is per sample.

    Returns:
        One list per sample, all with at least one picture; an empty list if there are no pictures at all.

    Raises:
        InvalidInputError: Another number of lists than samples, or an empty one among them.
    """
    if pictures is None:
        return []
    if not _is_list(pictures):
        return [[cast(PictureLike, pictures)]] * samples
    given = list(cast(Sequence[Any], pictures))
    if not any(_is_list(entry) for entry in given):
        return [given] * samples if given else []
    groups = check_groups(given)
    if len(groups) != samples:
        raise InvalidInputError(f"got style pictures for {len(groups)} prompts, there are {samples}")
    return groups


def check_groups(groups: Sequence[Any]) -> list[list[PictureLike]]:
    """A list of lists with at least one picture each.

    Raises:
        InvalidInputError: It is something else.
    """
    for i, group in enumerate(groups):
        if not _is_list(group) or len(group) == 0:
            found = "an empty list" if _is_list(group) else type(group).__name__
            raise InvalidInputError(
                f"style pictures {i}: need a list of pictures for every prompt, got {found}"
            )
    return [list(group) for group in groups]


def weights_per_sample(
    weights: StyleWeights | None, groups: Sequence[Sequence[PictureLike]]
) -> list[list[float]] | None:
    """One weight per picture of every sample; a flat list holds for all samples.

    Raises:
        InvalidInputError: A single number, another number of weights than pictures, negative ones, or only zeros.
    """
    if isinstance(weights, (np.ndarray, np.generic, Tensor)):
        weights = cast(StyleWeights, weights.tolist())
    if weights is not None and not isinstance(weights, Iterable):
        raise InvalidInputError(f"style weights are a list with one number per picture, got {weights!r}")
    if weights is None or (not groups and len(weights) == 0):
        return None
    nested = any(isinstance(entry, Sequence) for entry in weights)
    if nested and not all(isinstance(entry, Sequence) for entry in weights):
        raise InvalidInputError(f"style weights must be numbers or lists of numbers, got {weights}")
    rows: list[list[float]] = (
        [list(row) for row in cast(Any, weights)]
        if nested
        else [list(cast(Any, weights))] * max(len(groups), 1)
    )
    if [len(row) for row in rows] != [len(group) for group in groups]:
        raise InvalidInputError(
            f"need one style weight per picture: {[len(group) for group in groups]} pictures, "
            f"{[len(row) for row in rows]} weights"
        )
    for row in rows:
        if not all(isinstance(weight, Real) for weight in row):
            raise InvalidInputError(f"style weights must be numbers, got {row}")
        if not all(math.isfinite(weight) and weight >= 0 for weight in row) or not any(row):
            raise InvalidInputError(f"style weights must be finite, >= 0 and not all 0, got {row}")
    return [[float(weight) for weight in row] for row in rows]


def pack_tokens(
    tokens: Tensor, counts: Sequence[int], weights: Sequence[Sequence[float]] | None
) -> tuple[Tensor, Tensor | None]:
    """The tokens of all pictures as rows of samples, and how much each token counts.

    Args:
        tokens: Image tokens (n, t, w) of all pictures, sample after sample.
        counts: Pictures per sample; they add up to n.
        weights: One weight per picture, or None for equal ones.

    Returns:
        (b, m t, w) with m the largest count, and token weights (b, m t): 0 where a sample has fewer pictures,
        None if every token counts the same.
    """
    n, t, width = tokens.shape
    most = max(counts)
    rows = [row.reshape(-1, width) for row in tokens.split(list(counts))]
    packed = tokens.new_zeros(len(counts), most * t, width)
    token_weights = torch.zeros(len(counts), most * t, device=tokens.device)
    for i, row in enumerate(rows):
        packed[i, : row.shape[0]] = row
        per_picture = torch.tensor([1.0] * counts[i] if weights is None else list(weights[i]))
        token_weights[i, : row.shape[0]] = per_picture.repeat_interleave(t).to(tokens.device)
    # Told by the arguments: tensors may be on another device, or without memory.
    whole = all(count == most for count in counts)
    alike = weights is None or all(weight == 1 for row in weights for weight in row)
    return packed, None if whole and alike else token_weights


def mean_embeds(embeds: Tensor, counts: Sequence[int], weights: Sequence[Sequence[float]] | None) -> Tensor:
    """One embedding (b, w) per sample: the weighted mean of those of its pictures.

    Args:
        embeds: Embeddings (n, w) of all pictures, sample after sample.
        counts: Pictures per sample; they add up to n.
        weights: One weight per picture, or None for equal ones.
    """
    means = []
    for i, rows in enumerate(embeds.split(list(counts))):
        shares = torch.tensor([1.0] * counts[i] if weights is None else list(weights[i])).to(rows)
        # What does not count has no say, not even with numbers that are none.
        counted = shares > 0
        means.append((rows[counted] * (shares[counted] / shares.sum())[:, None]).sum(dim=0))
    return torch.stack(means)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not isinstance(value, (str, np.ndarray))
