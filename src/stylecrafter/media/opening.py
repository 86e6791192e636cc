"""Image files opened by Pillow, without the metadata that it gives up on though the pixels are fine.

Comments, thumbnails and texts may be damaged or huge, as they are in many pictures that went through several programs.
A PNG is opened without them, other files as they are, and without such metadata where that fails. What Pillow does not
tell of colours is added to the `info` of the image.
"""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from typing import IO, Any

from PIL import Image

from stylecrafter.errors import ImageReadError
from stylecrafter.media.png_chunks import MAX_METADATA_BYTES, SIGNATURE, open_png

#: Beginnings of segments of a JPEG that its pixels do not need.
_JPEG_METADATA = re.compile(rb"ICC_PROFILE\0|MPF\0|Photoshop 3\.0\0")

#: Tags of a TIFF for sides, samples, compression, strips, tiles, palette, turn and profile, and those of codecs.
_TIFF_TAGS = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 284, 290, 291, 292, 293, 297)
    + (317, 320, 322, 323, 324, 325, 332, 333, 334, 336, 338, 339, 340, 341, 347)
    + (512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 34675, 50674)
)
_BITS, _MEANING, _PLANES, _TILE_WIDTH, _TILE_LENGTH = 258, 262, 284, 322, 323
_MAX_TILE = 65_536 * 1024

#: An entry of an AVIF's list of parts: its version, flags, number and protection, then what it is.
_EXIF_ITEM = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)
#: Colours of its pixels by numbers (primaries, curve), or by a profile.
_NUMBERED, _PROFILED = re.compile(rb"colrnclx(..)(..)", re.DOTALL), (b"colrprof", b"colrrICC")
_WIDE, _HDR, _SRGB_CURVE = (9, 11, 12), (16, 18), 13


def open_image(file: IO[bytes], formats: tuple[str, ...] | None = None) -> Image.Image:
    """An image that is not decoded yet, of the first picture of a PNG.

    Args:
        file: At its beginning.
        formats: Those of Pillow that it may have; any by default.

    Raises:
        ImageReadError: There is more in it than is read, or Pillow would get its colours wrong; what stands behind the
            name of the file.
        Exception: Of any kind, as Pillow's decoders have them for what is damaged or no image.
    """
    head = file.read(32)
    file.seek(0)
    with warnings.catch_warnings():
        # On sizes, for which this package's own limit is what counts, and on metadata.
        warnings.simplefilter("ignore")
        if head.startswith(SIGNATURE):
            return open_png(file)
        if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1", b"msf1"):
            return _open_avif(file, formats)
        try:
            image = Image.open(file, formats=formats)
        except Image.DecompressionBombError:
            raise
        except Exception:
            bare = _without_metadata(file, head)
            if bare is None:
                raise
            image = Image.open(bare, formats=formats)
    if image.format == "TIFF":
        _check_tiff(image)
    elif image.format == "JPEG2000":
        image.info.update(_profile_of_jp2(file))
    return image


def _without_metadata(file: IO[bytes], head: bytes) -> io.BytesIO | None:
    """The file with its metadata made harmless; None where nothing can be done."""
    file.seek(0)
    if head.startswith(b"\xff\xd8\xff"):
        return io.BytesIO(_JPEG_METADATA.sub(lambda name: b"-" * len(name[0]), file.read()))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _bare_webp(file)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _bare_tiff(file)
    return None


def _bare_webp(file: IO[bytes]) -> io.BytesIO:
    """All up to the first frame, and what is whole of the rest but frames."""
    size = file.seek(0, os.SEEK_END)
    pieces, at, has_pixels = [b"WEBP"], 12, False
    while at + 8 <= size:
        file.seek(at)
        kind, length = struct.unpack("<4sI", file.read(8))
        end = at + 8 + length + length % 2
        is_frame = kind in (b"VP8 ", b"VP8L", b"ANMF")
        if (is_frame and not has_pixels) or (not is_frame and end <= size and length <= MAX_METADATA_BYTES):
            file.seek(at)
            pieces.append(file.read(end - at))
        has_pixels = has_pixels or is_frame
        at = end
    body = b"".join(pieces)
    return io.BytesIO(b"RIFF" + len(body).to_bytes(4, "little") + body)


def _bare_tiff(file: IO[bytes]) -> io.BytesIO | None:
    """The file, in whose first directory what pixels do not need says nothing; None where it has no directory."""
    data = bytearray(file.read())
    order, big = ("<" if data[:2] == b"II" else ">"), b"+" in data[2:4]
    try:
        start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
        count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
        first, width = (start + 8, 20) if big else (start + 2, 12)
        for at in range(first, first + width * min(count, 65_535), width):
            if struct.unpack_from(f"{order}H", data, at)[0] not in _TIFF_TAGS:
                struct.pack_into(order + ("HQQ" if big else "HII"), data, at + 2, 1, 1, 0)  # one byte, a zero
    except struct.error:
        return None
    return io.BytesIO(data)


def _check_tiff(image: Any) -> None:
    tags = image.tag_v2
    width, length = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)
    # A decoder makes room for a whole tile, however small the picture.
    if width * length > _MAX_TILE:
        raise ImageReadError(f"has tiles of {width}x{length} pixels; the limit is {_MAX_TILE:,} pixels")
    bits = tags.get(_BITS, (1,))
    # Of 16 bits a sample, Pillow mixes up planes that lie apart, and takes greys that begin with white for others.
    if bits[0] == 16 and ((tags.get(_PLANES) == 2 and len(bits) > 1) or tags.get(_MEANING) == 0):
        raise ImageReadError(
            "is a 16-bit TIFF of a rare kind that would be read in wrong colours; save it as PNG"
        )


def _open_avif(file: IO[bytes], formats: tuple[str, ...] | None) -> Image.Image:
    """With its EXIF hidden: how an AVIF is turned stands in properties of its own, which Pillow gives as EXIF."""
    data = _EXIF_ITEM.sub(rb"\1none", file.read())
    image = Image.open(io.BytesIO(data), formats=formats)
    numbers = _NUMBERED.search(data)
    # Of primaries other than sRGB's that it names by number, Pillow says nothing.
    if numbers is not None and not any(mark in data for mark in _PROFILED):
        primaries, curve = (int.from_bytes(number, "big") for number in numbers.groups())
        if primaries in _WIDE:  # the curves of video stand for sRGB's here, as in browsers
            image.info["cicp"] = (primaries, curve if curve in _HDR else _SRGB_CURVE, 0, 1)
    return image


def _profile_of_jp2(file: IO[bytes]) -> dict[str, bytes]:
    """The profile of a JPEG 2000, of which Pillow says nothing."""
    place = file.tell()
    file.seek(0)
    head = file.read(MAX_METADATA_BYTES)
    file.seek(place)
    box = head.find(b"colr")
    # A method, a precedence and an approximation come first.
    if box < 4 or head[box + 4 : box + 5] not in (b"\2", b"\3"):
        return {}
    return {"icc_profile": head[box + 7 : box - 4 + int.from_bytes(head[box - 4 : box], "big")]}
