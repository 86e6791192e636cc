"""Optical flow without weights (TV-L1), for all pairs of neighbouring frames at once, and warping by a flow.

TV-L1 (Zach, Pock and Bischof 2007, "A Duality Based Approach for Realtime TV-L1 Optical Flow") looks for the flow u
with the least

    lambda |I1(x + u) - I0(x)| + |grad u|,

from coarse to fine: the next frame is linearised around the flow so far (rho), and two steps alternate, the one for the
difference of the frames, pointwise, and the one for the smoothness of the flow, by its dual p:

    v = u - clamp(rho / |grad I1|^2, -lambda theta, lambda theta) grad I1
    u = v + theta div p,   p <- (p + tau / theta grad u) / (1 + tau / theta |grad u|)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from stylecrafter.errors import InvalidInputError

#: Frames (f, 3, h, w) in [0, 1] to the motion between consecutive ones, as `optical_flow` gives it.
Flow = Callable[[torch.Tensor], torch.Tensor]
#: The flow where no other is given; named wherever a score of it is shown.
FLOW_NAME = "TV-L1"

#: lambda, for lightness in [0, 1], theta and tau; all numbers here are those of scikit-image's `optical_flow_tvl1`.
ATTACHMENT, TIGHTNESS, DUAL_STEP = 15.0, 0.3, 0.25
#: Per level: how often the next frame is linearised anew, rounds of the two steps, and dual steps in a round.
WARPS, ROUNDS, DUAL_STEPS = 5, 10, 2
#: The coarsest level is the first whose shorter side is not above twice this.
LEAST_SIDE = 16


@torch.no_grad()
def optical_flow(frames: torch.Tensor) -> torch.Tensor:
    """Motion between consecutive frames by TV-L1.

    Every pair is solved by itself, with the same number of steps, so that a pair's flow does not depend on the others.

    Args:
        frames: (f, 3, h, w) in [0, 1], f >= 2, on any device.

    Returns:
        (f - 1, 2, h, w) in pixels, (x, y): the point (x, y) of frame t stands at (x, y) + flow in frame t + 1.

    Raises:
        InvalidInputError: Fewer than two frames, or another shape.
    """
    check_clip(frames)
    levels = [_lightness(frames)]
    while min(levels[-1].shape[-2:]) > 2 * LEAST_SIDE:
        h, w = levels[-1].shape[-2:]
        levels.append(_resized(levels[-1], ((h + 1) // 2, (w + 1) // 2)))
    flow = levels[-1].new_zeros(len(frames) - 1, 2, *levels[-1].shape[-2:])
    for level in reversed(levels):
        (h, w), (old_h, old_w) = level.shape[-2:], flow.shape[-2:]
        if (h, w) != (old_h, old_w):
            flow = _resized(flow, (h, w)) * flow.new_tensor((w / old_w, h / old_h))[:, None, None]
        flow = _solve(level[:-1], level[1:], flow)
    return flow


def warp(frames: torch.Tensor, flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bring the next frames back by the flow.

    Args:
        frames: (n, c, h, w), the frames after.
        flow: (n, 2, h, w) in pixels, as `optical_flow` gives it.

    Returns:
        The warped frames (n, c, h, w), and whether each pixel came from inside the frame, bool (n, h, w).
    """
    h, w = frames.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(h, dtype=flow.dtype, device=flow.device),
        torch.arange(w, dtype=flow.dtype, device=flow.device),
        indexing="ij",
    )
    at_x, at_y = x + flow[:, 0], y + flow[:, 1]
    inside = (at_x >= 0) & (at_x <= w - 1) & (at_y >= 0) & (at_y <= h - 1)
    where = torch.stack([at_x * 2 / max(w - 1, 1) - 1, at_y * 2 / max(h - 1, 1) - 1], -1)
    return F.grid_sample(frames, where, padding_mode="border", align_corners=True), inside


def check_clip(frames: torch.Tensor, least: int = 2) -> None:
    """Refuse what is no clip (f, 3, h, w) of at least so many frames.

    Raises:
        InvalidInputError: With the shape.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.shape[0] < least:
        raise InvalidInputError(
            f"a clip of shape {tuple(frames.shape)}; (f, 3, h, w) with at least {least} frames is needed"
        )


def _solve(before: torch.Tensor, after: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Improve the flow (n, 2, h, w) between pictures (n, 1, h, w) of one level."""
    n, _, h, w = flow.shape
    dual = flow.new_zeros(n, 2, 2, h, w)  # of each component of the flow, along x and y
    rate = DUAL_STEP / TIGHTNESS
    for _ in range(WARPS):
        warped, _ = warp(after, flow)
        slope = torch.cat(torch.gradient(warped, dim=(3, 2)), 1)
        steepness = slope.square().sum(1, keepdim=True)
        steepness = torch.where(steepness > 0, steepness, torch.ones_like(steepness))
        constant = warped - before - (slope * flow).sum(1, keepdim=True)
        for _ in range(ROUNDS):
            residual = constant + (slope * flow).sum(1, keepdim=True)
            limit = ATTACHMENT * TIGHTNESS
            data = flow - (residual / steepness).clamp(-limit, limit) * slope
            flow = data
            for _ in range(DUAL_STEPS):
                rise = _gradient(flow)
                norm = rise.square().sum(2, keepdim=True).sqrt()
                dual = (dual + rate * rise) / (1 + rate * norm)
                flow = data + TIGHTNESS * _divergence(dual)
    return flow


def _gradient(field: torch.Tensor) -> torch.Tensor:
    """Forward differences along x and y, 0 at the far border: (n, 2, h, w) to (n, 2, 2, h, w)."""
    along_x = F.pad(field.diff(dim=3), (0, 1))
    along_y = F.pad(field.diff(dim=2), (0, 0, 0, 1))
    return torch.stack([along_x, along_y], 2)


def _divergence(dual: torch.Tensor) -> torch.Tensor:
    """Minus the adjoint of `_gradient`: backward differences, (n, 2, 2, h, w) to (n, 2, h, w).

    The last column along x, and the last row along y, are 0, as `_gradient` leaves them.
    """
    along_x, along_y = dual.unbind(2)
    return F.pad(along_x, (1, 0)).diff(dim=3) + F.pad(along_y, (0, 0, 1, 0)).diff(dim=2)


def _lightness(frames: torch.Tensor) -> torch.Tensor:
    return torch.einsum("c,fchw->fhw", frames.new_tensor((0.299, 0.587, 0.114)), frames).float()[:, None]


def _resized(pictures: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
