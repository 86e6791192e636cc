"""WebP, AVIF and JPEG 2000 files without their metadata; see `bare`."""

from __future__ import annotations

import re
from typing import IO, Any

from stylecrafter.media.bare import (
    MAX_METADATA_BYTES,
    MAX_PROFILE_BYTES,
    Bare,
    Piece,
    Unsound,
    count_parts,
    from_pieces,
    read_at,
)
from stylecrafter.media.orientation import exif_orientation, xmp_orientation

#: Flags of a WebP header that announce profile, EXIF and XMP.
_ANNOUNCED = 0x20 | 0x08 | 0x04
#: Colours of the pixels by numbers (primaries, curve), or by a profile.
_NUMBERED, _PROFILED = re.compile(rb"colrnclx(..)(..)", re.DOTALL), (b"colrprof", b"colrrICC")
#: The box of a JPEG 2000 that says so; its method, precedence and approximation follow.
_COLOURS = b"colr"
_WIDE, _HDR, _SRGB_CURVE = (9, 11, 12), (16, 18), 13
_META_BYTES = 16 * 2**20
#: An entry of the list of parts: its version, flags, number and protection, then what it is.
_EXIF_ITEM = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)


def bare_webp(file: IO[bytes], size: int) -> Bare:
    """The picture or first frame alone, with its profile and orientation taken out.

    Raises:
        Unsound: There are no pixels.
        Refused: More than `MAX_PARTS` chunks.
    """
    chunks: list[Piece] = []
    facts: dict[bytes, bytes] = {}
    at, number, has_pixels = 12, 0, False
    while at + 8 <= size:
        count_parts(number := number + 1, "chunks")
        head = read_at(file, at, 8)
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        end = at + 8 + length + length % 2
        if kind == b"VP8X":
            body = read_at(file, at + 8, length if length < 64 else 0)
            if len(body) < 10:
                raise Unsound
            chunks.append(head + bytes([body[0] & ~_ANNOUNCED]) + body[1:] + b"\0" * (length % 2))
        elif kind in (b"VP8 ", b"VP8L", b"ANMF") and not has_pixels:
            has_pixels = True
            chunks.append((at, min(end, size)))
        elif kind in (b"ALPH", b"ANIM") and not has_pixels:
            chunks.append((at, min(end, size)))
        elif kind in (b"ICCP", b"EXIF", b"XMP ") and at + 8 + length <= size:
            limit = MAX_PROFILE_BYTES if kind == b"ICCP" else MAX_METADATA_BYTES
            facts.setdefault(kind, read_at(file, at + 8, length) if length <= limit else b"damaged")
        at = end
    if not has_pixels:
        raise Unsound
    total = 4 + sum(len(chunk) if isinstance(chunk, bytes) else chunk[1] - chunk[0] for chunk in chunks)
    header = b"RIFF" + total.to_bytes(4, "little") + b"WEBP"
    info: dict[str, Any] = {"icc_profile": facts[b"ICCP"]} if b"ICCP" in facts else {}
    orientation = exif_orientation(facts.get(b"EXIF")) or xmp_orientation(facts.get(b"XMP ")) or 1
    return Bare(from_pieces(file, [header, *chunks]), info, orientation)


def bare_avif(file: IO[bytes], size: int) -> Bare:
    """The file with its EXIF hidden: how an AVIF is turned stands in properties of its own, which the decoder reads.

    Raises:
        Unsound: It has no list of its parts.
        Refused: More than `MAX_PARTS` boxes.
    """
    at, number = 0, 0
    while at + 8 <= size:
        count_parts(number := number + 1, "boxes")
        head = read_at(file, at, 16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if head[4:8] == b"meta":
            if not 8 <= length <= _META_BYTES:
                break
            # The same length, so that every place that the list names stays where it is.
            meta = _EXIF_ITEM.sub(rb"\1none", read_at(file, at, length))
            return Bare(from_pieces(file, [(0, at), meta, (at + len(meta), size)]), _wide_colours(meta))
        if length < 8:
            break
        at += length
    raise Unsound


def _wide_colours(meta: bytes) -> dict[str, Any]:
    """Primaries other than sRGB's that an AVIF names by number, of which Pillow says nothing.

    The curves of video stand for sRGB's here, as in browsers.
    """
    match = _NUMBERED.search(meta)
    if match is None or any(mark in meta for mark in _PROFILED):
        return {}
    primaries, curve = (int.from_bytes(number, "big") for number in match.groups())
    if primaries not in _WIDE:
        return {}
    return {"cicp": (primaries, curve if curve in _HDR else _SRGB_CURVE, 0, 1)}


def bare_jp2(file: IO[bytes], size: int) -> Bare:
    """The file as it is, with its profile, of which Pillow says nothing.

    Raises:
        Unsound: It names no colours.
    """
    head = read_at(file, 0, min(size, MAX_PROFILE_BYTES))
    box = head.find(_COLOURS)
    if box < 4:
        raise Unsound
    length = int.from_bytes(head[box - 4 : box], "big")
    by_profile = head[box + 4] in (2, 3)
    return Bare(file, {"icc_profile": head[box + 7 : box - 4 + length]} if by_profile else {})
