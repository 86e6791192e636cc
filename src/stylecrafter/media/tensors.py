"""Pictures as PIL has them and as tensors of floats in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from stylecrafter.errors import InvalidInputError


def to_tensor(image: Image.Image) -> torch.Tensor:
    """An RGB picture as (3, h, w) float32 in [0, 1]."""
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous().float().div_(255.0)


def clip_to_tensor(frames: Sequence[Image.Image]) -> torch.Tensor:
    """RGB frames of one size as (f, 3, h, w) float32 in [0, 1].

    Raises:
        InvalidInputError: No frames.
    """
    if not frames:
        raise InvalidInputError("a clip without frames")
    return torch.stack([to_tensor(frame) for frame in frames])


def to_pictures(frames: torch.Tensor) -> list[Image.Image]:
    """(n, 3, h, w) in [0, 1] as n pictures."""
    array = (frames.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in array]
