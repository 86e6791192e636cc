"""Masks of where a style acts, in the forms a caller may give them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.images import PictureLike, load_picture
from stylecrafter.references.mask_size import check_mask_size

#: A picture (white is 1); or an array or tensor (h, w), or (frames, h, w), of bool, uint8 or numbers in [0, 1].
MaskLike = PictureLike | Tensor
StyleMasks = MaskLike | Sequence[MaskLike] | Sequence[Sequence[MaskLike]]


def masks_per_sample(masks: StyleMasks, samples: int) -> list[list[MaskLike]]:
    """The masks of every sample: one, or a flat list with one per reference, is shared; a nested list is per sample.

    Raises:
        InvalidInputError: No masks, another number of lists than samples, or lists of different lengths.
    """
    given: list[Any] = list(masks) if isinstance(masks, (list, tuple)) else [masks]
    nested = any(isinstance(entry, (list, tuple)) for entry in given)
    rows = [list(row) if isinstance(row, (list, tuple)) else [row] for row in given] if nested else [given]
    counts = {len(row) for row in rows}
    if counts in (set(), {0}) or len(counts) > 1:
        raise InvalidInputError(
            "style_masks is one mask, a list with one for each style picture, or such lists, one per prompt and all "
            f"of the same length; got {[len(row) for row in rows]} masks"
        )
    if len(rows) not in (1, samples) or (nested and len(rows) != samples):
        raise InvalidInputError(f"got style masks for {len(rows)} prompts, there are {samples}")
    return rows * samples if len(rows) == 1 else rows


def read_mask(mask: MaskLike) -> Tensor:
    """A mask (1 or frames, h, w) of numbers in [0, 1], float32.

    Raises:
        InvalidInputError: No mask, or values outside of [0, 1].
        ImageReadError: A picture that cannot be read.
    """
    if isinstance(mask, (str, os.PathLike, Image.Image)):
        values = torch.from_numpy(np.asarray(load_picture(mask).convert("L"), dtype=np.float32) / 255)
    elif isinstance(mask, (np.ndarray, Tensor)):
        values = _values(torch.as_tensor(mask).detach().cpu())
    else:
        raise InvalidInputError(
            f"a style mask is a picture, an array or a tensor (h, w), got {type(mask).__name__}"
        )
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise InvalidInputError(
            f"a style mask must be (h, w), or (frames, h, w) with one per frame, got {tuple(values.shape)}"
        )
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise InvalidInputError(
            f"a style mask must lie in [0, 1], this one has values from {float(values.min()):g} to "
            f"{float(values.max()):g}"
        )
    return values if values.ndim == 3 else values[None]


def mask_on_latents(
    mask: Tensor, size: tuple[int, int], frames: int, latent: tuple[int, int, int], per_latent: int
) -> Tensor:
    """A mask (1 or frames, h, w), resized by area to the grid of latents: (1 or f, h, w).

    Args:
        mask: From `read_mask`.
        size: Width and height of the clip in pixels.
        frames: Of the clip.
        latent: (f, h, w) of the clip's latents.
        per_latent: Frames that share a latent frame; the first has its own.

    Raises:
        InvalidInputError: Masks for another number of frames, or of other proportions than the clip.
    """
    check_mask_size((mask.shape[2], mask.shape[1]), size)
    if mask.shape[0] not in (1, frames):
        raise InvalidInputError(f"got style masks for {mask.shape[0]} frames, the clip has {frames}")
    if mask.shape[0] > 1 and per_latent > 1:
        groups = [mask[:1], *mask[1:].split(per_latent)]
        mask = torch.cat([group.mean(0, keepdim=True) for group in groups])
    return F.interpolate(mask[None], latent[1:], mode="area")[0]


def _values(mask: Tensor) -> Tensor:
    if mask.dtype == torch.uint8:
        if mask.numel() and int(mask.max()) == 1:
            raise InvalidInputError(
                "a style mask of whole numbers goes from 0 to 255, this one to 1: give it as bool or float"
            )
        return mask.float() / 255
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InvalidInputError(
            f"a style mask must be of bool, uint8 or floating-point numbers, got {mask.dtype}"
        )
    return mask.float()
