from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecrafter.errors import ImageReadError
from stylecrafter.media.clips import index_clip, read_clip
from stylecrafter.media.images import decode_picture
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.video import check_frames, read_frames
from tests.media.animation_files import Part, apng_bytes, gif_bytes, shown_over_white

WIDTH, HEIGHT = 12, 10
DISPOSALS = list(itertools.product(("keep", "clear", "restore"), repeat=3))


def frames_of(data: bytes) -> list[np.ndarray]:
    index = index_clip(data, "a.gif")
    return read_clip(data, "a.gif", index, range(len(index.times)), lambda _, frame: np.asarray(frame))


def worst(found: list[np.ndarray], wanted: list[np.ndarray]) -> int:
    assert len(found) == len(wanted)
    return max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(found, wanted, strict=True))


def places(random: np.random.Generator, full: bool) -> tuple[int, int, int, int]:
    if full:
        return WIDTH, HEIGHT, 0, 0
    width, height = (int(n) for n in random.integers(2, 8, 2))
    return (
        width,
        height,
        int(random.integers(0, WIDTH - width + 1)),
        int(random.integers(0, HEIGHT - height + 1)),
    )


def png_chunk(kind: bytes, data: bytes, checksum: bytes = b"") -> bytes:
    checksum = checksum or struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


ODD_CHUNKS = {
    "large": png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2_000_000))),
    "checksum": png_chunk(b"tEXt", b"k\0v", b"none"),
}


@pytest.mark.parametrize("odd", ODD_CHUNKS.values(), ids=ODD_CHUNKS)
@pytest.mark.parametrize("count", [1, 3])
def test_metadata_of_others_is_no_reason_to_refuse_a_png(tmp_path: Path, odd: bytes, count: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [Image.new("RGB", (8, 4), (60 * n, 0, 0)) for n in range(count)]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], exif=exif)
    data = (tmp_path / "a.png").read_bytes()
    linear = png_chunk(b"gAMA", struct.pack(">I", 100_000))
    (tmp_path / "a.png").write_bytes(data[:33] + odd + linear + data[33:])
    frames, _ = read_frames(tmp_path / "a.png")
    greys = [0, 133, 182][:count]
    assert [frame.size for frame in frames] == [(4, 8)] * count
    assert [frame.getpixel((0, 0)) for frame in frames] == [(grey, 0, 0) for grey in greys]
    assert read_metadata(tmp_path / "a.png") is None


@pytest.mark.parametrize("transparent", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_gif_is_drawn_as_browsers_do(transparent: bool, full: bool) -> None:
    random = np.random.default_rng(0)
    for disposals in DISPOSALS:
        parts = []
        for number, dispose in enumerate((*disposals, "keep")):
            width, height, left, top = places(random, full and number == 0)
            pixels = random.integers(0 if transparent else 1, 4, (height, width)).astype(np.uint8)
            parts.append(Part(pixels, left, top, dispose))
        data = gif_bytes(parts, WIDTH, HEIGHT, [5] * len(parts), transparent=transparent)
        assert worst(frames_of(data), shown_over_white(parts, WIDTH, HEIGHT)) == 0, disposals


def test_png_is_drawn_as_browsers_do() -> None:
    random = np.random.default_rng(0)
    for disposals in DISPOSALS:
        parts = []
        for number, dispose in enumerate((*disposals, "keep")):
            width, height, left, top = places(random, number == 0)
            pixels = random.integers(0, 256, (height, width, 4)).astype(np.uint8)
            pixels[..., 3] = random.choice([0, 128, 255], (height, width))
            parts.append(Part(pixels, left, top, dispose, over=bool(random.integers(2))))
        found = frames_of(apng_bytes(parts, WIDTH, HEIGHT, 10))
        assert worst(found, shown_over_white(parts, WIDTH, HEIGHT)) <= 3, disposals


def test_picture_for_other_programs_is_no_frame() -> None:
    red, blue = (
        np.full((HEIGHT, WIDTH, 4), (*colour, 255), np.uint8) for colour in ((255, 0, 0), (0, 0, 255))
    )
    data = apng_bytes([Part(blue), Part(blue)], WIDTH, HEIGHT, 10, hidden_first=red)
    assert [tuple(frame[0, 0]) for frame in frames_of(data)] == [(0, 0, 255)] * 2


def disc(x: int) -> Image.Image:
    """A red disc on nothing; what is nothing has the hidden colour green."""
    mask = np.hypot(*(np.mgrid[0:32, 0:32] - np.array([16, x])[:, None, None])) < 6
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:], pixels[mask] = (0, 255, 0, 0), (255, 0, 0, 255)
    return Image.fromarray(pixels)


