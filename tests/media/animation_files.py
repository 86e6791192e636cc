"""Animations written byte by byte, with what each frame of them shows: independent of any library that reads them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

#: Colours of the gif palette; index 0 is the transparent one, with a hidden colour that must not be seen.
PALETTE = np.array([(255, 0, 255), (200, 30, 30), (30, 160, 30), (40, 60, 200)], np.uint8)


@dataclass(frozen=True)
class Part:
    """A rectangle of pixels that is drawn over the canvas.

    Attributes:
        pixels: Indices (h, w) of a gif, RGBA (h, w, 4) of a png.
        left, top: Where.
        dispose: "keep", "clear" or "restore", what becomes of it before the next.
        over: Blended over what is there, where it is not solid; else it replaces that.
    """

    pixels: Array
    left: int = 0
    top: int = 0
    dispose: str = "keep"
    over: bool = True


def shown_over_white(parts: list[Part], width: int, height: int) -> list[Array]:
    """The RGB frames of an animation, as browsers show it on a white page."""
    canvas = np.zeros((height, width, 4), float)
    frames = []
    for part in parts:
        rgba = part.pixels.astype(float)
        if part.pixels.ndim == 2:
            rgba = np.dstack([PALETTE[part.pixels], np.where(part.pixels == 0, 0, 255)]).astype(float)
        h, w = rgba.shape[:2]
        area = np.s_[part.top : part.top + h, part.left : part.left + w]
        before = canvas.copy()
        canvas[area] = _blended(canvas[area], rgba) if part.over else rgba
        alpha = canvas[..., 3:] / 255
        frames.append(np.rint(canvas[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))
        if part.dispose == "clear":
            canvas[area] = 0
        elif part.dispose == "restore":
            canvas = before
    return frames


def gif_bytes(
    parts: list[Part], width: int, height: int, delays: list[int], *, transparent: bool = True
) -> bytes:
    """A gif; delays in hundredths of a second."""
    data = b"GIF89a" + struct.pack("<HHBBB", width, height, 0b11110001, 0, 0) + PALETTE.tobytes()
    for part, delay in zip(parts, delays, strict=True):
        dispose = {"keep": 1, "clear": 2, "restore": 3}[part.dispose]
        data += b"\x21\xf9\x04" + struct.pack("<BHBB", dispose << 2 | transparent, delay, 0, 0)
        h, w = part.pixels.shape
        data += b"\x2c" + struct.pack("<HHHHB", part.left, part.top, w, h, 0) + _lzw(part.pixels.tobytes())
    return data + b";"


def _lzw(indices: bytes) -> bytes:
    """Codes of 3 bits: the table is cleared before it could need more."""
    clear, end = 4, 5
    codes: list[int] = []
    for number, index in enumerate(indices):
        if number % 2 == 0:
            codes.append(clear)
        codes.append(index)
    bits = "".join(f"{code:03b}"[::-1] for code in [*codes, end])
    packed = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    blocks = [packed[i : i + 255] for i in range(0, len(packed), 255)]
    return b"\x02" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\x00"


def apng_bytes(
    parts: list[Part],
    width: int,
    height: int,
    delay: int,
    *,
    hidden_first: Array | None = None,
    more: int = 0,
) -> bytes:
    """An animated png of RGBA; delays in hundredths of a second.

    `hidden_first` is shown by other programs only; it declares `more` frames than it has.
    """
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    data += _chunk(b"acTL", struct.pack(">II", len(parts) + more, 0))
    if hidden_first is not None:
        data += _chunk(b"IDAT", _scanlines(hidden_first))
    order = 0
    for number, part in enumerate(parts):
        h, w = part.pixels.shape[:2]
        dispose = {"keep": 0, "clear": 1, "restore": 2}[part.dispose]
        control = struct.pack(">IIIIIHHBB", order, w, h, part.left, part.top, delay, 100, dispose, part.over)
        data, order = data + _chunk(b"fcTL", control), order + 1
        if number == 0 and hidden_first is None:
            data += _chunk(b"IDAT", _scanlines(part.pixels))
        else:
            data, order = (
                data + _chunk(b"fdAT", struct.pack(">I", order) + _scanlines(part.pixels)),
                order + 1,
            )
    return data + _chunk(b"IEND", b"")


def _scanlines(pixels: Array) -> bytes:
    return zlib.compress(b"".join(b"\x00" + row.tobytes() for row in pixels))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _blended(below: NDArray[np.float64], above: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = above[..., 3:] / 255, below[..., 3:] / 255
    alpha = a + b * (1 - a)
    colour = (above[..., :3] * a + below[..., :3] * b * (1 - a)) / np.maximum(alpha, 1e-9)
    return np.concatenate([colour, alpha * 255], -1)
