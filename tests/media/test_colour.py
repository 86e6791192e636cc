"""What colours pictures of every mode have once they are sRGB."""

from __future__ import annotations

import logging
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from stylecrafter.media import colour
from stylecrafter.media.images import decode_picture, load_picture
from tests.media.profiles import (
    ADOBE,
    SRGB,
    cmyk_profile,
    grey_profile,
    linear_to_srgb,
    rgb_profile,
    srgb_to_linear,
)

ADOBE_RGB = rgb_profile(ADOBE, 563 / 256, "Adobe RGB (1998)")
LINEAR = np.rint(linear_to_srgb(np.arange(256) / 255) * 255).astype(np.uint8)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.int16)


@pytest.fixture
def colours() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    values[0, :4] = ((255, 0, 0), (60, 60, 60), (128, 128, 128), (255, 255, 255))
    return Image.fromarray(values)


def saved(image: Image.Image, kind: str = "png", **options: object) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return decode_picture(buffer.getvalue(), f"picture.{kind}")


def adobe_to_srgb(image: Image.Image) -> np.ndarray:
    """By the definition of both spaces, without a colour engine."""
    linear = (pixels(image) / 255) ** (563 / 256)
    xyz = linear @ np.asarray(ADOBE)
    rgb = np.clip(xyz @ np.linalg.inv(np.asarray(SRGB)), 0, 1)
    return np.rint(linear_to_srgb(rgb) * 255)


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_profile_is_applied_with_and_without_alpha(colours: Image.Image, mode: str, kind: str) -> None:
    options = {"lossless": True} if kind == "webp" else {}
    loaded = saved(colours.convert(mode), kind, icc_profile=ADOBE_RGB, **options)
    assert np.abs(pixels(loaded) - adobe_to_srgb(colours)).max() <= 2
    assert np.array_equal(pixels(loaded), pixels(saved(colours, kind, icc_profile=ADOBE_RGB, **options)))


def test_alpha_is_kept_while_colours_are_converted() -> None:
    image = Image.new("RGBA", (4, 4), (60, 60, 60, 0))
    image.paste((60, 60, 60, 128), (0, 0, 2, 4))
    loaded = saved(image, icc_profile=rgb_profile(SRGB, 1.0))
    assert loaded.getpixel((3, 0)) == (255, 255, 255)
    half = (133 * 128 + 255 * 127) / 255
    assert loaded.getpixel((0, 0)) == pytest.approx((half,) * 3, abs=1)


@pytest.mark.parametrize("transparent", [False, True])
def test_profile_is_applied_to_a_palette(colours: Image.Image, transparent: bool) -> None:
    image = colours.quantize(64)
    expected = adobe_to_srgb(image.convert("RGB"))
    options = {"transparency": image.getpixel((5, 5))} if transparent else {}
    loaded = pixels(saved(image, icc_profile=ADOBE_RGB, **options))
    if transparent:
        hole = np.asarray(image) == image.getpixel((5, 5))
        assert (loaded[hole] == 255).all()
        expected[hole] = 255
    assert np.abs(loaded - expected).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
@pytest.mark.parametrize("profile", [grey_profile(1.0), rgb_profile(SRGB, 1.0)], ids=["grey", "rgb"])
def test_profile_is_applied_to_grey(mode: str, profile: bytes) -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert(mode)
    loaded = pixels(saved(ramp, icc_profile=profile))
    assert np.abs(loaded - LINEAR[np.asarray(ramp.convert("L"))][..., None]).max() <= 1


def test_profile_is_applied_to_sixteen_bit_grey() -> None:
    values = np.linspace(0, 65535, 1024).astype(np.uint16).reshape(32, 32)
    loaded = pixels(saved(Image.fromarray(values), icc_profile=grey_profile(1.0)))
    expected = np.rint(linear_to_srgb(values / 65535) * 255)
    bright = values > 257 * 4
    assert np.abs(loaded[..., 1] - expected)[bright].max() <= 1
    assert (np.diff(loaded[..., 0].reshape(-1)) >= 0).all() and len(np.unique(loaded)) > 200


@pytest.mark.parametrize("kind", ["tiff", "jpeg"])
def test_profile_is_applied_to_cmyk(kind: str) -> None:
    # Yellow ink paints the paper blue and the others nothing: a plain conversion would do neither.
    profile = cmyk_profile(lambda c, m, y, k: ((100 - 20 * y) * (1 - k), 0, -60 * y * (1 - k)))
    options = {"quality": 100, "subsampling": 0} if kind == "jpeg" else {}
    expected = {
        (0, 0, 0, 0): (255, 255, 255),
        (0, 0, 0, 128): (118, 118, 118),
        (0, 0, 255, 0): (128, 202, 255),
    }
    for ink, seen in {**expected, (255, 255, 0, 0): (255, 255, 255), (0, 0, 0, 255): (0, 0, 0)}.items():
        loaded = saved(Image.new("CMYK", (16, 16), ink), kind, icc_profile=profile, **options)
        assert loaded.getpixel((8, 8)) == pytest.approx(seen, abs=3)


