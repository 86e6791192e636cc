"""What the pipelines return, and frames as the type that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stylecrafter.errors import unknown_name

OUTPUT_TYPES = ("pil", "np", "pt", "latent")


@dataclass
class StyleCrafterPipelineOutput(BaseOutput):
    """The clips.

    Attributes:
        frames: "pil": per clip a list of pictures. "np": float32 (b, f, h, w, 3) in [0, 1]. "pt": float32
            (b, f, 3, h, w) in [0, 1]. "latent": (b, c, f, h / 8, w / 8) for an autoencoder of factor 8.
    """

    frames: list[list[Image.Image]] | NDArray[np.float32] | Tensor


@dataclass
class StyleCrafterImagePipelineOutput(BaseOutput):
    """The pictures.

    Attributes:
        images: "pil": a list of pictures. "np": float32 (b, h, w, 3) in [0, 1]. "pt": float32 (b, 3, h, w) in
            [0, 1]. "latent": (b, c, h / 8, w / 8) for an autoencoder of factor 8.
    """

    images: list[Image.Image] | NDArray[np.float32] | Tensor


def check_output_type(output_type: str) -> str:
    """The type itself.

    Raises:
        UnknownNameError: It is none of `OUTPUT_TYPES`.
    """
    if output_type not in OUTPUT_TYPES:
        raise unknown_name("output type", str(output_type), OUTPUT_TYPES)
    return output_type


def convert_frames(frames: Tensor, output_type: str) -> Any:
    """Frames (b, f, 3, h, w) in [0, 1] as "pil", "np" or "pt"."""
    if output_type == "pt":
        return frames
    array: NDArray[np.float32] = frames.permute(0, 1, 3, 4, 2).float().cpu().numpy()
    if output_type == "np":
        return array
    return [[Image.fromarray(frame) for frame in clip] for clip in (array * 255).round().astype(np.uint8)]
