"""Pictures inside icons, which are decoded at their own size, whatever the icon says."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import IO

#: Windows icons and cursors, and those of macOS.
ICONS = (b"\0\0\1\0", b"\0\0\2\0", b"icns")
#: Headers of PNG, JPEG 2000, and its bare code stream, with two sides.
_HEADERS = (
    re.compile(rb"\x89PNG\r\n\x1a\n.{8}(.{4})(.{4})", re.DOTALL),
    re.compile(rb"ihdr(.{4})(.{4})", re.DOTALL),
    re.compile(rb"\xff\x4f\xff\x51.{4}(.{4})(.{4})", re.DOTALL),
)


def inner_sizes(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Two sides of every picture that an icon holds, in any order; leaves the file somewhere."""
    file.seek(0)
    data = file.read()
    for header in _HEADERS:
        for match in header.finditer(data):
            first, second = (int.from_bytes(side, "big") for side in match.groups())
            yield first, second
    if data[:4] in ICONS[:2]:
        count = struct.unpack_from("<H", data.ljust(6, b"\0"), 4)[0]
        for at in range(6, min(6 + 16 * count, len(data) - 15), 16):
            bitmap = data[struct.unpack_from("<I", data, at + 12)[0] :][:12]
            if len(bitmap) == 12 and bitmap[:4] != b"\x89PNG":
                width, height = struct.unpack_from("<ii", bitmap, 4)
                yield abs(width), abs(height) // 2  # the lower half is a mask
