from __future__ import annotations

import hashlib
import os
import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media import images
from stylecrafter.media.images import MAX_PIXELS, MAX_SIDE, load_picture, read_picture


@pytest.fixture
def gradient() -> Image.Image:
    y, x = np.mgrid[0:24, 0:32]
    return Image.fromarray(np.stack([x * 8, y * 10, x + y], -1).astype(np.uint8))


def huge_png(path: Path, width: int, height: int) -> Path:
    """A valid one-bit picture of any size in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


def test_plain_file(tmp_path: Path, gradient: Image.Image) -> None:
    path = tmp_path / "a.png"
    gradient.save(path)
    picture = read_picture(path)
    assert picture.image.mode == "RGB"
    assert np.array_equal(np.asarray(picture.image), np.asarray(gradient))
    assert (picture.name, picture.path) == ("a.png", path)
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_pil_picture_is_not_changed(gradient: Image.Image) -> None:
    grey = gradient.convert("L")
    assert load_picture(grey).mode == "RGB"
    assert grey.mode == "L"
    assert read_picture(grey).sha256 == read_picture(grey.copy()).sha256
    assert read_picture(grey).sha256 != read_picture(gradient).sha256


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "webp"])
def test_exif_rotation(tmp_path: Path, gradient: Image.Image, orientation: int, kind: str) -> None:
    transpose = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    gradient.save(path, exif=exif, quality=95)
    upright = gradient if transpose is None else gradient.transpose(transpose)
    loaded = load_picture(path)
    assert loaded.size == upright.size
    assert np.abs(np.asarray(loaded, float) - np.asarray(upright, float)).mean() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB-key"])
def test_transparency_is_laid_over_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    if mode in ("RGBA", "LA"):
        image = Image.new(mode, (4, 2), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
        image.putpixel((0, 0), (0, 0, 0, 255) if mode == "RGBA" else (0, 255))
        image.save(path)
    elif mode == "P":
        image = Image.new("P", (4, 2), 1)
        image.putpalette([0, 0, 0, 200, 30, 30])
        image.putpixel((0, 0), 0)
        image.save(path, transparency=1)
    else:
        image = Image.new("RGB", (4, 2), (9, 9, 9))
        image.putpixel((0, 0), (0, 0, 0))
        image.save(path, transparency=(9, 9, 9))
    loaded = load_picture(path)
    assert loaded.getpixel((0, 0)) == (0, 0, 0)
    assert loaded.getpixel((3, 1)) == (255, 255, 255)


def test_half_transparent_mixes_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert load_picture(tmp_path / "a.png").getpixel((0, 0)) == (255, 127, 127)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled(tmp_path: Path, kind: str) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    path = tmp_path / f"a.{kind}"
    Image.fromarray(values).save(path)
    loaded = np.asarray(load_picture(path))[..., 0].reshape(-1)
    assert np.array_equal(loaded, np.arange(256))


def test_float_tiff(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert np.array_equal(np.asarray(load_picture(tmp_path / "a.tiff"))[..., 1].reshape(-1), np.arange(256))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV"])
def test_other_modes_keep_their_colours(tmp_path: Path, gradient: Image.Image, mode: str) -> None:
    loaded = load_picture(gradient.convert(mode))
    assert loaded.mode == "RGB"
    expected = gradient.convert(mode).convert("RGB")
    assert np.abs(np.asarray(loaded, float) - np.asarray(expected, float)).mean() < 2


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (220, 30, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    red, green, blue = load_picture(tmp_path / "a.jpg").getpixel((16, 16))  # type: ignore[misc]
    assert red > 200 and green < 60 and blue < 60


def test_colour_profile_is_applied(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (8, 8), (200, 100, 50))
    image.save(tmp_path / "srgb.png", icc_profile=profile)
    assert load_picture(tmp_path / "srgb.png").getpixel((0, 0)) == (200, 100, 50)
    image.save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    assert load_picture(tmp_path / "broken.png").getpixel((0, 0)) == (200, 100, 50)


def test_wide_gamut_is_brought_to_srgb(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The same profile under another name, with its red and green primaries exchanged.
    other = profile.replace(b"s\0R\0G\0B\0", b"o\0d\0d\0!\0")
    other = other.replace(b"rXYZ", b"tmp.").replace(b"gXYZ", b"rXYZ").replace(b"tmp.", b"gXYZ")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "a.png", icc_profile=other)
    red, green, blue = load_picture(tmp_path / "a.png").getpixel((0, 0))  # type: ignore[misc]
    assert green > 250 and red < 5 and blue < 5


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "lime", "blue")]
    for kind in ("gif", "webp", "png"):
        path = tmp_path / f"a.{kind}"
        extra = {"lossless": True} if kind == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **extra)
        assert load_picture(path).getpixel((4, 4)) == (255, 0, 0)


def test_arrays() -> None:
    rng = np.random.default_rng(0)
    eight = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(load_picture(eight)), eight)
    assert np.array_equal(np.asarray(load_picture(eight.astype(np.float32) / 255)), eight)
    assert np.array_equal(np.asarray(load_picture(eight.astype(np.uint16) * 257)), eight)
    assert np.array_equal(np.asarray(load_picture(eight[..., :1]))[..., 2], eight[..., 0])
    assert load_picture(np.zeros((5, 7, 4), np.uint8)).getpixel((0, 0)) == (255, 255, 255)


def test_arrays_of_other_layouts() -> None:
    eight = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for view in (eight[::-1, ::-1], eight[:, :, ::-1], eight[::2, 1::3], eight.transpose(1, 0, 2)):
        assert np.array_equal(np.asarray(load_picture(view)), view)
        assert np.array_equal(np.asarray(load_picture(view / np.float32(255))), view)
    assert np.array_equal(np.asarray(load_picture((eight.astype(">u2") * 257).astype(">u2"))), eight)
    assert np.abs(np.asarray(load_picture((eight / 255).astype(np.float16)), int) - eight).max() <= 1
    assert np.array_equal(np.asarray(load_picture((eight / 255).astype(np.longdouble))), eight)
    assert load_picture(np.array([[True, False]])).getpixel((0, 0)) == (255, 255, 255)


def test_large_arrays_are_what_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((50, 7, 4))
    whole = np.asarray(load_picture(values))
    monkeypatch.setattr(images, "BAND_PIXELS", 30)
    assert np.array_equal(np.asarray(load_picture(values)), whole)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((2, 3, 4, 5)), "shape"),
        (np.zeros((3, 0)), "shape"),
        (np.zeros(()), "shape"),
        (np.zeros((4, 4, 2)), "shape"),
        (np.full((4, 4), np.nan), "no numbers"),
        (np.array([[0.5, np.inf]]), "no numbers"),
        (np.full((4, 4), 1.5), "from 1.5 to 1.5"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), np.int8), "int8"),
        (np.zeros((4, 4), np.uint32), "uint32"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.zeros((4, 4), object), "object"),
        (np.zeros((4, 4), "datetime64[s]"), "datetime64"),
        (np.zeros((1, MAX_SIDE + 1), np.uint8), f"{MAX_SIDE:,} pixels a side"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), f"{MAX_PIXELS:,} pixels"),
    ],
    ids=str,
)
def test_wrong_arrays(array: np.ndarray, says: str) -> None:
    with pytest.raises(ImageReadError, match=says):
        load_picture(array)


def test_pil_pictures_that_cannot_be_decoded(tmp_path: Path, gradient: Image.Image) -> None:
    gradient.save(tmp_path / "a.png")
    closed = Image.open(tmp_path / "a.png")
    closed.close()
    Image.effect_noise((64, 64), 50).save(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:2000])
    with Image.open(tmp_path / "b.png") as cut:
        for picture in (closed, cut, Image.new("RGB", (0, 4))):
            with pytest.raises(ImageReadError, match="the picture"):
                load_picture(picture)


def test_pil_pictures_are_turned_as_their_owner_says(gradient: Image.Image) -> None:
    gradient.getexif()[0x0112] = 6
    assert np.array_equal(np.asarray(load_picture(gradient)), np.rot90(np.asarray(gradient), -1))
    damaged = gradient.copy()
    damaged.info["exif"] = b"II*\0" + b"\xff" * 40
    assert load_picture(damaged).size == gradient.size


def test_wrong_type() -> None:
    with pytest.raises(ImageReadError, match="int"):
        load_picture(3)  # type: ignore[arg-type]


def test_errors_are_value_errors() -> None:
    assert issubclass(ImageReadError, InvalidInputError) and issubclass(ImageReadError, ValueError)


def damaged(tmp_path: Path, gradient: Image.Image, what: str) -> Path:
    path = tmp_path / f"{what}.png"
    buffer = BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    data = buffer.getvalue()
    if what == "folder":
        path.mkdir()
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "text":
        path.write_text("hello, I am no picture\n" * 10)
    elif what == "svg":
        path.write_text('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>')
    elif what == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif what == "header only":
        path.write_bytes(data[:20])
    elif what == "flipped bytes":
        path.write_bytes(data[:60] + bytes(b ^ 0xFF for b in data[60:200]) + data[200:])
    elif what == "jpeg":
        gradient.resize((64, 64)).save(path, "JPEG")
        path.write_bytes(path.read_bytes()[:700])
    return path


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("missing", "no such picture"),
        ("folder", "is a folder"),
        ("empty", "is empty"),
        ("text", "not a picture"),
        ("svg", "SVG"),
        ("truncated", "damaged"),
        ("header only", "beginning is damaged"),
        ("flipped bytes", "damaged"),
        ("jpeg", "damaged"),
    ],
)
def test_bad_files_give_one_clear_line(tmp_path: Path, gradient: Image.Image, what: str, says: str) -> None:
    path = damaged(tmp_path, gradient, what)
    with pytest.raises(ImageReadError, match=says) as caught:
        load_picture(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_null_byte_in_name() -> None:
    with pytest.raises(ImageReadError):
        load_picture("a\0b.png")


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (12_000, 10_000)])
def test_huge_picture_is_refused_before_decoding(tmp_path: Path, width: int, height: int) -> None:
    path = huge_png(tmp_path / "huge.png", width, height)
    with pytest.raises(ImageReadError) as caught:
        load_picture(path)
    message = str(caught.value)
    assert f"{MAX_PIXELS:,}" in message
    assert f"{width * height:,}" in message or f"{width}x{height}" in message


@pytest.mark.parametrize(("width", "height"), [(1, 1_000_000), (1_000_000, 1)])
def test_strips_are_refused_before_decoding(tmp_path: Path, width: int, height: int) -> None:
    path = huge_png(tmp_path / "strip.png", width, height)
    with pytest.raises(
        ImageReadError, match=rf"{width}x{height} pixels; the limit is {MAX_SIDE:,} pixels a side"
    ):
        load_picture(path)


def test_panoramas_are_read(tmp_path: Path) -> None:
    assert load_picture(huge_png(tmp_path / "wide.png", 30_000, 20)).size == (30_000, 20)


@pytest.mark.parametrize(
    ("kind", "says"), [("png", "1x100000 pixels; the limit is"), ("bitmap", "its beginning is damaged")]
)
def test_an_icon_with_a_huge_picture_inside(
    tmp_path: Path, kind: str, says: str, recwarn: pytest.WarningsRecorder
) -> None:
    inner = huge_png(tmp_path / "inner.png", 1, 100_000).read_bytes()
    if kind == "bitmap":
        inner = struct.pack("<IiiHHIIiiII", 40, 1, 200_000, 1, 32, 0, 0, 0, 0, 0, 0)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    (tmp_path / "a.ico").write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + inner)
    with pytest.raises(ImageReadError, match=says):
        load_picture(tmp_path / "a.ico")
    assert not recwarn.list  # as Pillow leaves where it has decoded another size than the icon's


def test_files_of_any_size_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with open(path, "wb") as file:
        file.truncate(2**40)
    with pytest.raises(ImageReadError, match=r"1,099,511,627,776 bytes; the limit is 1,073,741,824 bytes"):
        load_picture(path)


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in ("/dev/zero", tmp_path / "pipe.png"):
        with pytest.raises(ImageReadError, match="not a plain file"):
            load_picture(path)


def test_much_metadata_around_one_pixel(tmp_path: Path) -> None:
    data = huge_png(tmp_path / "a.png", 1, 1).read_bytes()
    body = b"x" * 20_000_000
    path = tmp_path / "b.png"
    path.write_bytes(data[:33] + struct.pack(">I", len(body)) + b"tEXt" + body + b"\0\0\0\0" + data[33:])
    load_picture(tmp_path / "a.png")
    tracemalloc.start()
    try:
        assert load_picture(path).size == (1, 1)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


FOREIGN = {
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40, "HEIC photo"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
    "page": (b"<!DOCTYPE html><html><svg></svg></html>", "web page"),
    "page with a comment": (b"<!-- x -->\n<html><body>", "web page"),
    "drawing": (b"<!-- made by hand -->\n<!DOCTYPE svg>\n<svg/>", "SVG drawing"),
    "document": (b"%PDF-1.7\n", "PDF document"),
    "clip": (b"\0\0\0\x20ftypisom\0\0\0\0" + b"\0" * 60, "MP4 or MOV clip"),
    "matroska": (b"\x1aE\xdf\xa3" + b"\0" * 60, "Matroska"),
    "mpeg": (b"\0\0\x01\xb3\x10\x00\x10\x13" + b"\0" * 60, "MPEG clip"),
    "program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "PostScript program"),
    "photoshop": (b"8BPS\0\1" + b"\xff" * 60, "Photoshop document"),
    "jpeg xl": (b"\xff\x0a" + b"\x12" * 60, "JPEG XL"),
    "archive": (b"PK\3\4" + b"\0" * 60, "zip archive"),
    "damaged": (b"\x89PNG\r\n\x1a\n" + b"\0" * 60, "starts as a PNG image, but its beginning is damaged"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_other_files_are_told_for_what_they_are(tmp_path: Path, what: str) -> None:
    data, says = FOREIGN[what]
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(ImageReadError, match=says) as caught:
        load_picture(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "txt", "mp4"])
def test_the_ending_of_a_name_says_nothing(tmp_path: Path, gradient: Image.Image, suffix: str) -> None:
    gradient.save(tmp_path / f"a.{suffix}", "PNG")
    assert np.array_equal(np.asarray(load_picture(tmp_path / f"a.{suffix}")), np.asarray(gradient))


def test_large_picture_below_the_limit_is_read_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = huge_png(tmp_path / "large.png", 10_000, 9_000)
    assert load_picture(path).size == (10_000, 9_000)
    assert not recwarn.list