def test_a_name_says_nothing(colours: Image.Image) -> None:
    linear = [rgb_profile(SRGB, 1.0, name) for name in ("linear sRGB", "sRGB IEC61966-2.1", "linear Rec709")]
    results = [saved(colours, icc_profile=profile) for profile in linear]
    assert results[0].getpixel((1, 0)) == (133, 133, 133)
    assert all(np.array_equal(pixels(results[0]), pixels(other)) for other in results[1:])


@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        rgb_profile(SRGB, srgb_to_linear, "sRGB IEC61966-2.1"),
        rgb_profile(SRGB, srgb_to_linear, "some other name"),
        rgb_profile(SRGB, srgb_to_linear, "c2", points=26),
    ],
    ids=["built in", "table", "another name", "short table"],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_srgb_leaves_pixels_as_they_are(colours: Image.Image, profile: bytes, mode: str) -> None:
    image = colours.convert(mode)
    assert np.array_equal(pixels(saved(image, icc_profile=profile)), pixels(image.convert("RGB")))


def test_gamma_near_srgb_is_not_srgb(colours: Image.Image) -> None:
    loaded = pixels(saved(colours, icc_profile=rgb_profile(SRGB, 2.2, "sRGB")))
    expected = np.rint(linear_to_srgb((pixels(colours) / 255) ** (563 / 256)) * 255)
    assert np.abs(loaded - expected).max() <= 2 and np.abs(loaded - pixels(colours)).max() >= 5


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", grey_profile(1.0)),
        ("RGBA", b"no profile at all"),
        ("P", grey_profile(1.0)),
        ("L", cmyk_profile(lambda c, m, y, k: (0, 0, 0))),
        ("RGB", rgb_profile(SRGB, 1.0)[:300]),
    ],
)
def test_profiles_that_do_not_fit_are_left_aside_aloud(
    colours: Image.Image, mode: str, profile: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    colour._say.cache_clear()
    image = colours.convert(mode)
    loaded = saved(image, icc_profile=profile)
    assert np.array_equal(pixels(loaded), pixels(image.convert("RGB")))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "picture.png: its colour profile cannot be used" in caplog.text


def test_the_result_carries_no_profile(colours: Image.Image) -> None:
    once = saved(colours, icc_profile=ADOBE_RGB)
    assert np.array_equal(pixels(load_picture(once)), pixels(once))


def test_pictures_of_the_caller_are_converted_too(colours: Image.Image) -> None:
    image = colours.convert("RGBA")
    image.info["icc_profile"] = ADOBE_RGB
    assert np.abs(pixels(load_picture(image)) - adobe_to_srgb(colours)).max() <= 2
    assert image.mode == "RGBA" and image.info["icc_profile"] == ADOBE_RGB


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "La", "RGBa", "I;16", "F", "CMYK", "1"])
def test_bands_are_what_the_whole_is(
    colours: Image.Image, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode in ("La", "RGBa"):
        image = colours.convert(mode.upper()).convert(mode)
    elif mode in ("I;16", "F"):
        grey = np.asarray(colours.convert("L"))
        image = Image.fromarray(
            grey.astype(np.uint16) * 200 if mode == "I;16" else grey.astype(np.float32) / 300
        )
    else:
        image = colours.convert(mode)
    whole = pixels(load_picture(image))
    monkeypatch.setattr(colour, "BAND_PIXELS", 40)
    assert np.array_equal(pixels(load_picture(image)), whole)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(image: Image.Image, *chunks: bytes) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "png")
    data = buffer.getvalue()
    return data[:33] + b"".join(chunks) + data[33:]


GAMA_1 = chunk(b"gAMA", struct.pack(">I", 100_000))
GAMA_USUAL = chunk(b"gAMA", struct.pack(">I", 45_455))
P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
CHRM_P3 = chunk(b"cHRM", struct.pack(">8I", *P3))
CHRM_SRGB = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
SRGB_MARK = chunk(b"sRGB", b"\0")


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))


