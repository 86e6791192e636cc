"""Pictures whose metadata is damaged, huge or odd: the pixels are there, and stand upright."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from stylecrafter.errors import ImageReadError
from stylecrafter.media import png_chunks
from stylecrafter.media.images import decode_picture, load_picture
from tests.media.profiles import SRGB, rgb_profile


def picture() -> Image.Image:
    y, x = np.mgrid[0:24, 0:32]
    return Image.fromarray(np.stack([x * 8, y * 10, x * 0 + 40], -1).astype(np.uint8))


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    quality = (
        {"lossless": True} if kind == "webp" else {"quality": 95, "subsampling": 0} if kind == "jpeg" else {}
    )
    (image or picture()).save(buffer, kind, **{**quality, **options})
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode_picture(data, "x"), np.int16)


def png_chunk(kind: bytes, data: bytes, checksum: bytes | None = None) -> bytes:
    return (
        struct.pack(">I", len(data)) + kind + data + (checksum or struct.pack(">I", zlib.crc32(kind + data)))
    )


def tiff_block(order: str, entries: list[tuple[int, int, int, bytes]], claimed: int | None = None) -> bytes:
    """EXIF of one directory, of (tag, type, count, value of four bytes)."""
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, claimed or len(entries))
    for tag, kind, count, value in entries:
        block += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    return block + b"\0\0\0\0"


def turned(order: str, value: int = 6) -> tuple[int, int, int, bytes]:
    return (0x0112, 3, 1, struct.pack(order + "H", value))


FINE = {
    "little": tiff_block("<", [turned("<")]),
    "big": tiff_block(">", [turned(">")]),
    "as LONG": tiff_block(">", [(0x0112, 4, 1, struct.pack(">I", 6))]),
    "as BYTE": tiff_block("<", [(0x0112, 1, 1, b"\6")]),
    "as SLONG": tiff_block("<", [(0x0112, 9, 1, struct.pack("<i", 6))]),
    "negative SHORT": tiff_block("<", [(0x0100, 8, 1, b"\xff\xff"), turned("<")]),
    "rational without a place": tiff_block("<", [(0x011A, 5, 1, struct.pack("<I", 10**9)), turned("<")]),
    "rational of zero": tiff_block("<", [(0x011A, 5, 1, struct.pack("<I", 0)), turned("<")]),
    "huge count": tiff_block("<", [(0x010E, 2, 2**32 - 1, b"\0"), turned("<")]),
    "unknown type": tiff_block("<", [(0x010E, 200, 9, b"abcd"), turned("<")]),
    "text as number": tiff_block(">", [(0x0110, 3, 3, b"ab"), turned(">")]),
    "wrong inner directory": tiff_block("<", [turned("<"), (0x8769, 4, 1, struct.pack("<I", 8))]),
    "wrong count of entries": tiff_block("<", [turned("<")], claimed=60_000),
    "cut behind it": tiff_block("<", [turned("<"), (0x0132, 2, 20, b"\xff\xff\0\0")])[:-12],
    "marked twice": b"Exif\0\0" + tiff_block("<", [turned("<")]),
}
NONE = {
    "none": tiff_block("<", []),
    "zero": tiff_block("<", [turned("<", 0)]),
    "nine": tiff_block("<", [turned("<", 9)]),
    "garbage": tiff_block("<", [turned("<", 0xFFFF)]),
    "two of them": tiff_block("<", [(0x0112, 3, 2, b"\6\0\6\0")]),
    "text": tiff_block("<", [(0x0112, 2, 1, b"6")]),
    "no directory": b"II*\0\xff\xff\xff\xff",
    "noise": bytes(range(256)),
    "another order": b"XX" + tiff_block("<", [turned("<")])[2:],
    "empty": b"",
}
CONTAINERS = ["jpeg", "png", "webp"]


def with_exif(kind: str, exif: bytes) -> bytes:
    plain = encoded(kind)
    if kind == "jpeg":
        body = b"Exif\0\0" + exif
        return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]
    if kind == "png":
        return plain[:33] + png_chunk(b"eXIf", exif) + plain[33:]
    head = b"VP8X\n\0\0\0" + bytes([0x08, 0, 0, 0]) + (31).to_bytes(3, "little") + (23).to_bytes(3, "little")
    tail = b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    body = b"WEBP" + head + plain[12:] + tail
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("exif", FINE.values(), ids=FINE)
def test_the_orientation_alone_is_read(kind: str, exif: bytes) -> None:
    expected = np.rot90(pixels(encoded(kind)), -1)
    assert np.array_equal(pixels(with_exif(kind, exif)), expected)


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("exif", NONE.values(), ids=NONE)
def test_what_is_no_orientation_turns_nothing(kind: str, exif: bytes) -> None:
    assert np.array_equal(pixels(with_exif(kind, exif)), pixels(encoded(kind)))


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize(
    ("exif", "turns"),
    [(None, 1), (NONE["none"], 1), (tiff_block("<", [turned("<", 1)]), 0), (NONE["noise"], 1)],
)
def test_orientation_in_xmp_counts_where_exif_has_none(exif: bytes | None, turns: int) -> None:
    jpeg = encoded("jpeg") if exif is None else with_exif("jpeg", exif)
    body = b"http://ns.adobe.com/xap/1.0/\0" + XMP
    jpeg = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    assert np.array_equal(pixels(jpeg), np.rot90(pixels(encoded("jpeg")), -turns))


@pytest.mark.parametrize("packed", [False, True])
def test_orientation_in_the_texts_of_a_png(packed: bool) -> None:
    plain = encoded("png")
    text = zlib.compress(XMP) if packed else XMP
    xmp = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes([packed, 0]) + b"\0\0" + text)
    expected = np.rot90(pixels(plain), -1)
    assert np.array_equal(pixels(plain[:33] + xmp + plain[33:]), expected)
    lines = b"\nexif\n  100\n" + FINE["big"].hex().encode()
    raw = b"Raw profile type exif\0" + (b"\0" + zlib.compress(lines) if packed else lines)
    assert np.array_equal(
        pixels(plain[:33] + png_chunk(b"zTXt" if packed else b"tEXt", raw) + plain[33:]), expected
    )


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("big", [False, True])
def test_orientation_of_a_tiff_and_odd_tags(compression: str | None, big: bool) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010E] = "x" * 3_000
    data = encoded("tiff", exif=tags, compression=compression, big_tiff=big)
    expected = np.rot90(pixels(encoded("tiff")), -1)
    assert np.array_equal(pixels(data), expected)
    # The description is said to be 4 GB of numbers far behind the file's end.
    entry = data.index(struct.pack("<HH", 0x010E, 2))
    odd = data[: entry + 2] + struct.pack("<HI", 12, 2**31) + data[entry + 8 :]
    assert np.array_equal(pixels(odd), expected)


def test_a_tiff_whose_pages_go_round() -> None:
    data = bytearray(encoded("tiff"))
    start = struct.unpack_from("<I", data, 4)[0]
    following = start + 2 + 12 * struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, following, start)
    assert np.array_equal(pixels(bytes(data)), pixels(encoded("tiff")))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("odd", [b"\x0e\x01\x08\0\1\0\0\0\xff\xff\0\0", b"\xff" * 12, b""])
def test_an_avif_is_turned_once(odd: bytes) -> None:
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 6, "described well"
    data = encoded("avif", quality=100, subsampling="4:4:4", exif=tags)
    # The one entry of its EXIF stands 16 bytes before the text; the turn is a property of the file.
    entry = data.index(b"described well") - 16
    data = data[:entry] + odd + data[entry + len(odd) :]
    expected = np.rot90(np.asarray(picture(), np.int16), -1)
    assert np.abs(pixels(data) - expected).mean() < 3


BIG_TEXT = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * 3 * 2**20))
PROFILE = b"name\0\0"


@pytest.mark.parametrize(
    "odd",
    [
        BIG_TEXT,
        BIG_TEXT * 30,
        png_chunk(b"iTXt", b"note\0\1\0\0\0" + zlib.compress(b"a" * 3 * 2**20)),
        png_chunk(b"iTXt", b"\xff\xfe no end"),
        png_chunk(b"zTXt", b"note\0\7 no such packing"),
        png_chunk(b"iCCP", PROFILE + zlib.compress(b"\0" * 3 * 2**20)),
        png_chunk(b"iCCP", PROFILE + zlib.compress(b"\0" * 30 * 2**20)),
        png_chunk(b"iCCP", PROFILE + b"not packed"),
        png_chunk(b"iCCP", b""),
        png_chunk(b"tEXt", b"note\0text", b"\1\2\3\4"),
        png_chunk(b"eXIf", FINE["little"], b"\1\2\3\4"),
        png_chunk(b"gAMA", b""),
        png_chunk(b"cHRM", b"\0"),
        png_chunk(b"pHYs", b"\0"),
        png_chunk(b"tIME", b""),
        png_chunk(b"acTL", b""),
        png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
    ],
    ids=range(17),
)
@pytest.mark.parametrize("behind", [False, True])
def test_a_png_with_odd_chunks(odd: bytes, behind: bool) -> None:
    plain = encoded("png")
    at = len(plain) - 12 if behind else 33
    assert np.array_equal(pixels(plain[:at] + odd + plain[at:]), pixels(plain))


def test_a_png_without_its_end() -> None:
    plain = encoded("png")
    assert np.array_equal(pixels(plain[:-12]), pixels(plain))
    assert np.array_equal(pixels(plain[:-12] + png_chunk(b"tEXt", b"note\0" + b"x" * 99)[:50]), pixels(plain))


def test_a_large_profile_is_used() -> None:
    profile = rgb_profile(SRGB, 1.0)
    large = profile + b"\0" * 2 * 2**20
    large = struct.pack(">I", len(large)) + large[4:]
    grey = encoded("png", Image.new("RGB", (4, 4), (60, 60, 60)))
    data = grey[:33] + png_chunk(b"iCCP", PROFILE + zlib.compress(large)) + grey[33:]
    assert decode_picture(data, "x").getpixel((0, 0)) == (133, 133, 133)


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    "odd",
    [
        segment(0xE2, b"MPF\0" + b"\xff" * 60),
        segment(0xE2, b"MPF\0II*\0\x08\0\0\0" + struct.pack("<H", 3) + b"\xb0\x01" * 30),
        segment(0xE2, b"ICC_PROFILE\0\1\2" + b"half a profile"),
        segment(0xE2, b"ICC_PROFILE\0\0\0"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xED, b"Photoshop 3.0\0008BIM\x04\x04\xff" + b"\xff" * 40),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe<"),
        segment(0xE0, b"JFXX\0\x10"),
        segment(0xFE, b"\xff\xd8 a comment"),
        segment(0xE1, b"") * 500,
        b"\xff" * 9 + segment(0xFE, b""),
    ],
    ids=range(11),
)
def test_a_jpeg_with_odd_segments(odd: bytes) -> None:
    plain = encoded("jpeg")
    assert np.array_equal(pixels(plain[:2] + odd + plain[2:]), pixels(plain))


def test_a_profile_in_many_segments_of_a_jpeg() -> None:
    profile = rgb_profile(SRGB, 1.0)
    parts = [profile[at : at + 500] for at in range(0, len(profile), 500)]
    segments = [
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number + 1, len(parts)]) + part)
        for number, part in enumerate(parts)
    ]
    grey = encoded("jpeg", Image.new("RGB", (16, 16), (60, 60, 60)))
    for order in (segments, segments[::-1]):
        assert decode_picture(grey[:2] + b"".join(order) + grey[2:], "x").getpixel((8, 8)) == (133, 133, 133)
    assert decode_picture(grey[:2] + b"".join(segments[1:]) + grey[2:], "x").getpixel((8, 8)) == (60, 60, 60)


@pytest.mark.parametrize("behind", [b"EXIF\xff\xff\xff\x7fII*\0", b"EXIF\x04\0\0\0abc", b"XMP \0\0", b"JUNK"])
def test_a_webp_with_a_broken_end(behind: bytes) -> None:
    plain = with_exif("webp", FINE["little"])
    data = plain[:4] + struct.pack("<I", len(plain) - 8 + len(behind)) + plain[8:] + behind
    assert np.array_equal(pixels(data), pixels(plain))


@pytest.mark.parametrize(
    "block", [b"!\xfe" + b"\xff" + b"x" * 255 + b"\0", b"!\xff\x0bNETSCAPE9.9\0", b"!\x01\x02??\0"]
)
def test_a_gif_with_odd_blocks(block: bytes) -> None:
    plain = encoded("gif")
    at = 13 + 3 * 2 ** ((plain[10] & 7) + 1)
    assert np.array_equal(pixels(plain[:at] + block * 200 + plain[at:]), pixels(plain))


def never_ending(kind: str) -> bytes:
    """An animation of two frames of which the second is garbage."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime")]
    data = encoded(kind, frames[0], save_all=True, append_images=frames[1:], duration=100)
    return data[: data.rindex({"gif": b"!\xf9", "webp": b"ANMF", "png": b"fdAT"}[kind]) + 8] + b"\xee" * 40


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_of_an_animation_only_the_first_frame_is_looked_at(kind: str) -> None:
    assert decode_picture(never_ending(kind), "x").getpixel((8, 8)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "tiff"])
