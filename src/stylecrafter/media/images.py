"""Pictures of any kind a user may have, read as plain RGB."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from stylecrafter.errors import ImageReadError
from stylecrafter.media.colour import BAND_PIXELS, bands, to_srgb
from stylecrafter.media.documents import opened_plain, shown
from stylecrafter.media.opening import open_image
from stylecrafter.media.orientation import loaded_orientation, opened_orientation, upright
from stylecrafter.media.recognise import HEAD_BYTES, recognise

MAX_PIXELS = 100_000_000
"""Pictures with more pixels are refused before they are decoded: style needs a few hundred pixels a side. One with as
many takes up to 2 GB while it is read."""
MAX_SIDE = 65_535
"""Of pixels in a row or column, as many as a JPEG can have: every row costs memory of its own."""
MAX_FILE_BYTES = 2**30
"""Files with more bytes are refused before they are read; uncompressed, `MAX_PIXELS` have half of it."""

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

    EXIF rotation is applied, transparency is laid over white, of an animation the first frame is taken, CMYK and
    wide-gamut pictures are brought to sRGB by their colour profile (see `colour`), 16 bits are scaled (not cut) to 8.
    Metadata that is damaged or huge is no reason to refuse a picture (see `opening`).

    Args:
        source: A path, a PIL picture, or an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) that is uint8,
            uint16, bool, or float in [0, 1].

    Raises:
        ImageReadError: Missing, not a picture, damaged, or larger than `MAX_PIXELS`, `MAX_SIDE` or `MAX_FILE_BYTES`.
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
        ImageReadError: As there.
    """
    _check_bytes(len(data), name)
    return _decode(BytesIO(data), name)


def file_hash(path: str | os.PathLike[str]) -> str:
    """sha256 of a file's bytes: what `Picture.sha256` is for a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_file(path: Path) -> Picture:
    name = shown(path)
    with opened_plain(path, what="picture", error=ImageReadError) as file:
        _check_bytes(os.fstat(file.fileno()).st_size, name)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        return Picture(_decode(file, name), sha256, path.name, path)


def _decode(file: IO[bytes], name: str) -> Image.Image:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        raise ImageReadError(f"{name} is empty (0 bytes).")
    if (recognise(head) or "").startswith(("a PostScript", "an MPEG")):
        # Pillow knows these: it would hand the one to an interpreter, if one is installed, and cannot decode the other.
        raise _no_picture(name, head)
    try:
        image = open_image(file)
    except ImageReadError as error:
        raise ImageReadError(f"{name} {error}.") from error
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        raise _too_large(name, f"{int(count.group()):,} pixels" if count else "too many pixels") from error
    except Exception as error:
        # Decoders answer damaged headers with nearly every exception there is.
        raise _no_picture(name, head) from error
    with image:
        return _to_rgb(image, name, opened_orientation(image))


def _no_picture(name: str, head: bytes) -> ImageReadError:
    """The error for a file that no decoder takes: what it is instead, or that it is damaged."""
    found = recognise(head)
    if found is None:
        return ImageReadError(
            f"{name} is not a picture in a known format (PNG, JPEG, WebP, GIF, TIFF, …), "
            "or its beginning is damaged."
        )
    if found == "an AVIF image" and not features.check("avif"):
        return ImageReadError(f"{name} is {found}, which this version of Pillow cannot read; update Pillow.")
    if found.endswith((" image", " GIF")):
        return ImageReadError(
            f"{name} starts as {found}, but its beginning is damaged, or of a kind that is not read here."
        )
    return ImageReadError(f"{name} is {found}. A picture is needed: PNG, JPEG, WebP, GIF, TIFF, …")


def _check_bytes(size: int, name: str) -> None:
    if size > MAX_FILE_BYTES:
        raise ImageReadError(
            f"{name} is too large: {size:,} bytes; the limit is {MAX_FILE_BYTES:,} bytes. "
            "Make a smaller copy and use that."
        )


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageReadError(f"{name} has no pixels ({width}x{height}).")
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"{width}x{height} pixels")
    if max(width, height) > MAX_SIDE:
        raise ImageReadError(
            f"{name} is too long: {width}x{height} pixels; the limit is {MAX_SIDE:,} pixels a side. "
            "Cut out the part that shows the style and use that."
        )


def _to_rgb(image: Image.Image, name: str, orientation: int | None = None) -> Image.Image:
    """A picture as RGB and upright; where no orientation is given, as its own metadata says."""
    _check_size(*image.size, name=name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image.load()
        if orientation is None:
            orientation = loaded_orientation(image)
        # Formats that hold several sizes may choose one when they load.
        _check_size(*image.size, name=name)
        converted = upright(to_srgb(image, name), orientation)
    except ImageReadError:
        raise
    except MemoryError as error:
        raise ImageReadError(f"{name} ({image.width}x{image.height}) does not fit into memory.") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageReadError(f"{name} is damaged or cannot be decoded: {reason.rstrip('.')}.") from error
    # A picture of its own, not the decoder's or the caller's.
    plain = Image.Image.copy(converted) if converted is image else converted
    plain.info.clear()
    return plain


def _from_array(array: NDArray[np.generic]) -> Image.Image:
    values = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)) or 0 in values.shape:
        raise ImageReadError(
            f"an array of shape {array.shape} is not a picture: (h, w), (h, w, 3) or (h, w, 4)."
        )
    _check_size(values.shape[1], values.shape[0], "the array")
    kind, bytes_each = values.dtype.kind, values.dtype.itemsize
    if (kind, bytes_each) == ("u", 1):
        return Image.fromarray(np.ascontiguousarray(values))
    if kind not in "bf" and (kind, bytes_each) != ("u", 2):
        raise ImageReadError(
            f"an array of {array.dtype} is not a picture: uint8, uint16, bool, or float in [0, 1]."
        )
    full = 65535.0 if kind == "u" else 1.0
    pixels = np.empty(values.shape, np.uint8)
    rows = max(1, BAND_PIXELS // values.shape[1])
    for top in range(0, len(values), rows):
        # A band at a time: as float64, a large picture needs eight times its memory.
        scaled = np.asarray(values[top : top + rows], np.float64) / full
        low, high = float(scaled.min()), float(scaled.max())
        if not (low >= 0.0 and high <= 1.0):
            found = f"from {low:g} to {high:g}" if np.isfinite([low, high]).all() else "that are no numbers"
            raise ImageReadError(f"a float array must lie in [0, 1]; this one holds values {found}.")
        pixels[top : top + rows] = np.rint(scaled * 255.0)
    return Image.fromarray(pixels)


def _pixel_hash(image: Image.Image) -> str:
    sha256 = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    for box in bands(image.size):
        sha256.update(image.crop(box).tobytes())
    return sha256.hexdigest()


def _too_large(name: str, size: str) -> ImageReadError:
    return ImageReadError(
        f"{name} is too large: {size}; the limit is {MAX_PIXELS:,} pixels. Make a smaller copy and use that."
    )
