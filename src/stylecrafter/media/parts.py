"""The frames of a gif as they lie in the file: rectangles, and what becomes of each.

Pillow and FFmpeg lay them over each other in their own ways: they fill what an opaque gif leaves free with a colour
that no browser shows. So Pillow decodes the rectangles alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import IO

from stylecrafter.errors import ImageReadError
from stylecrafter.media.streams import MAX_FRAMES, check_pixels


class Dispose(Enum):
    """What becomes of a rectangle before the next is drawn."""

    KEEP = "keep"
    CLEAR = "clear"
    RESTORE = "restore"


@dataclass(frozen=True)
class Part:
    """One rectangle.

    Attributes:
        head: Bytes before those in the file that make them a picture of its own.
        begin, length: Where they lie in the file.
        milliseconds: How long it is shown; 0 where the file does not say.
    """

    head: bytes
    begin: int
    length: int
    left: int
    top: int
    dispose: Dispose
    milliseconds: float

    def picture(self, file: IO[bytes]) -> bytes:
        """The rectangle as a file of its own."""
        file.seek(self.begin)
        return self.head + file.read(self.length) + b";"


@dataclass(frozen=True)
class Parts:
    """All rectangles of a file, and the canvas they are drawn on."""

    width: int
    height: int
    frames: tuple[Part, ...]


def find_parts(file: IO[bytes]) -> Parts:
    """The rectangles of a gif.

    Raises:
        ImageReadError: Damaged, cut short, or too many.
    """
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
            if len(frames) == MAX_FRAMES:
                raise ImageReadError(f"too long: more than {MAX_FRAMES:,} frames")
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
    return Part(head, begin, file.tell() - begin, left, top, dispose, delay * 10.0)


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


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ImageReadError("cut short")
    return data
