"""Pictures that steer a style: masks of where it acts, and styles to move away from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylecrafter.errors import InvalidInputError
from stylecrafter.generation.paths import portable_path, readable, user_path
from stylecrafter.generation.record import StyleReference
from stylecrafter.media.documents import shown
from stylecrafter.media.images import Picture, read_picture
from stylecrafter.references.mask_size import check_mask_size

#: Of either kind, for a clip.
MAX_PICTURES = 64


@dataclass(frozen=True)
class Steering:
    """The pictures of a job, read.

    Attributes:
        masks: None, one for the whole style, or one for each style picture.
        negatives: Of the style to move away from.
    """

    masks: tuple[Picture, ...] = ()
    negatives: tuple[Picture, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Where they lie."""
        return [picture.path for picture in (*self.masks, *self.negatives) if picture.path is not None]

    def arguments(self) -> dict[str, Any]:
        """Those of a pipeline's call."""
        return {
            "style_masks": [picture.image for picture in self.masks] or None,
            "negative_style_images": [picture.image for picture in self.negatives] or None,
        }

    def recorded(self, output: str | os.PathLike[str]) -> dict[str, Any]:
        """How the record of an output names them, by its fields."""
        return {
            "style_masks": [_reference(picture, output) for picture in self.masks],
            "negative_styles": [_reference(picture, output) for picture in self.negatives],
        }


def read_steering(
    masks: Sequence[Path], negatives: Sequence[Path], places: Sequence[float | None]
) -> Steering:
    """Read the pictures.

    Args:
        masks: Paths of masks.
        negatives: Paths of pictures.
        places: Of the clip's styles, each with its place in the clip; None where it is for all of it.

    Raises:
        InvalidInputError: As many masks as styles are needed, or one; or too many pictures.
        ImageReadError: A picture that cannot be read.
    """
    styles = len(places)
    if len(masks) > 1 and any(place is not None for place in places):
        raise InvalidInputError(f"styles that follow each other have one style mask, not {len(masks)}.")
    if masks and len(masks) not in (1, styles):
        raise InvalidInputError(
            f"give one style mask for all style pictures, or one for each: {len(masks)} masks for {styles} pictures."
        )
    if masks and not styles:
        raise InvalidInputError("a style mask needs a style picture.")
    for what, paths in (("style masks", masks), ("negative style pictures", negatives)):
        if len(paths) > MAX_PICTURES:
            raise InvalidInputError(f"a clip takes up to {MAX_PICTURES} {what}, not {len(paths):,}.")
    found = [tuple(read_picture(user_path(path)) for path in paths) for paths in (masks, negatives)]
    return Steering(*found)


def check_masks(steering: Steering, size: tuple[int, int]) -> None:
    """Refuse masks of other proportions than the clip, which has `size`, width and height.

    Raises:
        InvalidInputError: One of them; the message names it.
    """
    for picture in steering.masks:
        try:
            check_mask_size(picture.image.size, size)
        except InvalidInputError as error:
            raise InvalidInputError(f"{shown(picture.name)}: {error}") from error


def _reference(picture: Picture, output: str | os.PathLike[str]) -> StyleReference:
    path = None if picture.path is None else portable_path(picture.path, output)
    return StyleReference(name=readable(picture.name), sha256=picture.sha256, path=path)
