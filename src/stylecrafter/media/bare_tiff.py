"""TIFF files without their metadata; see `bare`."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from stylecrafter.media.bare import (
    MAX_METADATA_BYTES,
    MAX_PROFILE_BYTES,
    Bare,
    Piece,
    Refused,
    Unsound,
    from_pieces,
    read_at,
)
from stylecrafter.media.orientation import xmp_orientation

#: Two orders of bytes, each in files of up to 4 GiB and in larger ones.
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Sides, samples, compression, strips, tiles, palette, and what the codecs keep for themselves.
_NEEDED = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 280, 281, 284, 290, 291, 292, 293, 297)
    + (317, 320, 322, 323, 324, 325, 332, 333, 334, 336, 338, 339, 340, 341, 347)
    + (512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 50674)
)
_ORIENTATION, _XMP, _ICC, _TILE_WIDTH, _TILE_LENGTH = 274, 700, 34675, 322, 323
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_BITS, _MEANING, _PLANES = 258, 262, 284
_MAX_VALUE_BYTES = 8 * 2**20
_MAX_TILE = 65_536 * 1024


@dataclass(frozen=True)
class _Entry:
    raw: bytes
    kind: int
    count: int
    inline: bytes

    @property
    def size(self) -> int:
        return _SIZES.get(self.kind, 1) * self.count


def bare_tiff(file: IO[bytes], size: int) -> Bare:
    """The first page alone, with its profile and orientation taken out of its directory.

    Raises:
        Unsound: It has no directory.
        Refused: A value that pixels need has more than 8 MiB, tiles are absurdly large, or Pillow would read other
            colours than there are.
    """
    head = read_at(file, 0, 16)
    order, big = ("<" if head[:2] == b"II" else ">"), b"+" in head[2:4]
    start = int(struct.unpack_from(order + ("Q" if big else "I"), head.ljust(16, b"\0"), 8 if big else 4)[0])
    count_size, width = (8, 20) if big else (2, 12)
    counted = read_at(file, start, count_size) if start < size else b""
    if len(counted) < count_size:
        raise Unsound
    count = int(struct.unpack(order + ("Q" if big else "H"), counted)[0])
    if count > 65_535:
        raise Unsound
    table = read_at(file, start + count_size, count * width)
    entries: dict[int, _Entry] = {}
    for at in range(0, len(table) - width + 1, width):
        raw = table[at : at + width]
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), raw)
        entries[tag] = _Entry(raw, kind, values, raw[12:] if big else raw[8:])
    kept = [entries[tag] for tag in sorted(entries) if tag in _NEEDED]
    for entry in kept:
        if entry.size > _MAX_VALUE_BYTES:
            raise Refused(
                f"has a directory entry of {entry.size:,} bytes; the limit is {_MAX_VALUE_BYTES:,} bytes"
            )
    _check_tiles(entries, order)
    _check_depth(file, entries, order)
    directory = struct.pack(order + ("Q" if big else "H"), len(kept)) + b"".join(entry.raw for entry in kept)
    directory += b"\0" * (8 if big else 4)  # and no further page
    stop = min(size, start + count_size + len(table) + (8 if big else 4))
    patched = directory.ljust(stop - start, b"\0")
    info, orientation = _facts(file, entries, order)
    pieces: list[Piece] = [(0, start), patched, (start + len(patched), max(size, start + len(patched)))]
    return Bare(from_pieces(file, pieces), info, orientation)


def _facts(file: IO[bytes], entries: Mapping[int, _Entry], order: str) -> tuple[dict[str, Any], int]:
    info: dict[str, Any] = {}
    if _ICC in entries:
        info["icc_profile"] = _value(file, entries[_ICC], order, MAX_PROFILE_BYTES) or b"damaged"
    orientation = _whole(entries.get(_ORIENTATION), order)
    if orientation not in range(1, 9):
        xmp = _value(file, entries[_XMP], order, MAX_METADATA_BYTES) if _XMP in entries else None
        orientation = xmp_orientation(xmp) or 1
    return info, orientation


def _value(file: IO[bytes], entry: _Entry, order: str, limit: int) -> bytes | None:
    """The bytes of a value; None where there are more than `limit`, or fewer than it says."""
    if entry.size > limit:
        return None
    if entry.size <= len(entry.inline):
        return entry.inline[: entry.size]
    place = int(struct.unpack(order + ("Q" if len(entry.inline) == 8 else "I"), entry.inline)[0])
    value = read_at(file, place, entry.size) if place < 2**62 else b""
    return value if len(value) == entry.size else None


def _whole(entry: _Entry | None, order: str) -> int:
    """The one whole number of an entry; 0 where it is something else."""
    form = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}.get(entry.kind) if entry else None
    if entry is None or form is None or entry.count != 1 or entry.size > len(entry.inline):
        return 0
    return int(struct.unpack_from(order + form, entry.inline)[0])


def _check_tiles(entries: Mapping[int, _Entry], order: str) -> None:
    """A decoder makes room for a whole tile, however small the picture."""
    width, length = (_whole(entries.get(tag), order) for tag in (_TILE_WIDTH, _TILE_LENGTH))
    if width * length > _MAX_TILE:
        raise Refused(f"has tiles of {width}x{length} pixels; the limit is {_MAX_TILE:,} pixels")


def _check_depth(file: IO[bytes], entries: Mapping[int, _Entry], order: str) -> None:
    """Of 16 bits a sample, Pillow mixes up planes that lie apart, and takes greys that begin with white for others."""
    bits = _value(file, entries[_BITS], order, 64) if _BITS in entries else None
    if bits is None or struct.unpack_from(f"{order}H", bits.ljust(2, b"\0"))[0] != 16:
        return
    planes, meaning = (_whole(entries.get(tag), order) for tag in (_PLANES, _MEANING))
    if (planes == 2 and len(bits) > 2) or (_MEANING in entries and meaning == 0):
        raise Refused("is a 16-bit TIFF of a rare kind that would be read in wrong colours; save it as PNG")
