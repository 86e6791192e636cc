"""How a clip behaves over time: is it the same thing from frame to frame, does it flicker, does it move at all?

A still clip would win with both of the former, so that it has no score of them, and both are read beside `dynamics`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from stylecrafter.evaluation.metrics.flow import FLOW_NAME, Flow, check_clip, optical_flow, warp
from stylecrafter.evaluation.metrics.info import metric_info

#: Mean absolute difference of consecutive frames under which a clip stands still: what a codec leaves of equal frames.
STILL = 1 / 255 / 4


WARPING_ERROR, FLICKER, DYNAMICS = (
    metric_info(name, FLOW_NAME) for name in ("warping_error", "flicker", "dynamics")
)


class TemporalScores(NamedTuple):
    """`warping_error`, `flicker`: lower is better, None where nothing moves. `dynamics`: 0 where nothing moves."""

    warping_error: float | None
    flicker: float | None
    dynamics: float


def warping_error(
    frames: torch.Tensor, flow: Flow = optical_flow, forward: torch.Tensor | None = None
) -> float:
    """Root mean squared difference between frames and their successors brought back by the flow.

    After Lai et al. 2018 ("Learning Blind Video Temporal Consistency"); the paper reports it x 10^-3 with RAFT. Pixels
    that leave the frame, and those whose motion there and back differs (occlusions: Sundaram et al. 2010, eq. 5), do
    not count. A clip where nothing remains counts as 0.

    Args:
        frames: (f, 3, h, w) in [0, 1].
        flow: Finds the motion.
        forward: (f - 1, 2, h, w), what it found from frame to successor, where that is known already.

    Returns:
        In [0, 1]; lower is better, 0 for a still clip. Scores of different flows do not compare.
    """
    check_clip(frames)
    forward = flow(frames) if forward is None else forward
    backward = flow(frames.flip(0)).flip(0)
    warped, inside = warp(frames[1:], forward)
    returned, _ = warp(backward, forward)
    difference = (forward + returned).square().sum(1)
    magnitude = forward.square().sum(1) + returned.square().sum(1)
    counted = inside & (difference <= 0.01 * magnitude + 0.5)
    if not bool(counted.any()):
        return 0.0
    return float((warped - frames[:-1]).square().mean(1)[counted].mean().sqrt())


def flicker(frames: torch.Tensor, cells: int = 4) -> float:
    """How much the mean colour of large cells jumps from frame to frame and back, in [0, 1]; lower is better.

    The mean absolute second difference over time of the mean colour of `cells` x `cells` cells, halved: steady
    change (a fade, a slow pan) counts nothing. A linear ramp of brightness has 0, a clip that alternates between black
    and white has 1.

    Raises:
        InvalidInputError: Fewer than three frames.
    """
    check_clip(frames, least=3)
    means = F.adaptive_avg_pool2d(frames, cells)
    return float((means[2:] - 2 * means[1:-1] + means[:-2]).abs().mean() / 2)


def dynamics(frames: torch.Tensor, flow: Flow = optical_flow, forward: torch.Tensor | None = None) -> float:
    """Motion of the faster twentieth of the pixels, in widths of the picture per frame; 0 for a still clip."""
    check_clip(frames)
    forward = flow(frames) if forward is None else forward
    speed = forward.square().sum(1).sqrt().flatten(1)
    return float(speed.quantile(0.95, dim=1).mean() / frames.shape[-1])


def stands_still(frames: torch.Tensor) -> bool:
    """Whether nothing changes from frame to frame (f, 3, h, w), but for what a codec leaves (`STILL`)."""
    return float(frames.diff(dim=0).abs().mean()) < STILL


def temporal_scores(frames: torch.Tensor, flow: Flow = optical_flow) -> TemporalScores:
    """All of them of one clip (f, 3, h, w) in [0, 1] of at least three frames.

    A clip that stands still has no warping error and no flicker: it would win with them, and has shown nothing.
    """
    if stands_still(frames):
        return TemporalScores(None, None, 0.0)
    forward = flow(frames)
    return TemporalScores(
        warping_error(frames, flow, forward), flicker(frames), dynamics(frames, flow, forward)
    )