@pytest.mark.parametrize(
    ("chunks", "grey"),
    [
        ((GAMA_1,), 133),
        ((GAMA_USUAL,), 60),
        ((GAMA_1, SRGB_MARK), 60),
        ((GAMA_1, iccp(rgb_profile(SRGB, srgb_to_linear))), 60),
        ((GAMA_USUAL, iccp(rgb_profile(SRGB, 1.0))), 133),
        ((SRGB_MARK, chunk(b"cICP", bytes((1, 8, 0, 1)))), 133),
        ((chunk(b"cICP", bytes((12, 13, 0, 1))),), 60),
        ((chunk(b"cICP", bytes((9, 16, 0, 1))), iccp(rgb_profile(SRGB, 1.0))), 133),
        ((chunk(b"gAMA", b"\0\0\0\0"),), 60),
        ((chunk(b"gAMA", b"\0"),), 60),
        ((chunk(b"gAMA", struct.pack(">I", 1)),), 60),
        ((GAMA_USUAL, CHRM_SRGB), 60),
        ((GAMA_USUAL, CHRM_P3), 60),
    ],
)
def test_what_a_png_says_of_its_greys(chunks: tuple[bytes, ...], grey: int) -> None:
    image = Image.new("RGBA", (4, 4), (60, 60, 60, 255))
    assert decode_picture(with_chunks(image, *chunks), "x").getpixel((0, 0)) == (grey,) * 3


@pytest.mark.parametrize("chunks", [(GAMA_USUAL, CHRM_P3), (chunk(b"cICP", bytes((12, 13, 0, 1))),)])
def test_wide_primaries_of_a_png(chunks: tuple[bytes, ...]) -> None:
    # sRGB's red in Display P3 is (234, 51, 35).
    loaded = decode_picture(with_chunks(Image.new("RGB", (4, 4), (234, 51, 35)), *chunks), "x")
    assert loaded.getpixel((0, 0)) == pytest.approx((255, 0, 0), abs=6)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_wide_primaries_of_an_avif(caplog: pytest.LogCaptureFixture) -> None:
    buffer = BytesIO()
    Image.new("RGB", (16, 16), (234, 51, 35)).save(buffer, "avif", quality=100, subsampling="4:4:4")
    data = buffer.getvalue()
    at = data.index(b"colrnclx") + 8
    assert decode_picture(data, "x").getpixel((8, 8)) == pytest.approx((234, 51, 35), abs=3)
    wide = data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :]
    assert decode_picture(wide, "x").getpixel((8, 8)) == pytest.approx((255, 0, 0), abs=8)
    video = data[:at] + struct.pack(">HH", 1, 1) + data[at + 4 :]
    assert decode_picture(video, "x").getpixel((8, 8)) == pytest.approx((234, 51, 35), abs=3)
    assert not caplog.records
    hdr = data[:at] + struct.pack(">HH", 9, 16) + data[at + 4 :]
    assert decode_picture(hdr, "hdr").getpixel((8, 8)) == pytest.approx((234, 51, 35), abs=3)
    assert "hdr: its colour profile cannot be used" in caplog.text


def test_impossible_primaries_are_left_aside() -> None:
    line = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, *(30000, 30000) * 3))
    loaded = decode_picture(with_chunks(Image.new("RGB", (4, 4), (60, 60, 60)), GAMA_1, line), "x")
    assert loaded.getpixel((0, 0)) == (60, 60, 60)


@pytest.mark.parametrize(
    ("depth", "kind", "row", "key", "seen"),
    [
        (1, 0, b"\x40", b"\0\0", (255, 255)),
        (2, 0, b"\x40", b"\0\1", (255, 0)),
        (4, 0, b"\x37", b"\0\3", (255, 119)),
        (8, 0, b"\x03\x07", b"\0\3", (255, 7)),
        (16, 0, b"\x12\x34\x80\x00", b"\x12\x34", (255, 128)),
        (16, 2, b"\x12\x34" * 3 + b"\x80\x00" * 3, b"\x12\x34" * 3, (255, 128)),
    ],
)
def test_the_transparent_colour_of_any_depth(
    depth: int, kind: int, row: bytes, key: bytes, seen: tuple[int, int]
) -> None:
    head = struct.pack(">IIBBBBB", 2, 1, depth, kind, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"tRNS", key)
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )
    loaded = decode_picture(data, "x")
    assert [loaded.getpixel((at, 0))[0] for at in (0, 1)] == list(seen)  # type: ignore[index]


FAULTS = Path(__file__).parents[3] / "shared" / "faults" / "pictures"


@pytest.mark.skipif(not FAULTS.is_dir(), reason="needs ../shared/faults")
def test_known_faults() -> None:
    linear = load_picture(FAULTS / "linear_srgb.png")
    assert np.array_equal(pixels(linear), pixels(load_picture(FAULTS / "linear_rec709.png")))
    with Image.open(FAULTS / "adobe_rgba.png") as image:
        plain = image.convert("RGB")
        profile = image.info["icc_profile"]
    assert np.array_equal(
        pixels(load_picture(FAULTS / "adobe_rgba.png")), pixels(saved(plain, icc_profile=profile))
    )
