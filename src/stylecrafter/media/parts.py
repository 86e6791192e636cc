"""The frames of a gif or an animated png as they lie in the file: rectangles, and what becomes of each.

Pillow lays them over each other in its own way: it fills what an opaque gif leaves free with a colour that no browser
shows, and makes a png that is blended over a solid one see-through. So it decodes the rectangles alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import IO

from stylecrafter.errors import ImageReadError
from stylecrafter.media.streams import MAX_FRAMES, check_pixels

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
#: What a frame of a png needs of the whole to be a picture of its own.
_PNG_SHARED = (b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB")


class Dispose(Enum):
    """What becomes of a rectangle before the next is drawn."""

    KEEP = "keep"
    CLEAR = "clear"
    RESTORE = "restore"


@dataclass(frozen=True)
class Part:
    """One rectangle.

    Attributes:
        head, tail: Bytes around those in the file that make them a picture of its own.
        spans: (offset, length) in the file.
        over: Blended over what is there; else it replaces that.
        milliseconds: How long it is shown; 0 where the file does not say.
    """

    head: bytes
    spans: tuple[tuple[int, int], ...]
    tail: bytes
    left: int
    top: int
    dispose: Dispose
    over: bool
    milliseconds: float

    def picture(self, file: IO[bytes]) -> bytes:
        """The rectangle as a file of its own."""
        pieces = []
        for offset, length in self.spans:
            file.seek(offset)
            pieces.append(file.read(length))
        body = b"".join(pieces)
        if self.head.startswith(_PNG_MAGIC):
            body = _chunk(b"IDAT", body)
        return self.head + body + self.tail


@dataclass(frozen=True)
class Parts:
    """All rectangles of a file, and the canvas they are drawn on."""

    width: int
    height: int
    frames: tuple[Part, ...]


def find_parts(file: IO[bytes]) -> Parts | None:
    """The rectangles of a gif or an animated png; None for any other file, a still png included.

    Raises:
        ImageReadError: Damaged, cut short, or too many.
    """
    file.seek(0)
    magic = file.read(8)
    if magic[:6] in (b"GIF87a", b"GIF89a"):
        return _gif_parts(file)
    return _png_parts(file) if magic == _PNG_MAGIC else None


def _gif_parts(file: IO[bytes]) -> Parts:
    file.seek(6)
    screen = _exactly(file, 7)
    width, height, flags = struct.unpack("<HHB", screen[:5])
    palette = _exactly(file, _palette_bytes(flags))
    control = b""
    frames: list[Part] = []
    while (kind := file.read(1)) not in (b"", b";"):
        if kind == b"!":
            label = _exactly(file, 1)
            blocks = _sub_blocks(file, keep=label == b"\xf9")
            control = blocks if label == b"\xf9" and len(blocks) >= 4 else control
        elif kind == b",":
            left, top, w, h, inner = struct.unpack("<HHHHB", _exactly(file, 9))
            if not frames:  # browsers grow the canvas for the first, and cut the others
                width, height = max(width, left + w), max(height, top + h)
            _check_more(len(frames))
            frames.append(_gif_part(file, palette, flags, control, (left, top, w, h, inner)))
            control = b""
    if not frames:
        raise ImageReadError("damaged: a gif without a frame")
    check_pixels(width, height)
    return Parts(width, height, tuple(frames))


def _gif_part(
    file: IO[bytes], palette: bytes, flags: int, control: bytes, place: tuple[int, int, int, int, int]
) -> Part:
    left, top, width, height, inner = place
    begin = file.tell()
    _exactly(file, _palette_bytes(inner) + 1)
    _sub_blocks(file, keep=False)
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0) + palette
    packed, delay, transparent = struct.unpack("<BHB", control[:4]) if control else (0, 0, 0)
    if packed & 1:
        head += b"!\xf9\x04" + struct.pack("<BHBB", 1, 0, transparent, 0)
    head += b"," + struct.pack("<HHHHB", 0, 0, width, height, inner)
    dispose = {2: Dispose.CLEAR, 3: Dispose.RESTORE}.get(packed >> 2 & 7, Dispose.KEEP)
    return Part(head, ((begin, file.tell() - begin),), b";", left, top, dispose, True, delay * 10.0)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _sub_blocks(file: IO[bytes], *, keep: bool) -> bytes:
    """Pass over the blocks of an extension or of a picture; with `keep`, give what they hold."""
    data = []
    while length := _exactly(file, 1)[0]:
        block = _exactly(file, length)
        if keep:
            data.append(block)
    return b"".join(data)


def _png_parts(file: IO[bytes]) -> Parts | None:
    width = height = declared = 0
    header = b""
    shared: list[bytes] = []
    frames: list[tuple[bytes, list[tuple[int, int]]]] = []  # the control of each, and where its data lie
    for kind, offset, length in _chunks(file):
        if kind == b"IHDR":
            header = _exactly(file, length)
            width, height = struct.unpack(">II", header[:8])
        elif kind == b"acTL":
            declared = int.from_bytes(_exactly(file, length)[:4], "big")
        elif kind in _PNG_SHARED:
            shared.append(_chunk(kind, _exactly(file, length)))
        elif kind == b"fcTL":
            _check_more(len(frames))
            frames.append((_exactly(file, length), []))
        elif kind == b"IDAT" and not declared:
            return None
        elif kind in (b"IDAT", b"fdAT") and frames:
            # Data before the first control are a picture for programs that show no animations.
            skip = 4 if kind == b"fdAT" else 0
            frames[-1][1].append((offset + skip, length - skip))
    if not declared:
        return None
    if len(frames) < declared or not all(spans for _, spans in frames):
        raise ImageReadError(f"cut short: {len(frames)} of the {declared:,} frames that it declares")
    check_pixels(width, height)
    parts = tuple(_png_part(control, spans, header, shared) for control, spans in frames[:declared])
    return Parts(width, height, parts)


def _png_part(control: bytes, spans: list[tuple[int, int]], header: bytes, shared: list[bytes]) -> Part:
    _, width, height, left, top, counts, per, dispose, blend = struct.unpack(">IIIIIHHBB", control[:26])
    head = _PNG_MAGIC + _chunk(b"IHDR", struct.pack(">II", width, height) + header[8:]) + b"".join(shared)
    return Part(
        head,
        tuple(spans),
        _chunk(b"IEND", b""),
        left,
        top,
        {1: Dispose.CLEAR, 2: Dispose.RESTORE}.get(dispose, Dispose.KEEP),
        blend == 1,
        1000.0 * counts / (per or 100),
    )


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Kind, offset and length of the contents of all chunks, up to the last; the file stands at the contents."""
    offset = len(_PNG_MAGIC)
    while True:
        file.seek(offset)
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        if kind in (b"fcTL", b"fdAT", b"IDAT"):
            _check_sum(file, kind, length)
            file.seek(offset + 8)
        yield kind, offset + 8, length
        if kind == b"IEND":
            return
        offset += length + 12


def _check_sum(file: IO[bytes], kind: bytes, length: int) -> None:
    found, left = zlib.crc32(kind), length
    while left:
        block = _exactly(file, min(left, 1 << 20))
        found, left = zlib.crc32(block, found), left - len(block)
    if found.to_bytes(4, "big") != _exactly(file, 4):
        raise ImageReadError("damaged: a checksum is wrong")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _check_more(count: int) -> None:
    if count >= MAX_FRAMES:
        raise ImageReadError(f"too long: more than {MAX_FRAMES:,} frames")


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ImageReadError("cut short")
    return data
