"""Pictures of any kind a user may have, read as plain RGB."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import warnings
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from stylecrafter.errors import ImageReadError

MAX_PIXELS = 100_000_000
"""Pictures with more pixels are refused before they are decoded: style needs a few hundred pixels a side."""

PictureLike = str | os.PathLike[str] | Image.Image | NDArray[np.generic]


@dataclass(frozen=True)
class Picture:
    """A picture and where it came from.

    Attributes:
        image: RGB, upright, first frame, over white.
        sha256: Hash of the file's bytes, or of size and pixels where there is no file.
        name: File name without folders, empty where there is no file.
        path: The file as given, None where there is none.
    """

    image: Image.Image = field(repr=False)
    sha256: str
    name: str = ""
    path: Path | None = None


def load_picture(source: PictureLike) -> Image.Image:
    """Read a picture as RGB.

    EXIF rotation is applied, transparency is laid over white, of an animation the first frame is taken, CMYK
    and wide-gamut pictures are brought to sRGB by their colour profile, 16 bits are scaled (not cut) to 8.

    Args:
        source: A path, a PIL picture, or an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) that is uint8,
            uint16, bool, or float in [0, 1].

    Raises:
        ImageReadError: Missing, not a picture, damaged, or more than `MAX_PIXELS` pixels.
    """
    return read_picture(source).image


def read_picture(source: PictureLike) -> Picture:
    """As `load_picture`, with the hash and the name kept beside the pixels."""
    if isinstance(source, Image.Image):
        image = _to_rgb(source, "the picture")
        return Picture(image, _pixel_hash(image))
    if isinstance(source, np.ndarray):
        image = _to_rgb(_from_array(source), "the array")
        return Picture(image, _pixel_hash(image))
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source))
    raise ImageReadError(f"a picture is a path, a PIL image or a numpy array, not {type(source).__name__}.")


def decode_picture(data: bytes, name: str) -> Image.Image:
    """As `load_picture`, of a file's bytes; `name` is what errors call it.

    Raises:
        ImageReadError: Not a picture, damaged, or more than `MAX_PIXELS` pixels.
    """
    return _decode(BytesIO(data), name)


def file_hash(path: str | os.PathLike[str]) -> str:
    """sha256 of a file's bytes: what `Picture.sha256` is for a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_file(path: Path) -> Picture:
    try:
        # Before opening: a pipe would wait for ever, a device may never end.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageReadError(f"{path} is a folder, not a picture.")
        if not stat.S_ISREG(mode):
            raise ImageReadError(f"{path} is not a plain file.")
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            return Picture(_decode(file, path), sha256, path.name, path)
    except FileNotFoundError as error:
        raise ImageReadError(f"{path}: no such picture.") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ImageReadError):
            raise
        raise ImageReadError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error


def _decode(file: IO[bytes], path: Path | str) -> Image.Image:
    head = file.read(1024)
    file.seek(0)
    if not head:
        raise ImageReadError(f"{path} is empty (0 bytes).")
    try:
        with warnings.catch_warnings():
            # Pillow warns below this module's limit and raises above it: the limit here is what counts.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file)
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        raise _too_large(
            str(path), f"{int(count.group()):,} pixels" if count else "too many pixels"
        ) from error
    except Exception as error:
        # Decoders answer damaged headers with nearly every exception there is.
        if b"<svg" in head.lower():
            raise ImageReadError(f"{path} is an SVG drawing; export it as PNG or JPEG first.") from error
        raise ImageReadError(
            f"{path} is not a picture in a known format (PNG, JPEG, WebP, GIF, TIFF, …), "
            "or its beginning is damaged."
        ) from error
    return _to_rgb(image, str(path))


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageReadError(f"{name} has no pixels ({width}x{height}).")
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"{width}x{height} pixels")
    try:
        image = ImageOps.exif_transpose(image)  # a copy in any case: a caller's picture stays as it is
        image = _to_eight_bits(image)
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        return _to_srgb(image).convert("RGB")
    except MemoryError as error:
        raise ImageReadError(f"{name} ({width}x{height}) does not fit into memory.") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageReadError(f"{name} is damaged or cannot be decoded: {reason.rstrip('.')}.") from error


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and float grey to 8 bits; Pillow's own conversion would cut off at 255."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not numbers")
    peak = float(values.max())
    if image.mode == "F":
        full = next((limit for limit in (1.0, 255.0, 65535.0) if peak <= limit), peak)
    else:
        full = 65535.0 if peak <= 65535.0 else peak
    return Image.fromarray(np.rint(np.clip(values / full, 0.0, 1.0) * 255.0).astype(np.uint8))


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK"):
        return image
    # A profile that cannot be used is no reason to refuse the picture: the plain conversion follows.
    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        return converted or image
    return image


def _from_array(array: NDArray[np.generic]) -> Image.Image:
    values = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)) or 0 in values.shape:
        raise ImageReadError(
            f"an array of shape {array.shape} is not a picture: (h, w), (h, w, 3) or (h, w, 4)."
        )
    if values.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(values))
    if values.dtype == np.uint16:
        scaled = values.astype(np.float64) / 65535.0
    elif values.dtype == np.bool_ or np.issubdtype(values.dtype, np.floating):
        scaled = values.astype(np.float64)
    else:
        raise ImageReadError(
            f"an array of {array.dtype} is not a picture: uint8, uint16, bool, or float in [0, 1]."
        )
    if not np.isfinite(scaled).all() or scaled.min() < 0.0 or scaled.max() > 1.0:
        raise ImageReadError("a float array must lie in [0, 1].")
    return Image.fromarray(np.rint(scaled * 255.0).astype(np.uint8))


def _pixel_hash(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.width}x{image.height}:".encode() + image.tobytes()).hexdigest()


def _too_large(name: str, size: str) -> ImageReadError:
    return ImageReadError(
        f"{name} is too large: {size}; the limit is {MAX_PIXELS:,} pixels. Make a smaller copy and use that."
    )
