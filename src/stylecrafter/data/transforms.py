"""From a picture of any size to what is learned from it: the target, and the style reference.

Published (sections 4 and the training code): the target's short side becomes 512 and the middle 512 x 512 is kept; the
reference is the same picture with its short side at 800, of which a random 512 x 512 is kept. Here 512 is any size.
Resizing is antialiased (Pillow, bicubic; the filter is our choice).
"""

from __future__ import annotations

from enum import StrEnum

import torch
from PIL import Image

from stylecrafter.errors import InvalidInputError
from stylecrafter.references.crops import cover, middle_of_strip, style_crop


class References(StrEnum):
    """What a style reference shows of its picture."""

    NONE = "none"
    """There are no references."""
    CROP = "crop"
    """A random large crop, as published: it keeps the style and loses the layout."""
    WHOLE = "whole"
    """The whole picture (the paper's ablation without augmentation)."""


def target_picture(image: Image.Image, height: int, width: int) -> Image.Image:
    """The middle of the picture, as much of it as has the shape height x width, at that size."""
    resized = cover(middle_of_strip(image), height, width)
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))


def reference_picture(
    image: Image.Image, size: int, references: References, generator: torch.Generator
) -> Image.Image:
    """The style reference size x size out of a picture.

    Raises:
        InvalidInputError: `References.NONE`.
    """
    if references is References.CROP:
        return style_crop(image, size, generator)
    if references is References.WHOLE:
        return target_picture(image, size, size)
    raise InvalidInputError("references 'none' make no reference picture.")
