"""How much memory a model needs to make a clip, told before it is loaded."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import is_file
from stylecrafter.runtime.memory import available_memory, format_bytes
from stylecrafter.weights.configs import block_channels, read_config
from stylecrafter.weights.headers import read_shapes

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

# Measured peaks, rounded up, in numbers held at once: by the UNet per latent position and base channel, by
# the decoder per pixel and base channel.
_UNET_FACTOR = 260
_DECODER_FACTOR = 10
# By the image encoder per patch of a picture and channel: what a layer computes, and the tokens that are kept.
_ENCODER_FACTOR = 24
# How the pipeline works by default: two of its passes side by side, eight frames decoded at once.
_PASSES, DECODED_FRAMES = 2, 8
#: Python, torch and the libraries themselves.
PROCESS_BYTES = 700 * 2**20
# An estimate this many times over what is free is no matter of rounding.
_HOPELESS = 2.0


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes a run needs at its peak.

    Attributes:
        weights: Of the model, where it computes.
        working: Beside them.
        host: In the machine's memory, where the model computes elsewhere.
    """

    weights: int
    working: int
    host: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.working


def estimate_memory(
    folder: str | os.PathLike[str],
    frames: int,
    width: int,
    height: int,
    itemsize: int = 4,
    *,
    references: int = 0,
    window: int = 0,
) -> MemoryEstimate:
    """A bound for the peak of a clip of the VideoCrafter model in `folder`, from its configs and its weights' headers.
    It is far above the peak and told at once; `pipelines.footprint` counts.

    Args:
        folder: A model folder.
        frames, width, height: The clip, in frames and pixels.
        itemsize: Bytes per number while running (4 for float32, 2 for half precision).
        window: Frames that the UNet sees at once; 0: all.
        references: Style pictures, which the image encoder reads all at once.

    Raises:
        CheckpointError: Configs or weights that are missing or cannot be read.
    """
    root = Path(folder)
    unet, vae = (root / part / "config.json" for part in ("unet", "vae"))
    unet_channels = block_channels(read_config(unet, required=True), unet)[0]
    vae_channels = block_channels(read_config(vae, required=True), vae)
    factor = 2 ** (len(vae_channels) - 1)
    positions = min(frames, window or frames) * math.ceil(width / factor) * math.ceil(height / factor)
    unet_bytes = _PASSES * positions * unet_channels * _UNET_FACTOR * itemsize
    decoded = min(frames, DECODED_FRAMES) * width * height
    decoder_bytes = decoded * vae_channels[0] * _DECODER_FACTOR * itemsize
    pixels = frames * width * height * 3 * 5  # the clip as float and as bytes
    weights = count_model_parameters(root) * itemsize
    encoder_bytes = (
        references * _encoder_numbers(read_config(root / "image_encoder" / "config.json")) * itemsize
    )
    return MemoryEstimate(weights, max(unet_bytes, decoder_bytes, encoder_bytes) + pixels)


def _encoder_numbers(config: dict[str, Any]) -> int:
    """Numbers that an image encoder holds at once for each picture; by default of ViT-H/14."""
    side, patch, channels = (
        value if isinstance(value := config.get(name), int) and value > 0 else usual
        for name, usual in (("image_size", 224), ("patch_size", 14), ("hidden_size", 1280))
    )
    return (math.ceil(side / patch) ** 2 + 1) * channels * _ENCODER_FACTOR


def check_memory(
    estimate: MemoryEstimate, device: torch.device | None = None, remedies: Callable[[], str] = str
) -> None:
    """Warn when a run may not fit, refuse when it cannot.

    Args:
        estimate: What it needs.
        device: Where it runs; None: on the CPU.
        remedies: Asked for flags that take less, with what they take, once they are needed.

    Raises:
        InvalidInputError: It needs more than twice of what is free.
    """
    on_gpu = device is not None and device.type == "cuda"
    where = f" on {device}" if device is not None else ""
    places = [(estimate.total + (0 if on_gpu else PROCESS_BYTES), available_memory(device), where)]
    if estimate.host:
        places.append(
            (estimate.host + PROCESS_BYTES, available_memory(), " on the machine, where weights wait")
        )
    for needed, free, place in places:
        if needed <= free:
            continue
        message = (
            f"this needs about {format_bytes(needed)} of memory and {format_bytes(free)} are free{place}"
        )
        counted = remedies()
        less = f" What takes less, by count: {counted}." if counted else ""
        if needed > _HOPELESS * free:
            raise InvalidInputError(f"{message}: use fewer frames or a smaller size.{less}")
        logger.warning("%s; it may run out.%s", message, less)


def count_parameters(file: str | os.PathLike[str]) -> int:
    """Numbers in a safetensors file, from its header alone.

    Raises:
        CheckpointError: Not a safetensors file.
    """
    return sum(map(math.prod, read_shapes(file).values()))


def count_model_parameters(folder: str | os.PathLike[str]) -> int:
    """Numbers in the weights of a model's parts; of torch files, which say it only when they are read, about so many.

    Raises:
        CheckpointError: A safetensors file that is none.
    """
    root = Path(folder)
    # Hidden ones are no weights: systems leave such beside files on foreign disks.
    files = [file for file in sorted(root.glob("*/[!.]*.safetensors")) if is_file(file)]
    # Loaders take the safetensors where a part has both.
    with_safetensors = {file.parent for file in files}
    others = [f for f in root.glob("*/[!.]*.bin") if f.parent not in with_safetensors and is_file(f)]
    return sum(map(count_parameters, files)) + sum(file.stat().st_size // 4 for file in others)
