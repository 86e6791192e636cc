"""A clip to begin with: its latents, noisy as at a step of the sampler (SDEdit).

SDEdit (Meng et al. 2021, section 3) adds noise to what is given and samples on from there: much noise leaves the rough
layout, little leaves everything. `denoise` is the part of the steps that are taken, the last ones, which is what
diffusers calls `strength`; the noise is that of the first of them, by the sampler's own levels.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stylecrafter.backbones.protocol import Backbone
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.source_clips import choose_part, fitted, open_clip, read_part, size_within
from stylecrafter.media.tensors import clip_to_tensor, to_pictures
from stylecrafter.media.video import to_arrays
from stylecrafter.pipelines.sampling_params import DEFAULT_DENOISE
from stylecrafter.pipelines.windows import padded_frames
from stylecrafter.weights.footprint import DECODED_FRAMES

#: What a pipeline takes as a clip: a file, or frames of one size, as pictures, arrays (f, h, w, 3) or tensors
#: (f, 3, h, w) in [0, 1].
VideoLike = str | os.PathLike[str] | Sequence[Image.Image] | NDArray[np.generic] | Tensor


@dataclass(frozen=True)
class SourceVideo:
    """A clip that was given.

    Attributes:
        size: Width and height in pixels.
        count: Frames.
        read: Its frames as upright RGB pictures, brought to a size.
    """

    size: tuple[int, int]
    count: int
    read: Callable[[tuple[int, int]], Sequence[Image.Image]]

    @classmethod
    def of(cls, video: VideoLike, most: int | None) -> SourceVideo:
        """The first `most` frames of what was given, None: all of them. A file is read when its frames are.

        Raises:
            InvalidInputError: It is no clip, or has fewer frames.
            ImageReadError: A file that cannot be read.
        """
        if isinstance(video, (str, os.PathLike)):
            clip = open_clip(video)
            part = choose_part(clip, frames=most)
            return cls((clip.width, clip.height), len(part.numbers), lambda size: read_part(clip, part, size))
        frames = _pictures(video)
        if most is not None and len(frames) < most:
            raise InvalidInputError(f"the video has {len(frames)} frames, {most} were asked for")
        frames = frames[:most]
        return cls(frames[0].size, len(frames), lambda size: [fitted(frame, size) for frame in frames])

    def defaults(self, config: Mapping[str, Any], multiple: int) -> dict[str, Any]:
        """What a call takes where it does not say: `config` are the model's own values."""
        budget = config["default_width"] * config["default_height"]
        width, height = size_within(self.size, budget, multiple)
        return {
            "default_denoise": DEFAULT_DENOISE,
            "default_window": config["default_frames"],
            "default_frames": self.count,
            "default_width": width,
            "default_height": height,
        }


def first_step(timesteps: int, order: int, denoise: float) -> int:
    """Where in a sampler's timesteps to begin; their number where no step is to be taken.

    Args:
        timesteps: How many there are.
        order: Timesteps that a step takes (`scheduler.order`); the last step takes one.
        denoise: Part of the steps to take, in [0, 1]: rounded up, so that what is above 0 is at least one.
    """
    steps = math.ceil(timesteps / order)
    # Less a little, so that 0.7 of 10 steps are 7.
    taken = math.ceil(denoise * steps - 1e-6)
    return min((steps - taken) * order, timesteps)


def noisy_latents(scheduler: Any, clean: Tensor, noise: Tensor, start: int) -> Tensor:
    """Latents (b, c, f, h, w) as noisy as the sampler expects them at its timestep of that number.

    The sampler is set to begin there. All samplers of diffusers have `add_noise`, those of flow matching `scale_noise`.
    """
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    times = scheduler.timesteps[start : start + 1].expand(len(clean))
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(clean, times, noise)
    return scheduler.add_noise(clean, noise, times)


@torch.no_grad()
def encode_video(backbone: Backbone, frames: Sequence[Image.Image], device: torch.device) -> Tensor:
    """Latents (1, c, f, h, w) of frames of the clip's size; the autoencoder's mean.

    Where frames share latents, the last one is repeated until they fill the last of them.
    """
    filled = [*frames, *[frames[-1]] * (padded_frames(backbone, len(frames)) - len(frames))]
    # Frames that share latents are for the autoencoder itself to divide.
    chunk = DECODED_FRAMES if backbone.frames_per_latent == 1 else len(filled)
    parts = (filled[k : k + chunk] for k in range(0, len(filled), chunk))
    return torch.cat([backbone.encode_frames(clip_to_tensor(part)[None].to(device)) for part in parts], dim=2)


def _pictures(video: Any) -> tuple[Image.Image, ...]:
    if isinstance(video, Tensor):
        if video.ndim != 4 or video.shape[1] != 3 or not video.is_floating_point() or not len(video):
            raise InvalidInputError(
                f"a video tensor must be frames (f, 3, h, w) in [0, 1], got {tuple(video.shape)} of {video.dtype}"
            )
        if not bool(video.isfinite().all()):
            raise InvalidInputError("the video holds values that are not numbers")
        _check_range(float(video.min()), float(video.max()))
        return tuple(to_pictures(video))
    if isinstance(video, np.ndarray):
        if video.size and np.issubdtype(video.dtype, np.floating):
            _check_range(float(video.min()), float(video.max()))
        return tuple(Image.fromarray(array) for array in to_arrays(video))
    frames = tuple(video) if isinstance(video, (list, tuple)) else ()
    if not frames or not all(isinstance(frame, Image.Image) for frame in frames):
        raise InvalidInputError(
            "a video is a file, or frames: PIL pictures, an array (f, h, w, 3) or a tensor (f, 3, h, w), "
            f"got {'an empty list' if video in ([], ()) else type(video).__name__}"
        )
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        raise InvalidInputError(f"all frames of a video must have one size, got {sorted(sizes)}")
    return tuple(frame if frame.mode == "RGB" else frame.convert("RGB") for frame in frames)


def _check_range(least: float, most: float) -> None:
    """Refuse frames in [-1, 1] or [0, 255], of which clipping would leave another clip."""
    if least < 0 or most > 1:
        raise InvalidInputError(
            f"a video of floats must lie in [0, 1], this one has values from {least:g} to {most:g}"
        )
