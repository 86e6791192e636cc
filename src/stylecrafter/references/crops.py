"""What is cut out of a style picture: its middle, its corners, or a random large crop.

Published (the training code): the picture's short side becomes 800, and a random 512 x 512 of it is the reference of
training; in sampling the short side becomes 512 and the middle 512 x 512 is read. Here 512 is any size.
"""

from __future__ import annotations

import torch
from PIL import Image

from stylecrafter.errors import InvalidInputError

STYLE_SHORT_SIDE = 800 / 512
"""Short side of the picture that a style crop is cut from, in sides of the crop."""
LONGEST_STRIP = 64
"""Long sides in short sides; of a longer picture the middle is used."""


def cover(image: Image.Image, height: int, width: int) -> Image.Image:
    """The picture resized so that it just covers height x width, its shape kept (antialiased, bicubic; our choice).

    Raises:
        InvalidInputError: A side below 1.
    """
    if height < 1 or width < 1:
        raise InvalidInputError(f"height and width must be at least 1, got {height} and {width}.")
    scale = max(height / image.height, width / image.width)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def style_crop(image: Image.Image, size: int, generator: torch.Generator) -> Image.Image:
    """A random size x size of the picture whose short side was brought to 800/512 of it (the published augmentation).

    Two numbers are drawn from the generator, whatever the picture's size.
    """
    resized = _at_style_size(image, size)
    across, down = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    left, top = int(across * (resized.width - size + 1)), int(down * (resized.height - size + 1))
    return resized.crop((left, top, left + size, top + size))


def corner_crops(image: Image.Image, size: int) -> list[Image.Image]:
    """The four outermost of the crops that `style_crop` draws from: top left, top right, bottom left, bottom right."""
    resized = _at_style_size(image, size)
    right, bottom = resized.width - size, resized.height - size
    return [resized.crop((left, top, left + size, top + size)) for top in (0, bottom) for left in (0, right)]


def with_corners(image: Image.Image, size: int) -> list[Image.Image]:
    """A style picture and its four corners, in which the encoder sees strokes and textures 800/512 times as large.

    Returns:
        The picture as it is, then four pictures of `size` pixels on either side.
    """
    return [image, *corner_crops(image, size)]


def middle_of_strip(image: Image.Image) -> Image.Image:
    """The middle of a picture that is more than `LONGEST_STRIP` times as long as wide; others as they are.

    Bringing the short side of a strip to size would take gigabytes for the rest.
    """
    width, height = image.size
    limit = LONGEST_STRIP * min(width, height)
    if max(width, height) <= limit:
        return image
    left, top = max(0, (width - limit) // 2), max(0, (height - limit) // 2)
    return image.crop((left, top, left + min(width, limit), top + min(height, limit)))


def _at_style_size(image: Image.Image, size: int) -> Image.Image:
    """The picture as style crops size x size are cut from it."""
    side = round(size * STYLE_SHORT_SIDE)
    return cover(middle_of_strip(image), side, side)
