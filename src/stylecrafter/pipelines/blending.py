"""One style out of several, by their tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError


def blended(styles: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """The weighted mean of style tokens (b, q, d), each of the same shape or of one row.

    Raises:
        InvalidInputError: No styles, shapes that differ, or weights that are not one per style, >= 0 and not all 0.
    """
    shapes = {tuple(style.shape[-2:]) for style in styles}
    if not styles or len(shapes) != 1 or any(style.ndim != 3 for style in styles):
        found = [tuple(style.shape) for style in styles]
        raise InvalidInputError(
            f"a blend needs style tokens (styles, tokens, width) of one shape, got {found}"
        )
    shares = torch.tensor([1.0] * len(styles) if weights is None else [float(w) for w in weights])
    if len(shares) != len(styles) or not bool(shares.isfinite().all() & (shares >= 0).all() & shares.any()):
        raise InvalidInputError(
            f"a blend of {len(styles)} styles needs {len(styles)} weights, finite, >= 0 and not all 0, got {weights}"
        )
    # What does not count has no say in the result either.
    counted = [(style, float(s)) for style, s in zip(styles, shares / shares.sum(), strict=True) if s > 0]
    first, share = counted[0]
    total = first * share
    for style, share in counted[1:]:
        total = total + style * share
    return total
