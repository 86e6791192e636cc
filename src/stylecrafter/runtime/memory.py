"""How much memory a run needs, before it starts, and how much there is."""

from __future__ import annotations

import json
import logging
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylecrafter.errors import CheckpointError, InvalidInputError

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
_PASSES, _DECODED_FRAMES = 2, 8
# Python, torch and the libraries themselves.
_PROCESS_BYTES = 700 * 2**20
# An estimate this many times over what is free is no matter of rounding.
_HOPELESS = 2.0


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes a run needs at its peak."""

    weights: int
    working: int

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
) -> MemoryEstimate:
    """Estimate the peak for one clip of the model in `folder`, from its configs and its weights' headers.

    Args:
        folder: A model folder.
        frames, width, height: The clip, in frames and pixels.
        itemsize: Bytes per number while running (4 for float32, 2 for half precision).
        references: Style pictures, which the image encoder reads all at once.
    """
    root = Path(folder)
    unet = read_config(root / "unet" / "config.json")
    vae = read_config(root / "vae" / "config.json")
    unet_channels = (unet.get("block_out_channels") or [320])[0]
    vae_channels = vae.get("block_out_channels") or [128] * 4
    factor = 2 ** (len(vae_channels) - 1)
    positions = frames * math.ceil(width / factor) * math.ceil(height / factor)
    unet_bytes = _PASSES * positions * unet_channels * _UNET_FACTOR * itemsize
    decoded = min(frames, _DECODED_FRAMES) * width * height
    decoder_bytes = decoded * vae_channels[0] * _DECODER_FACTOR * itemsize
    pixels = frames * width * height * 3 * 5  # the clip as float and as bytes
    weights = sum(count_parameters(file) for file in sorted(root.rglob("*.safetensors"))) * itemsize
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


def available_memory(device: torch.device | None = None) -> int:
    """Free bytes of a device; for the CPU of the machine, within the limit of a container."""
    if device is not None and device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    free = [value for value in (_meminfo("MemAvailable"), _cgroup_free()) if value is not None]
    if free:
        return min(free)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**63 - 1


def check_memory(estimate: MemoryEstimate, device: torch.device | None = None) -> None:
    """Warn when a run may not fit, refuse when it cannot.

    Raises:
        InvalidInputError: It needs more than twice of what is free.
    """
    needed = estimate.total + (0 if device is not None and device.type == "cuda" else _PROCESS_BYTES)
    free = available_memory(device)
    where = f" on {device}" if device is not None else ""
    message = f"this needs about {format_bytes(needed)} of memory and {format_bytes(free)} are free{where}"
    if needed > _HOPELESS * free:
        raise InvalidInputError(f"{message}: use fewer frames or a smaller size.")
    if needed > free:
        logger.warning("%s; it may run out.", message)


def count_parameters(file: str | os.PathLike[str]) -> int:
    """Numbers in a safetensors file, from its header alone.

    Raises:
        CheckpointError: Not a safetensors file.
    """
    try:
        with open(file, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > os.fstat(stream.fileno()).st_size:
                raise ValueError("header longer than the file")
            header = json.loads(stream.read(length))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise CheckpointError(f"{os.fspath(file)} is not a complete safetensors file ({error}).") from error


def read_config(file: Path) -> dict[str, Any]:
    """A json object from a file, empty where there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def format_bytes(count: float) -> str:
    """1536 MiB -> "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _meminfo(key: str) -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def _cgroup_free() -> int | None:
    """What a container's memory limit leaves, where there is one."""
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
        return None if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None
