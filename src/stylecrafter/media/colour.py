"""Pictures of any mode as RGB over white, in the colours that were meant: 8 bits of sRGB.

A profile is judged by what it does, never by its name: one that changes no colour by more than one level is sRGB, and
the pixels stay as they are. Others are applied with the perceptual intent, as browsers do: it is the one that profiles
with tables are made for, and without tables, as in nearly all of RGB, every intent is the same. The black of print
becomes black, as print programs show it.

Large pictures are converted in bands, so that beside the picture and its result little memory is needed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from stylecrafter.media.colour_profiles import described_profile

logger = logging.getLogger(__name__)

BAND_PIXELS = 2**22
"""As many pixels are converted at a time."""
#: 8-bit levels of sRGB curves differ by so much between profiles that are meant to be sRGB.
_SAME = 1
_GREY = frozenset(("1", "L", "LA", "La", "I", "F"))

Convert = Callable[[Image.Image], Image.Image]


def to_srgb(image: Image.Image, name: str) -> Image.Image:
    """A picture of any mode as RGB; `name` is what messages of the log call it.

    Returns:
        A new picture, or `image` itself where it is RGB and nothing changes.

    Raises:
        ValueError: Grey values that are not numbers.
        OSError: It cannot be decoded.
    """
    image.load()
    if image.mode in ("P", "PA") and image.palette is None:
        image = image.copy()  # Pillow's icons leave the palette with the pixels alone
    # Lab says by itself what its colours are.
    profile = None if image.mode == "LAB" else _profile_of(image, name)
    if _is_deep_grey(image):
        return _deep_grey(image, profile)
    if image.has_transparency_data:
        return _by_bands(image, functools.partial(_over_white, profile=profile))
    if profile is not None:
        return _by_bands(image, profile.apply)
    return image if image.mode == "RGB" else _by_bands(image, lambda band: band.convert("RGB"))


class _Profile:
    """A colour profile that can be applied to pictures of a mode."""

    def __init__(self, data: bytes, mode: str) -> None:
        source = ImageCms.ImageCmsProfile(BytesIO(data))
        space = str(source.profile.xcolor_space).strip()
        if not _fits(space, mode):
            raise ValueError(f"it is for {space or 'unknown'} colours, and the picture is {mode}")
        self._input = {"GRAY": "L", "CMYK": "CMYK"}.get(space, "RGB")
        # Curves of grey would be drawn through 33 points, which is far off in the dark.
        flags = ImageCms.Flags.NOOPTIMIZE if space == "GRAY" else ImageCms.Flags.NONE
        target = ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.PERCEPTUAL
        self._transform = ImageCms.buildTransform(source, target, self._input, "RGB", intent, flags)
        self._levels = self._all_levels() if self._input == "L" else None

    def apply(self, image: Image.Image) -> Image.Image:
        """A picture without transparency as RGB in sRGB."""
        image = image if image.mode == self._input else image.convert(self._input)
        if self._levels is None:
            return self._transformed(image)
        return Image.merge("RGB", [image.point(self._levels[:, part].tolist()) for part in range(3)])

    def levels(self) -> NDArray[np.uint8]:
        """What becomes of the 256 levels of grey: (256, 3)."""
        return self._all_levels() if self._levels is None else self._levels

    def _all_levels(self) -> NDArray[np.uint8]:
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        return np.asarray(self._transformed(ramp.convert(self._input)))[0]

    def _transformed(self, image: Image.Image) -> Image.Image:
        converted = ImageCms.applyTransform(image, self._transform)
        if converted is None:
            raise OSError("the colour transform gave nothing")
        return converted

    def changes_nothing(self) -> bool:
        """Whether it is sRGB, by what becomes of colours all over the cube."""
        if self._input == "CMYK":
            return False
        steps = np.linspace(0, 255, 16).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(1, -1, 3)
        grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
        colours = grey if self._input == "L" else np.concatenate([cube, grey], axis=1)
        there = np.asarray(self.apply(Image.fromarray(colours)), np.int16)
        return int(np.abs(there - colours).max()) <= _SAME


def _profile_of(image: Image.Image, name: str) -> _Profile | None:
    """The profile to apply; None where there is none, it is sRGB, or it cannot be used, which is logged."""
    try:
        data = _profile_data(image.info)
        return _read_profile(data, image.mode) if data else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        _say(f"{name}: its colour profile cannot be used and is left aside: {reason}")
        return None


def _profile_data(info: Mapping[Any, Any]) -> bytes | None:
    embedded = info.get("icc_profile")
    try:
        described = described_profile(info)
    except ValueError:
        if not embedded:
            raise
        described = None
    return described or (bytes(embedded) if embedded else None)


@functools.lru_cache(maxsize=16)
def _read_profile(data: bytes, mode: str) -> _Profile | None:
    profile = _Profile(data, mode)
    return None if profile.changes_nothing() else profile


@functools.lru_cache(maxsize=4096)
def _say(message: str) -> None:
    # Once for a picture: training reads it in every epoch.
    logger.warning(message)


def _fits(space: str, mode: str) -> bool:
    grey = mode in _GREY or mode.startswith("I;")
    if space == "RGB":
        # Grey pixels with a profile for RGB are colours whose three parts are equal.
        return grey or mode in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr", "HSV")
    return (space == "GRAY" and grey) or (space == "CMYK" and mode == "CMYK")


def _is_deep_grey(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _over_white(image: Image.Image, profile: _Profile | None) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    if profile is not None:
        alpha = rgba.getchannel("A")
        rgba = profile.apply(rgba.convert("RGB"))
        rgba.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _deep_grey(image: Image.Image, profile: _Profile | None) -> Image.Image:
    """16-bit, 32-bit and float grey scaled to 8 bits; Pillow's own conversion would cut off at 255."""
    full = _full_scale(image)
    levels = None if profile is None else profile.levels().astype(np.float64)
    key = image.info.get("transparency")

    def convert(band: Image.Image) -> Image.Image:
        values = np.asarray(band, dtype=np.float64)
        scaled = np.clip(values / full, 0.0, 1.0) * 255.0
        if levels is None:
            grey = np.rint(scaled).astype(np.uint8)
            pixels = np.repeat(grey[..., None], 3, axis=2)
        else:
            parts = [np.interp(scaled, np.arange(256.0), levels[:, part]) for part in range(3)]
            pixels = np.rint(np.stack(parts, axis=-1)).astype(np.uint8)
        if isinstance(key, int):
            pixels[values == key] = 255
        return Image.fromarray(pixels)

    return _by_bands(image, convert)


def _full_scale(image: Image.Image) -> float:
    """The grey value that is white: the top of the smallest usual range that holds all values.

    Raises:
        ValueError: Some are not numbers.
    """
    peaks = []
    for box in bands(image.size):
        values = np.asarray(image.crop(box))
        if not np.isfinite(values).all():
            raise ValueError("it holds values that are not numbers")
        peaks.append(float(values.max()))
    peak = max(peaks)
    if image.mode == "F":
        return next((limit for limit in (1.0, 255.0, 65535.0) if peak <= limit), peak)
    return 65535.0 if peak <= 65535.0 else peak


def _by_bands(image: Image.Image, convert: Convert) -> Image.Image:
    """Convert a picture pixel by pixel into RGB, a band at a time where it is large."""
    boxes = bands(image.size)
    if len(boxes) == 1:
        return convert(image)
    result = Image.new("RGB", image.size)
    for box in boxes:
        result.paste(convert(image.crop(box)), box)
    return result


def bands(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of whole rows that cover a picture, each of about `BAND_PIXELS`."""
    width, height = size
    rows = max(1, BAND_PIXELS // width)
    return [(0, top, width, min(height, top + rows)) for top in range(0, height, rows)]
