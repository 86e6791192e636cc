"""How a picture must be turned to stand upright: the one thing that is read from its metadata.

Everything else in it may be damaged, as it is in many photos that went through several programs. So nothing is parsed
but the one field, and nothing is written again.
"""

from __future__ import annotations

import re
import struct

from PIL import Image

ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Types of whole numbers in a TIFF directory.
_WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
#: How many bytes of XMP are searched; a packet has a few thousand.
_XMP_BYTES = 2**20


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as EXIF numbers it (1 to 8); itself where there is nothing to turn."""
    method = _TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)


def exif_orientation(exif: bytes | None) -> int | None:
    """The orientation in a block of EXIF, with or without its "Exif" mark.

    Returns:
        1 to 8; None where there is none that can be read.
    """
    if not exif:
        return None
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    found = None
    start = _number(exif, f"{order}I", 4)
    count = _number(exif, f"{order}H", start)
    # Directories are often cut or claim more entries than there are.
    for at in range(start + 2, min(start + 2 + count * 12, len(exif) - 11), 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", exif, at)
        if tag == ORIENTATION and values == 1 and kind in _WHOLE:
            found = _number(exif, order + _WHOLE[kind], at + 8)
    return found if found in range(1, 9) else None


def xmp_orientation(xmp: bytes | str | None) -> int | None:
    """The orientation in an XMP packet.

    Returns:
        1 to 8; None where there is none.
    """
    if not xmp:
        return None
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    match = re.search(rb'tiff:Orientation(?:=["\']|>)([1-8])', xmp[:_XMP_BYTES])
    return int(match[1]) if match else None


def opened_orientation(image: Image.Image) -> int:
    """The orientation of a picture that was opened and is not decoded yet; 1 where it has none."""
    if image.format == "TIFF":
        return 1  # Pillow turns these when it decodes them
    exif = image.info.get("exif") or _from_hex(image.info.get("Raw profile type exif", ""))
    return exif_orientation(exif) or xmp_orientation(image.info.get("xmp")) or 1


def loaded_orientation(image: Image.Image) -> int:
    """The orientation of a picture in memory, whose metadata the caller may have changed; 1 where it has none."""
    try:
        value = image.getexif().get(ORIENTATION)
    except Exception:
        # What Pillow cannot parse, it answers with nearly every exception there is.
        exif, xmp = image.info.get("exif"), image.info.get("xmp")
        value = exif_orientation(exif if isinstance(exif, bytes) else None) or xmp_orientation(xmp)
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _from_hex(text: str) -> bytes:
    """The EXIF in what ImageMagick keeps as text in a PNG: a name, a length, and lines of hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""


def _number(data: bytes, form: str, at: int) -> int:
    """A whole number at a place of `data`, 0 where that is behind its end."""
    size = struct.calcsize(form)
    piece = data[at : at + size]
    return int(struct.unpack(form, piece)[0]) if len(piece) == size else 0
