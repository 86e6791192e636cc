"""How StyleWorld's objects move, for certain: where they are in every frame, and what a flow says of them there.

The flow of painted clips is no good pixel by pixel: strokes stay where they are while the object goes by below them, so
that two renders of one motion in two styles correlate by 0.54. The mean over the object and over its ground, whose
places the world knows, correlates by 0.81 (docs/results/video_to_video.md).
"""

from __future__ import annotations

import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.motion import correlation
from stylecrafter.styleworld.motions import poses
from stylecrafter.styleworld.world import WHOLE_MOTION, WorldBatch

#: Part of an object's half size that is its own in every drawing.
_SURELY_OBJECT = 0.9


def object_places(batch: WorldBatch, size: int, num_frames: int) -> torch.Tensor:
    """Where the object is: bool (n, f, size, size), a disc about its middle in every frame.

    Raises:
        InvalidInputError: A row whose camera moves.
    """
    if bool(batch.camera.any()):
        raise InvalidInputError("places of objects are known under a fixed camera only")
    times = torch.linspace(*WHOLE_MOTION, num_frames)[None].expand(len(batch), -1)
    pose = poses(batch.motion, times)
    x, y = batch.place[:, :1] + pose.x, batch.place[:, 1:2] + pose.y
    radius = batch.place[:, 2:] * pose.size / 2 * _SURELY_OBJECT
    at = (torch.arange(size) + 0.5) / size
    dy, dx = at[:, None] - y[..., None, None], at - x[..., None, None]
    return dx.square() + dy.square() < radius[..., None, None].square()


def region_flow(flow: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Mean motion of the object and of its ground, (f - 1, 4): x and y of the one, then of the other.

    Args:
        flow: (f - 1, 2, h, w), from `metrics.flow`.
        places: (f, h, w), from `object_places`.
    """
    means = []
    for region in (places[:-1], ~places[:-1]):
        inside = region.to(flow)[:, None]
        means.append((flow * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1))
    return torch.cat(means, 1)


def motion_kept(one: torch.Tensor, other: torch.Tensor, places: torch.Tensor) -> float | None:
    """Correlation of the motion of object and ground in two clips, told by their flows; None where one is still.

    Args:
        one: Flow (f - 1, 2, h, w) of the one clip.
        other: Of the other.
        places: (f, h, w), of the content that both show.
    """
    return correlation(region_flow(one, places), region_flow(other, places))
