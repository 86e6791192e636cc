"""The pixels of an image file without its metadata.

Decoders parse all that a file holds and give up on what is damaged, huge, or endless in it, though the pixels are
fine. Here the file is shown to them without comments, thumbnails, texts and later frames; colour profile and
orientation, the two things that change how the pixels look, are taken out on the way. Nothing is copied: what is left
of the file is read from where it is.

A file that is not built as its format says is handed on as it is: the decoder decides.
"""

from __future__ import annotations

import bisect
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from stylecrafter.errors import ImageReadError

MAX_PARTS = 1_000_000
"""Chunks, segments or blocks of a file; a picture of 100 million pixels in chunks of 8 KiB has a tenth of it."""
MAX_PROFILE_BYTES = 8 * 2**20
"""Of a colour profile; those of printing presses have up to 4 MiB."""
MAX_METADATA_BYTES = 8 * 2**20
"""Of EXIF or XMP that is looked at; the orientation stands at its beginning."""

Piece = bytes | tuple[int, int]


class Unsound(Exception):
    """A file is not built as its format says."""


@dataclass
class Bare:
    """What is left of a file.

    Attributes:
        file: What a decoder should read.
        info: What `colour` asks of a picture, by the names that Pillow uses: icc_profile, gamma, chromaticity, srgb,
            and cicp.
        orientation: 1 to 8; None where the file's metadata was left to the decoder.
    """

    file: IO[bytes]
    info: dict[str, Any] = field(default_factory=dict)
    orientation: int | None = None


def bare_file(file: IO[bytes], name: str) -> Bare:
    """Look at a file from its beginning; `name` is what errors call it.

    Raises:
        ImageReadError: It has more than `MAX_PARTS` parts.
    """
    from stylecrafter.media import bare_jpeg, bare_png, bare_riff, bare_tiff

    head = file.read(32)
    size = file.seek(0, os.SEEK_END)
    known: tuple[tuple[bool, Callable[[IO[bytes], int], Bare]], ...] = (
        (head.startswith(bare_png.SIGNATURE), bare_png.bare_png),
        (head.startswith(b"\xff\xd8\xff"), bare_jpeg.bare_jpeg),
        (head.startswith((b"GIF87a", b"GIF89a")), bare_jpeg.bare_gif),
        (head.startswith(b"RIFF") and head[8:12] == b"WEBP", bare_riff.bare_webp),
        (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1", b"msf1"), bare_riff.bare_avif),
        (head.startswith(b"\0\0\0\x0cjP  "), bare_riff.bare_jp2),
        (head[:4] in bare_tiff.SIGNATURES, bare_tiff.bare_tiff),
    )
    bare = Bare(file)
    for fits, strip in known:
        if fits:
            try:
                bare = strip(file, size)
            except Unsound:
                bare = Bare(file)
            except Refused as error:
                raise ImageReadError(f"{name} {error}.") from error
    bare.file.seek(0)
    return bare


class Refused(Exception):
    """A file has more of something than is ever read, or a decoder would get it wrong; the message says what."""


class Pieces(io.RawIOBase):
    """A file put together from bytes and from ranges (start, stop) of another file."""

    def __init__(self, file: IO[bytes], pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file = file
        self._pieces: list[Piece] = []
        for piece in pieces:
            last = self._pieces[-1] if self._pieces else None
            if isinstance(piece, tuple) and isinstance(last, tuple) and last[1] == piece[0]:
                self._pieces[-1] = (last[0], piece[1])
            elif _length(piece):
                self._pieces.append(piece)
        self._starts = [0]
        for piece in self._pieces:
            self._starts.append(self._starts[-1] + _length(piece))
        self._at = 0
        self._current = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._starts[-1]:
            return 0
        number = bisect.bisect_right(self._starts, self._at) - 1
        piece, inside = self._pieces[number], self._at - self._starts[number]
        length = min(len(buffer), _length(piece) - inside)
        if isinstance(piece, tuple):
            self._file.seek(piece[0] + inside)
            data = self._file.read(length)
        else:
            data = piece[inside : inside + length]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def from_pieces(file: IO[bytes], pieces: Sequence[Piece]) -> IO[bytes]:
    """`Pieces` with a buffer."""
    return io.BufferedReader(Pieces(file, pieces), 2**16)


def read_at(file: IO[bytes], start: int, length: int) -> bytes:
    """Bytes from a place of the file; fewer at its end."""
    file.seek(start)
    return file.read(length)


def count_parts(number: int, what: str) -> None:
    """Raises `Refused` where a file has more than `MAX_PARTS` of something."""
    if number > MAX_PARTS:
        raise Refused(f"is built of too many {what}; the limit is {MAX_PARTS:,}")


def _length(piece: Piece) -> int:
    return piece[1] - piece[0] if isinstance(piece, tuple) else len(piece)