EXACT = {
    "GIF": {"disposal": 2},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_transparency_is_over_white_as_in_a_style_picture(tmp_path: Path, kind: str) -> None:
    discs = [disc(8), disc(16), disc(24)]
    buffer = io.BytesIO()
    exact = EXACT.get(kind, {})
    discs[0].save(buffer, kind, save_all=True, append_images=discs[1:], duration=100, **exact)
    found = frames_of(buffer.getvalue())
    for frame, picture in zip(found, discs, strict=True):
        white = Image.alpha_composite(Image.new("RGBA", (32, 32), "white"), picture).convert("RGB")
        assert np.abs(frame.astype(int) - np.asarray(white)).max() <= (30 if kind == "AVIF" else 3)
    assert np.array_equal(found[0], np.asarray(decode_picture(buffer.getvalue(), "a")))
    (tmp_path / "a.mp4").write_bytes(buffer.getvalue())  # what it is, not what it is called
    assert worst([np.asarray(frame) for frame in read_frames(tmp_path / "a.mp4")[0]], found) == 0


def test_frame_numbers_and_times_of_a_gif() -> None:
    parts = [Part(np.full((HEIGHT, WIDTH), 1 + k % 3, np.uint8)) for k in range(4)]
    index = index_clip(gif_bytes(parts, WIDTH, HEIGHT, [10, 0, 30, 10]), "a.gif")
    assert index.times == pytest.approx((0, 0.1, 0.2, 0.5))


def test_delays_do_not_stand_for_frames_without_end(tmp_path: Path) -> None:
    parts = [Part(np.full((HEIGHT, WIDTH), k, np.uint8)) for k in (1, 2)]
    path = tmp_path / "a.gif"
    path.write_bytes(gif_bytes(parts, WIDTH, HEIGHT, [1, 65535]))
    with pytest.raises(ImageReadError, match=r"65,536 frames; the limit is 10,000"):
        read_frames(path)
    assert check_frames(path) == 2


@pytest.mark.parametrize(
    ("canvas", "count", "says"),
    [
        ((65535, 65535), 2, r"4,294,836,225 pixels; the limit is 100,000,000"),
        ((9000, 9000), 300, "2,000,000,000"),
    ],
)
def test_small_file_of_many_pixels(
    monkeypatch: pytest.MonkeyPatch, canvas: tuple[int, int], count: int, says: str
) -> None:
    data = gif_bytes([Part(np.ones((1, 1), np.uint8))] * count, *canvas, [5] * count)
    # The limit comes before the work: nothing is decoded that it does not allow.
    monkeypatch.setattr("stylecrafter.media.animations._Composed._decode", lambda *_: None)
    with pytest.raises(ImageReadError, match=says):
        index_clip(data, "a.gif")


def test_canvas_of_a_webp_is_limited() -> None:
    buffer = io.BytesIO()
    disc(8).save(buffer, "WEBP", save_all=True, append_images=[disc(16)])
    data = bytearray(buffer.getvalue())
    place = data.index(b"VP8X") + 12
    data[place : place + 6] = (16382).to_bytes(3, "little") * 2
    with pytest.raises(ImageReadError, match="the limit is 100,000,000"):
        index_clip(bytes(data), "a.webp")


def test_fewer_frames_than_declared_and_wrong_sums() -> None:
    part = Part(np.full((HEIGHT, WIDTH, 4), 200, np.uint8))
    whole = bytearray(apng_bytes([part] * 3, WIDTH, HEIGHT, 10))
    with pytest.raises(ImageReadError, match="3 of the 2,000,000,003 frames"):
        index_clip(apng_bytes([part] * 3, WIDTH, HEIGHT, 10, more=2_000_000_000), "a.png")
    whole[whole.index(b"fdAT") + 9] ^= 1
    with pytest.raises(ImageReadError, match="damaged"):
        index_clip(bytes(whole), "a.png")


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_cut_anywhere_is_told(kind: str) -> None:
    random = np.random.default_rng(0)
    solid = random.integers(1, 4, (3, HEIGHT, WIDTH)).astype(np.uint8)
    if kind == "gif":
        data = gif_bytes([Part(pixels) for pixels in solid], WIDTH, HEIGHT, [5] * 3)
    else:
        data = apng_bytes([Part(np.dstack([pixels * 60] * 4)) for pixels in solid], WIDTH, HEIGHT, 10)
    for end in range(1, len(data) - 12, 5):
        try:
            found = index_clip(data[:end], "a")
        except ImageReadError as error:
            assert "\n" not in str(error)
        else:
            # A gif may lack its last byte, so one that ends between two frames is whole.
            assert kind == "gif" and len(found.times) <= 3