def test_cut_pixels_stay_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    options = {"compression": "tiff_lzw"} if kind == "tiff" else {}
    data = encoded(kind, noise, **options)
    with pytest.raises(ImageReadError, match="damaged"):
        decode_picture(data[: len(data) // 2], "x")


def test_too_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_chunks, "MAX_CHUNKS", 20)
    plain = encoded("png")
    with pytest.raises(ImageReadError, match=r"x is built of too many chunks; the limit is 20\."):
        decode_picture(plain[:33] + png_chunk(b"tEXt", b"") * 30 + plain[33:], "x")


def change_entry(data: bytes, tag: int, kind: int, count: int, value: int) -> bytes:
    """A little-endian TIFF whose entry `tag` says something else."""
    start = struct.unpack_from("<I", data, 4)[0]
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            return data[:at] + struct.pack("<HHII", tag, kind, count, value) + data[at + 12 :]
    raise ValueError(f"no tag {tag}")


def test_absurd_tiffs() -> None:
    plain = encoded("tiff")
    with pytest.raises(ImageReadError, match="x starts as a TIFF image, but its beginning is damaged"):
        decode_picture(change_entry(plain, 273, 4, 10_000_000, 8), "x")
    # Two entries that a small picture can do without become the sides of its tiles.
    plain = encoded("tiff", picture().convert("L"))
    for tag, side in ((278, 322), (262, 323)):
        plain = change_entry(plain, tag, 4, 1, 60_000)
        plain = plain.replace(struct.pack("<HHI", tag, 4, 1), struct.pack("<HHI", side, 4, 1))
    with pytest.raises(ImageReadError, match="tiles of 60000x60000 pixels; the limit is"):
        decode_picture(plain, "x")


def test_a_tiff_that_would_be_read_in_wrong_colours_is_refused() -> None:
    grey = Image.fromarray(np.full((4, 4), 44_975, np.uint16))
    assert pixels(encoded("tiff", grey)).max() == 175
    with pytest.raises(ImageReadError, match="x is a 16-bit TIFF of a rare kind"):
        decode_picture(change_entry(encoded("tiff", grey), 262, 3, 1, 0), "x")
    planes = change_entry(encoded("tiff"), 284, 3, 1, 2)
    with pytest.raises(ImageReadError, match="save it as PNG"):
        decode_picture(planes.replace(struct.pack("<3H", 8, 8, 8), struct.pack("<3H", 16, 16, 16)), "x")


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
def test_profile_of_a_jpeg_2000() -> None:
    data = encoded("jpeg2000", Image.new("RGB", (32, 32), (60, 60, 60)))
    at, header = data.index(b"colr") - 4, data.index(b"jp2h") - 4
    box, whole = (int.from_bytes(data[start : start + 4], "big") for start in (at, header))
    profile = b"colr\2\0\0" + rgb_profile(SRGB, 1.0)
    for method, grey in ((profile, 133), (b"colr\2\0\0" + b"no profile", 60)):
        new = struct.pack(">I", len(method) + 4) + method
        moved = struct.pack(">I", whole + len(new) - box)
        odd = data[:header] + moved + data[header + 4 : at] + new + data[at + box :]
        assert decode_picture(odd, "x").getpixel((9, 9)) == (grey,) * 3


FAULTS = Path(__file__).parents[3] / "shared" / "faults" / "pictures"


@pytest.mark.skipif(not FAULTS.is_dir(), reason="needs ../shared/faults")
@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("short_as_neg.jpg", lambda image: image.size == (80, 96)),
        ("exif_garbage.png", lambda image: image.getpixel((0, 40)) == (40, 130, 120)),
        ("ztxt_2mb.png", lambda image: image.getpixel((0, 40)) == (40, 130, 120)),
    ],
)
def test_known_faults(name: str, check: Callable[[Image.Image], bool]) -> None:
    assert check(load_picture(FAULTS / name))
