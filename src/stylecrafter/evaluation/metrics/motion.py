"""Do two clips move alike?"""

from __future__ import annotations

import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.flow import Flow, check_clip, optical_flow


def flow_correlation(one: torch.Tensor, other: torch.Tensor, flow: Flow = optical_flow) -> float | None:
    """Pearson's correlation of the optical flow of two clips, over all pixels, pairs of frames and both directions.

    Args:
        one: (f, 3, h, w) in [0, 1].
        other: Likewise, of the same shape.
        flow: Finds the motion.

    Returns:
        In [-1, 1]; 1 where everything moves alike up to a factor. None where one of them has no motion at all.

    Raises:
        InvalidInputError: Shapes that differ, or fewer than two frames.
    """
    for clip in (one, other):
        check_clip(clip)
    if one.shape != other.shape:
        raise InvalidInputError(f"clips of {tuple(one.shape)} and {tuple(other.shape)} cannot be compared")
    return correlation(flow(one), flow(other))


def correlation(one: torch.Tensor, other: torch.Tensor) -> float | None:
    """Pearson's correlation of all numbers of two tensors of one shape; None where one of them is constant."""
    a, b = (values.double().flatten() - values.double().mean() for values in (one, other))
    size = a.norm() * b.norm()
    return float(a @ b / size) if size > 0 else None
