"""From a style picture to what the image encoder sees, step by step as in the published code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from stylecrafter.data.transforms import corner_crops, cut_strip
from stylecrafter.errors import InvalidInputError


def crop_square(picture: Image.Image, size: int) -> Tensor:
    """Shorter side to `size` (bilinear), square from the centre: (3, size, size) in [-1, 1]."""
    picture = cut_strip(picture).convert("RGB")
    width, height = picture.size
    if min(width, height) != size:
        # The longer side is cut to whole pixels, not rounded.
        wide = width >= height
        target = (size * width // height, size) if wide else (size, size * height // width)
        picture = picture.resize(target, Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in picture.size)
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32)
    return torch.from_numpy(pixels / 255 * 2 - 1).permute(2, 0, 1)


def with_corners(picture: Image.Image, reference_size: int) -> list[Image.Image]:
    """A style picture and its four corners, in which the encoder sees strokes and textures 800/512 times as large.

    Corners are cut as the adapter's references in training (`data.transforms.corner_crops`).

    Returns:
        The picture as it is, then four pictures of `reference_size` pixels on either side.
    """
    return [picture, *corner_crops(picture, reference_size)]


def normalise_for_clip(pictures: Tensor) -> Tensor:
    """Take CLIP's mean and standard deviation per channel out of (n, 3, h, w) in [0, 1]."""
    mean = pictures.new_tensor(OPENAI_CLIP_MEAN)[:, None, None]
    std = pictures.new_tensor(OPENAI_CLIP_STD)[:, None, None]
    return (pictures - mean) / std


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


def preprocess_style_images(pictures: Sequence[Image.Image], reference_size: int, image_size: int) -> Tensor:
    """Style pictures to the image encoder's input (published `style_inference.py` and CLIP embedder).

    Args:
        pictures: n pictures of any size and mode.
        reference_size: Side of the square that is cut out first (published: 512).
        image_size: Side that the encoder reads (ViT-H/14: 224).

    Returns:
        (n, 3, image_size, image_size) float32, normalised with CLIP's mean and deviation.

    Raises:
        InvalidInputError: No pictures, or something that is none.
    """
    for picture in pictures:
        if not isinstance(picture, Image.Image):
            raise InvalidInputError(
                f"a style picture must be a PIL image, got {type(picture).__name__}; "
                "stylecrafter.media.images.load_picture reads files and arrays"
            )
    if not pictures:
        raise InvalidInputError("need at least one style picture, got none")
    squares = torch.stack([crop_square(picture, reference_size) for picture in pictures])
    return normalise_for_clip((resize_with_blur(squares, image_size) + 1) / 2)
