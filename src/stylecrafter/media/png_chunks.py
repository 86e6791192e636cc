"""The chunks of PNG files: those that pixels need, without the others that decoders give up on."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

from PIL import Image

from stylecrafter.errors import ImageReadError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 1_000_000
"""A picture of 100 million pixels in chunks of 8 KiB has a tenth of it."""
MAX_METADATA_BYTES = 8 * 2**20
"""Of a colour profile (those of printing presses have up to 4 MiB), of EXIF, or of XMP that is looked at."""

Info = dict[str | tuple[int, int], Any]

#: What pixels need. Without the frames of an animation its first is left, or the picture shown instead.
_PIXELS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"CgBI"))
_FRAMES = frozenset((b"acTL", b"fcTL", b"fdAT"))
#: How they look, with the length that it has.
_LOOKS = {b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
#: Texts that may say how it is turned, by the names that Pillow has for them.
_TURNS = {
    b"XML:com.adobe.xmp": "xmp",
    b"Raw profile type exif": "Raw profile type exif",
    b"Raw profile type APP1": "Raw profile type exif",
}
_END = b"\0\0\0\0IEND\xaeB`\x82"
#: In a PNG of fewer bits, how far two greys lie apart in 8 bits.
_GREY_STEPS = {"L;2": 85, "L;4": 17}


def open_png(file: IO[bytes]) -> Image.Image:
    """The picture alone, its `info` with what it says of colours and turns, and its number of "frames" if it moves.

    Raises:
        ImageReadError: It has more than `MAX_CHUNKS` chunks.
        Exception: Of any kind, as Pillow has them for damaged files.
    """
    info: Info = {}
    pixels = _copied(file, _PIXELS, info)
    image = Image.open(pixels, formats=("PNG",))
    image.info = info | image.info
    _mend_transparency(image)
    return image


def frames_of_png(file: IO[bytes]) -> io.BytesIO:
    """An animated PNG without its metadata.

    Raises:
        ImageReadError: As `open_png`.
    """
    return _copied(file, _PIXELS | _FRAMES, {})


def _copied(file: IO[bytes], needed: frozenset[bytes], info: Info) -> io.BytesIO:
    """The chunks that are needed, with those on looks that are sound; `info` takes what Pillow leaves unsaid."""
    size = file.seek(0, os.SEEK_END)
    copy = io.BytesIO()
    copy.write(SIGNATURE)
    has_pixels = False
    for kind, at, length in _chunks(file):
        has_pixels = has_pixels or kind == b"IDAT"
        if kind in needed:
            copy.write(_read_at(file, at, 12 + length))
        elif at + 12 + length > size or length > MAX_METADATA_BYTES:
            continue
        elif _LOOKS.get(kind) == length or kind == b"eXIf":
            if _contents(file, kind, at, length) is not None:
                copy.write(_read_at(file, at, 12 + length))
        elif kind == b"acTL" and length == 8 and not has_pixels:
            info["frames"] = int.from_bytes(_read_at(file, at + 8, 4), "big")
        else:
            _note(info, file, kind, at, length)
    copy.write(_END)
    copy.seek(0)
    return copy


def text_of_png(file: IO[bytes], keyword: bytes, limit: int) -> str:
    """What a PNG says under a keyword; empty where it says nothing.

    Raises:
        ImageReadError: Its checksum is wrong, it has more than `limit` bytes, or there are more than `MAX_CHUNKS`
            chunks.
    """
    for kind, at, length in _chunks(file):
        if kind not in _TEXTS or _read_at(file, at + 8, len(keyword) + 1) != keyword + b"\0":
            continue
        if length > limit:
            raise ImageReadError(f"has settings that are too large: more than {limit:,} characters")
        data = _contents(file, kind, at, length)
        if data is None:
            raise ImageReadError("is damaged: a checksum is wrong")
        return _text(kind, data)
    return ""


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place, and length of the contents of all chunks before the last."""
    at, number = len(SIGNATURE), 0
    while len(head := _read_at(file, at, 8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if (number := number + 1) > MAX_CHUNKS:
            raise ImageReadError(f"is built of too many chunks; the limit is {MAX_CHUNKS:,}")
        yield kind, at, length
        at += 12 + length


def _contents(file: IO[bytes], kind: bytes, at: int, length: int) -> bytes | None:
    """What a chunk holds; None where its checksum is wrong."""
    data, checksum = _read_at(file, at + 8, length), _read_at(file, at + 8 + length, 4)
    return data if zlib.crc32(kind + data).to_bytes(4, "big") == checksum else None


def _note(info: Info, file: IO[bytes], kind: bytes, at: int, length: int) -> None:
    """Keep what a chunk says that Pillow passes over, or holds to tighter limits."""
    keyword = _read_at(file, at + 8, min(length, 80)).split(b"\0")[0] if kind in _TEXTS else b""
    if kind not in (b"iCCP", b"cICP") and keyword not in _TURNS:
        return
    data = _contents(file, kind, at, length)
    if data is None:
        return
    if kind == b"iCCP":
        # What cannot be unpacked is a broken profile, of which `colour` speaks.
        info.setdefault("icc_profile", _inflate(data.partition(b"\0")[2][1:]) or b"damaged")
    elif kind in _TEXTS:
        info.setdefault(_TURNS[keyword], _text(kind, data))
    elif length == 4:
        info.setdefault("cicp", tuple(data))


def _text(kind: bytes, data: bytes) -> str:
    """What stands behind the keyword of a text chunk; empty where it is damaged."""
    text = data.partition(b"\0")[2]
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = text[:1] == b"\x01"
        parts = text[2:].split(b"\0", 2)  # language, translated keyword, text
        text = parts[2] if len(parts) == 3 else b""
    elif packed:
        text = text[1:]
    return ((_inflate(text) or b"") if packed else text).decode("utf-8", "replace")


def _inflate(data: bytes) -> bytes | None:
    """Unpack zlib data; None where it is damaged or holds more than `MAX_METADATA_BYTES`."""
    try:
        unpacked = zlib.decompressobj().decompress(data, MAX_METADATA_BYTES + 1)
    except zlib.error:
        return None
    return unpacked if len(unpacked) <= MAX_METADATA_BYTES else None


def _mend_transparency(image: Any) -> None:
    """Name the transparent grey or colour in 8 bits, as the pixels are: Pillow compares it as the file has it."""
    named, depth = image.info.get("transparency"), image.tile[0].args if image.tile else None
    if isinstance(named, int) and depth in _GREY_STEPS:
        image.info["transparency"] = named * _GREY_STEPS[depth] & 255
    elif isinstance(named, tuple) and depth == "RGB;16B":
        image.info["transparency"] = tuple(part >> 8 for part in named)


def _read_at(file: IO[bytes], start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
