"""The boxes of an mp4, looked at before a demuxer believes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

from stylecrafter.errors import ImageReadError

#: Where the sizes of a track's samples are, from the outermost box inwards.
_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz")
_MOST_BOXES = 10_000


def check_sample_sizes(file: IO[bytes]) -> None:
    """Refuse an mp4 whose tracks declare more bytes than the file has.

    Samples of one size take no room in the table of sizes: twenty bytes declare as many as one likes, and a demuxer
    takes memory for each.

    Raises:
        ImageReadError: One declares more.
    """
    size = file.seek(0, os.SEEK_END)
    for begin, _ in _boxes(file, 0, size, 0):
        file.seek(begin + 4)  # version and flags
        each = int.from_bytes(file.read(4), "big")
        count = int.from_bytes(file.read(4), "big")
        if each * count > size:
            raise ImageReadError(
                f"cut short or damaged: it declares {count:,} samples of {each:,} bytes, and has {size:,} bytes in all"
            )


def _boxes(file: IO[bytes], begin: int, end: int, depth: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the contents of all boxes at `_PATH`."""
    for _ in range(_MOST_BOXES):
        if begin + 8 > end:
            return
        file.seek(begin)
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        contents = begin + 8
        if length == 1:  # a longer length follows
            length, contents = int.from_bytes(file.read(8), "big"), begin + 16
        close = end if length == 0 else min(end, begin + length)
        if close < contents:
            return
        if kind == _PATH[depth]:
            if depth + 1 == len(_PATH):
                yield contents, close
            else:
                yield from _boxes(file, contents, close, depth + 1)
        begin = close
