"""JPEG and GIF files without their metadata; see `bare`."""

from __future__ import annotations

from typing import IO, Any

from stylecrafter.media.bare import (
    MAX_METADATA_BYTES,
    Bare,
    Piece,
    Unsound,
    count_parts,
    from_pieces,
    read_at,
)
from stylecrafter.media.orientation import exif_orientation, xmp_orientation

_SOS, _EOI, _COM = 0xDA, 0xD9, 0xFE
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
#: Restart marks and TEM stand alone, without a length.
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))


def bare_jpeg(file: IO[bytes], size: int) -> Bare:
    """The first picture alone, with its profile and orientation taken out.

    Raises:
        Unsound: Its segments do not lead to pixels.
        Refused: More than `MAX_PARTS` segments.
    """
    pieces: list[Piece] = [(0, 2)]
    exif, xmp, profile = b"", b"", list[bytes]()
    at, number = 2, 0
    while True:
        count_parts(number := number + 1, "segments")
        head = read_at(file, at, 4)
        if len(head) < 4 or head[0] != 0xFF:
            raise Unsound
        marker, length = head[1], int.from_bytes(head[2:], "big")
        if marker == 0xFF:  # any number of these may stand before a mark
            at += 1
            continue
        if marker == _SOS:
            break
        if marker == _EOI or marker in _ALONE or length < 2:
            raise Unsound
        end = at + 2 + length
        # Of the application's segments, JFIF and Adobe's say in which colours the pixels are.
        if (marker & 0xF0 == 0xE0 and marker not in (0xE0, 0xEE)) or marker == _COM:
            if marker in (0xE1, 0xE2):
                body = read_at(file, at + 4, length - 2)
                if body.startswith(_EXIF):
                    # What does not fit into one segment goes on in the next.
                    exif += body[len(_EXIF) :] if len(exif) <= MAX_METADATA_BYTES else b""
                elif body.startswith(_XMP):
                    xmp = xmp or body[len(_XMP) :]
                elif body.startswith(_ICC) and len(profile) <= 255:
                    profile.append(body[len(_ICC) :])
        else:
            pieces.append((at, min(end, size)))
        at = end
    info: dict[str, Any] = {"icc_profile": _joined(profile)} if profile else {}
    orientation = exif_orientation(exif) or xmp_orientation(xmp) or 1
    return Bare(from_pieces(file, [*pieces, (at, size)]), info, orientation)


def _joined(parts: list[bytes]) -> bytes:
    """A profile out of its segments, each with its number and their count; "damaged" where one is missing."""
    numbered = {part[0]: part[2:] for part in parts if len(part) > 2 and part[1] == len(parts)}
    if sorted(numbered) != list(range(1, len(parts) + 1)):
        return b"damaged"
    return b"".join(numbered[number] for number in sorted(numbered))


def bare_gif(file: IO[bytes], size: int) -> Bare:
    """The first frame, without what stands before it.

    Raises:
        Unsound: Its blocks do not lead to a frame.
        Refused: More than `MAX_PARTS` blocks before the first frame.
    """
    head = read_at(file, 0, 13)
    if len(head) < 13:
        raise Unsound
    at = 13 + (3 * 2 ** ((head[10] & 7) + 1) if head[10] & 0x80 else 0)
    pieces: list[Piece] = [(0, at)]
    number = 0
    while (mark := read_at(file, at, 2))[:1] == b"!" and len(mark) == 2:
        start, at = at, at + 2
        while length := (read_at(file, at, 1) or b"\0")[0]:
            count_parts(number := number + 1, "blocks")
            at += 1 + length
        at += 1
        count_parts(number := number + 1, "blocks")
        if mark[1] == 0xF9:  # which colour is transparent
            pieces.append((start, at))
    if mark[:1] != b"," or at >= size:
        raise Unsound
    # The frame is followed by the rest of the file, of which a decoder of one frame reads nothing.
    return Bare(from_pieces(file, [*pieces, (at, size)]), {}, 1)
