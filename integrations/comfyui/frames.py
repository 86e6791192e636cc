"""ComfyUI's images, float tensors (frames, height, width, channels) of 0 to 1, to files and back without loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .command import StyleCrafterError


def save_pictures(images: torch.Tensor, folder: Path, name: str) -> list[Path]:
    """A batch as one png each."""
    paths = []
    for number, picture in enumerate(_pictures(images), start=1):
        paths.append(folder / f"{name}-{number}.png")
        picture.save(paths[-1])
    return paths


def save_clip(images: torch.Tensor, path: Path, fps: float) -> None:
    """A batch as the frames of a lossless .webp."""
    pictures = [picture.convert("RGB") for picture in _pictures(images)]
    ends = [round(1000 * (number + 1) / fps) for number in range(len(pictures))]
    durations = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, lossless=True)


def read_clip(path: Path, frames: int, fps: float) -> torch.Tensor:
    """The frames of a file as (frames, height, width, 3).

    Args:
        frames: How many there are, where the file holds a single one.
        fps: Frames per second. A file keeps a run of equal frames as one that is shown for longer.
    """
    try:
        with Image.open(path) as file:
            stored, durations = [], []
            for number in range(getattr(file, "n_frames", 1)):
                file.seek(number)
                stored.append(np.asarray(file.convert("RGB")))
                durations.append(float(file.info.get("duration", 0)))
    except OSError as error:
        raise StyleCrafterError(f"{path} cannot be read: {error}") from error
    ends = np.cumsum(durations)
    if len(stored) > 1:
        frames = round(ends[-1] * fps / 1000)
    middles = 1000 * (np.arange(frames) + 0.5) / fps
    shown = np.minimum(np.searchsorted(ends, middles, side="right"), len(stored) - 1)
    return torch.from_numpy(np.stack(stored)[shown].astype(np.float32) / 255)


def _pictures(images: torch.Tensor) -> list[Image.Image]:
    if images.ndim != 4 or images.shape[0] == 0 or images.shape[-1] not in (3, 4):
        shape = tuple(images.shape)
        raise StyleCrafterError(f"images must be (count, height, width, 3 or 4 channels), not {shape}.")
    values = images.detach().cpu().float().clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    return [Image.fromarray(value) for value in values]
