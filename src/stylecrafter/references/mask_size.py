"""Whether a mask has the shape of a clip. Importing this loads no torch."""

from __future__ import annotations

from stylecrafter.errors import InvalidInputError

#: A mask's sides may be in another proportion than the clip's by so much.
PROPORTION = 0.02


def check_mask_size(mask: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuse a mask that would have to be stretched; both are (width, height).

    Raises:
        InvalidInputError: Its sides are in another proportion than the clip's.
    """
    (w, h), (width, height) = mask, size
    if abs(w * height - h * width) > PROPORTION * h * width:
        raise InvalidInputError(
            f"a style mask of {w}x{h} does not fit a clip of {width}x{height}: it must have the same proportions, "
            f"such as {width}x{height}"
        )
