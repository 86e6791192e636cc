"""PNG files without their metadata; see `bare`."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
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
from stylecrafter.media.orientation import exif_orientation, hex_exif, xmp_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: What pixels need. Frames of an animation are left out: what remains is its first, or the picture shown instead.
_NEEDED = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"CgBI"))
_COLOUR = frozenset((b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP"))
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_XMP, _HEX_EXIF = b"XML:com.adobe.xmp", (b"Raw profile type exif", b"Raw profile type APP1")
_HEADER_AT = 16
_END = b"\0\0\0\0IEND\xaeB`\x82"


def bare_png(file: IO[bytes], size: int) -> Bare:
    """The picture alone, with its profile, orientation, gamma and primaries taken out.

    Raises:
        Unsound: There is no header or no pixels.
        Refused: More than `MAX_PARTS` chunks.
    """
    pieces: list[Piece] = [SIGNATURE]
    kinds: set[bytes] = set()
    facts: dict[bytes, bytes] = {}
    for kind, at, length in _chunks(file, size):
        end = at + 12 + length
        if kind == b"tRNS" and end <= size:
            pieces.append(_transparent_colour(read_at(file, at, end - at), read_at(file, _HEADER_AT, 13)))
        elif kind in _NEEDED:
            pieces.append((at, min(end, size)))
            kinds.add(kind)
        elif end <= size:
            _note(facts, kind, file, at + 8, length)
    if not {b"IHDR", b"IDAT"} <= kinds:
        raise Unsound
    orientation = exif_orientation(facts.get(b"eXIf")) or xmp_orientation(facts.get(_XMP)) or 1
    return Bare(from_pieces(file, [*pieces, _END]), _colour(facts), orientation)


def text_of_png(file: IO[bytes], keyword: bytes, limit: int) -> str:
    """What a PNG says under a keyword, at most `limit` bytes of it; empty where it says nothing.

    Raises:
        Unsound: The checksum of what it says is wrong.
        Refused: More than `MAX_PARTS` chunks.
    """
    for kind, at, length in _chunks(file, file.seek(0, os.SEEK_END)):
        start = at + 8
        if kind not in _TEXTS or read_at(file, start, len(keyword) + 1) != keyword + b"\0":
            continue
        data = read_at(file, start, min(length, limit + len(keyword) + 5))
        if len(data) == length and _checksum(kind, data) != read_at(file, start + length, 4):
            raise Unsound
        return _text(kind, data).decode("utf-8", "replace")
    return ""


def _chunks(file: IO[bytes], size: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and length of all chunks before the last."""
    at, number = len(SIGNATURE), 0
    while at + 8 <= size:
        count_parts(number := number + 1, "chunks")
        length, kind = struct.unpack(">I4s", read_at(file, at, 8))
        if kind == b"IEND":
            return
        yield kind, at, length
        at += 12 + length


def _checksum(kind: bytes, data: bytes) -> bytes:
    return zlib.crc32(kind + data).to_bytes(4, "big")


def _transparent_colour(chunk: bytes, header: bytes) -> bytes:
    """The chunk that names a transparent grey or colour, in 8 bits as Pillow's pixels are.

    Pillow compares it as it stands; of 16-bit colours it has the upper halves alone.
    """
    data, checksum = chunk[8:-4], chunk[-4:]
    if len(header) < 13 or _checksum(b"tRNS", data) != checksum:
        return chunk
    depth, kind = header[8], header[9]
    if kind == 0 and depth in (1, 2, 4) and len(data) == 2:
        data = bytes([0, (data[1] & (2**depth - 1)) * 255 // (2**depth - 1)])
    elif kind == 2 and depth == 16 and len(data) == 6:
        data = bytes([0, data[0], 0, data[2], 0, data[4]])
    else:
        return chunk
    return chunk[:4] + b"tRNS" + data + _checksum(b"tRNS", data)


def _note(facts: dict[bytes, bytes], kind: bytes, file: IO[bytes], start: int, length: int) -> None:
    """Keep what a chunk says of colour or orientation, where the chunk is whole."""
    if kind not in _COLOUR and kind != b"eXIf" and kind not in _TEXTS:
        return
    if kind in _TEXTS:
        keyword = read_at(file, start, min(length, 80)).split(b"\0")[0]
        if keyword != _XMP and keyword not in _HEX_EXIF:
            return
    if length > max(MAX_METADATA_BYTES, MAX_PROFILE_BYTES):
        return
    data, checksum = read_at(file, start, length), read_at(file, start + length, 4)
    if _checksum(kind, data) != checksum:
        return
    if kind in _TEXTS:
        text = _text(kind, data)
        if keyword == _XMP:
            facts.setdefault(_XMP, text)
        else:
            facts.setdefault(b"eXIf", hex_exif(text))
    elif kind == b"eXIf":
        facts[kind] = data  # before what stands in a text
    else:
        facts.setdefault(kind, data)


def _text(kind: bytes, data: bytes) -> bytes:
    """What stands behind the keyword of a text chunk; empty where it is damaged."""
    text = data.partition(b"\0")[2]
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = text[:1] == b"\x01"
        parts = text[2:].split(b"\0", 2)  # language, translated keyword, text
        text = parts[2] if len(parts) == 3 else b""
    elif packed:
        text = text[1:]
    return inflate(text, MAX_METADATA_BYTES) or b"" if packed else text


def _colour(facts: dict[bytes, bytes]) -> dict[str, Any]:
    """The colour chunks as `colour` asks for them."""
    info: dict[str, Any] = {}
    if b"iCCP" in facts:
        # What cannot be unpacked is a broken profile, of which `colour` speaks.
        info["icc_profile"] = inflate(facts[b"iCCP"].partition(b"\0")[2][1:], MAX_PROFILE_BYTES) or b"damaged"
    if len(facts.get(b"sRGB", b"")) == 1:
        info["srgb"] = facts[b"sRGB"][0]
    if len(facts.get(b"gAMA", b"")) == 4:
        info["gamma"] = int.from_bytes(facts[b"gAMA"], "big") / 100_000
    if len(facts.get(b"cHRM", b"")) == 32:
        info["chromaticity"] = tuple(value / 100_000 for value in struct.unpack(">8I", facts[b"cHRM"]))
    if len(facts.get(b"cICP", b"")) == 4:
        info["cicp"] = tuple(facts[b"cICP"])
    return info


def inflate(data: bytes, limit: int) -> bytes | None:
    """Unpack zlib data; None where it is damaged or holds more than `limit` bytes."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, limit + 1)
    except zlib.error:
        return None
    return unpacked if len(unpacked) <= limit else None
