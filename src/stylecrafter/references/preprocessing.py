"""The steps from a style picture to what the image encoder sees, each as in the published code."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from stylecrafter.references.crops import middle_of_strip
from stylecrafter.runtime.devices import constant


def crop_square(picture: Image.Image, size: int) -> Tensor:
    """Shorter side to `size` (bilinear), square from the centre: (3, size, size) in [0, 1]."""
    picture = _shorter_side_to(size, picture, Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in picture.size)
    return _cut(picture, left, top, size)


def crop_for_clip(picture: Image.Image, size: int) -> Tensor:
    """The same as CLIP's own image processor cuts it: bicubic, and of two middles the left or upper one."""
    picture = _shorter_side_to(size, picture, Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in picture.size)
    return _cut(picture, left, top, size)


def _shorter_side_to(size: int, picture: Image.Image, resample: Image.Resampling) -> Image.Image:
    picture = middle_of_strip(picture.convert("RGB"))
    width, height = picture.size
    if min(width, height) == size:
        return picture
    # The longer side is cut to whole pixels, not rounded.
    target = (size * width // height, size) if width >= height else (size, size * height // width)
    return picture.resize(target, resample)


def _cut(picture: Image.Image, left: int, top: int, size: int) -> Tensor:
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32)
    return torch.from_numpy(pixels / 255).permute(2, 0, 1)


def normalise_for_clip(pictures: Tensor) -> Tensor:
    """Take CLIP's mean and standard deviation per channel out of (n, 3, h, w) in [0, 1]."""
    mean, std = (
        constant(tuple(values), pictures.device)[:, None, None].to(pictures.dtype)
        for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    )
    return (pictures - mean) / std


def resize_smoothly(pictures: Tensor, size: int) -> Tensor:
    """(n, c, h, w) in [0, 1] -> (n, c, size, size), antialiased and bicubic: what crops of another size than the
    encoder's, as training cuts them, go through."""
    if pictures.shape[-2:] == (size, size):
        return pictures
    return F.interpolate(pictures, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)


def resize_with_blur(pictures: Tensor, size: int) -> Tensor:
    """(n, c, h, w) -> (n, c, size, size): a Gaussian blur against aliasing, then bicubic with aligned corners.

    The blur is there when a side shrinks: per axis sigma = max((side / size - 1) / 2, 0.001), a kernel of
    max(4 sigma, 3) taps, made odd, reflected borders.
    """
    height, width = pictures.shape[-2:]
    factors = (height / size, width / size)
    if max(factors) > 1:
        kernels = []
        for factor in factors:
            sigma = max((factor - 1.0) / 2.0, 0.001)
            taps = int(max(2.0 * 2 * sigma, 3))
            kernels.append(_gaussian(taps + 1 - taps % 2, sigma).to(pictures))
        pictures = _filter(_filter(pictures, kernels[1], axis=3), kernels[0], axis=2)
    if (height, width) == (size, size):
        return pictures
    return F.interpolate(pictures, size=(size, size), mode="bicubic", align_corners=True)


def _gaussian(taps: int, sigma: float) -> Tensor:
    x = torch.arange(taps, dtype=torch.float32) - taps // 2
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    return kernel / kernel.sum()


def _filter(pictures: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """Convolve every channel along one axis (2 or 3), with reflected borders."""
    channels, half = pictures.shape[1], len(kernel) // 2
    pad = (half, half, 0, 0) if axis == 3 else (0, 0, half, half)
    shape = (1, 1, 1, -1) if axis == 3 else (1, 1, -1, 1)
    weight = kernel.view(shape).expand(channels, -1, -1, -1)
    return F.conv2d(F.pad(pictures, pad, mode="reflect"), weight, groups=channels)
