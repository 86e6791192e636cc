"""Clips of any length by windows that overlap: every step predicts window by window and blends the predictions.

As in MultiDiffusion (Bar-Tal et al. 2023, section 3) and, over time, Gen-L-Video (Wang et al. 2023): all windows of a
step are predicted before the step is taken, and where they overlap, their mean counts, each weighted by how far inside
the window a frame is. The sampler sees one clip, so that there is no seam to mend, and the model never more than one
window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stylecrafter.backbones.protocol import Backbone
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.guided_noise import Guidance, PassArguments, guided_noise

#: Part of a window that it shares with the next, at least.
OVERLAP = 0.25


def plan_windows(frames: int, size: int, overlap: float = OVERLAP) -> tuple[slice, ...]:
    """Windows over so many latent frames: of one size, evenly spaced, each overlapping the next.

    Args:
        frames: Of the whole clip, at least 1.
        size: Of a window; at least `frames`, or 0, is a single window over everything.
        overlap: The least part of a window that the next one shares, in (0, 1).
    """
    if size == 0 or size >= frames:
        return (slice(0, frames),)
    shared = min(math.ceil(size * overlap), size - 1)
    count = max(2, math.ceil((frames - shared) / (size - shared)))
    starts = [round(k * (frames - size) / (count - 1)) for k in range(count)]
    return tuple(slice(start, start + size) for start in starts)


def window_weights(windows: Sequence[slice]) -> list[Tensor]:
    """How much each frame of each window counts; where windows overlap, the weights of a frame add up to 1.

    They rise over what is shared with the window before and fall over what is shared with the one behind.
    """
    ramps = []
    for number, window in enumerate(windows):
        size = window.stop - window.start
        inside = torch.arange(1, size + 1, dtype=torch.float64)
        ramp = torch.ones(size, dtype=torch.float64)
        if number > 0:
            ramp = ramp.minimum(inside / (windows[number - 1].stop - window.start + 1))
        if number + 1 < len(windows):
            ramp = ramp.minimum(inside.flip(0) / (window.stop - windows[number + 1].start + 1))
        ramps.append(ramp)
    total = torch.zeros(windows[-1].stop, dtype=torch.float64)
    for window, ramp in zip(windows, ramps, strict=True):
        total[window] += ramp
    return [(ramp / total[window]).float() for window, ramp in zip(windows, ramps, strict=True)]


def over_windows(
    windows: Sequence[slice], latents: Tensor, predict: Callable[[Tensor, slice], Tensor]
) -> Tensor:
    """What `predict` says of latents (b, c, f, h, w), asked window by window and blended.

    A single window is asked as it is: the result is the prediction itself, to the bit.

    Args:
        windows: From `plan_windows`.
        latents: Of the whole clip.
        predict: Called with the frames of a window and where they are; returns their shape.
    """
    if len(windows) == 1:
        return predict(latents, windows[0])
    blended = torch.zeros_like(latents)
    for window, weight in zip(windows, window_weights(windows), strict=True):
        predicted = predict(latents[:, :, window], window)
        blended[:, :, window] += predicted * weight.to(predicted)[:, None, None]
    return blended


def windowed_noise(
    windows: Sequence[slice],
    pipe: StylizedPipelineBase,
    latents: Tensor,
    timestep: Tensor,
    tensors: Mapping[str, Any],
    arguments: PassArguments,
    style_factors: Tensor | None,
    guidance: Guidance,
) -> Tensor:
    """`guided_noise` of the whole clip, asked by windows; factors (b, f, L) and masks go with their frames."""

    def predict(part: Tensor, window: slice) -> Tensor:
        per_frame = style_factors is not None and style_factors.ndim == 3
        factors = style_factors[:, window] if per_frame and style_factors is not None else style_factors
        tokens = tensors["style_tokens"]
        if tokens is not None and tokens.ndim == 4:
            return guided_noise(
                pipe,
                part,
                timestep,
                {**tensors, "style_tokens": tokens[:, window]},
                arguments.within(window),
                factors,
                guidance,
            )
        return guided_noise(pipe, part, timestep, tensors, arguments.within(window), factors, guidance)

    return over_windows(windows, latents, predict)


def clip_windows(backbone: Backbone, latent_frames: int, window: int) -> tuple[slice, ...]:
    """Windows over a clip of so many latent frames.

    Args:
        backbone: Says how many frames share a latent frame.
        window: Frames of a window, rounded up to what the base model makes; 0: a single window.
    """
    return plan_windows(latent_frames, latent_frames_of(backbone, window) if window else 0)


def latent_frames_of(backbone: Backbone, frames: int) -> int:
    """Latent frames that hold so many frames, at least 1; the last may not be full."""
    return 1 + math.ceil((frames - 1) / backbone.frames_per_latent)


def padded_frames(backbone: Backbone, frames: int) -> int:
    """So many frames, or the next number of them that the base model makes (4 n + 1 for Wan)."""
    return 1 + (latent_frames_of(backbone, frames) - 1) * backbone.frames_per_latent
