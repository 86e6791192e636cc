from __future__ import annotations

import gc
import logging
import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stylecrafter.errors import ImageReadError
from stylecrafter.media import upright
from stylecrafter.media.clips import index_clip, read_clip
from stylecrafter.media.streams import decoded, one_thread, opened_file, opened_stream
from stylecrafter.media.video import iterate_frames, read_frames
from tests.media.clip_files import write_coded


def write_picture(
    path: Path, codec: str, pixels: str, array: np.ndarray, *, setup: Any = lambda thing: None
) -> Path:
    """A clip of three equal frames; `setup` sees the stream and the frames."""
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec} here")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=8)
        stream.height, stream.width = array.shape[:2]
        stream.pix_fmt = pixels
        stream.options = {"libx264": {"qp": "0"}, "libvpx": {"auto-alt-ref": "0"}}.get(codec, {})
        setup(stream.codec_context)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24" if array.shape[2] == 3 else "rgba")
            frame = frame.reformat(format=pixels, **one_thread())
            setup(frame)
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def only_frame(path: Path) -> np.ndarray:
    """The second frame, which every way of reading must show alike."""
    found = read_clip(path, path.name, index_clip(path, path.name), [1], lambda _, frame: np.asarray(frame))[
        0
    ]
    assert np.array_equal(found, np.asarray(read_frames(path)[0][1]))
    return found


CORNERS = np.zeros((32, 48, 3), np.uint8)
CORNERS[:16, :24], CORNERS[:16, 24:] = (200, 40, 40), (40, 180, 40)
CORNERS[16:, :24], CORNERS[16:, 24:] = (40, 60, 200), (220, 220, 220)


MATRICES_OF_DISPLAY = [
    *((across, 0, 0, down) for across in (1, -1) for down in (1, -1)),
    *((0, b, c, 0) for b in (1, -1) for c in (1, -1)),
]


@pytest.mark.parametrize("matrix", MATRICES_OF_DISPLAY)
def test_all_eight_display_matrices(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = write_picture(tmp_path / "a.mp4", "libx264", "yuv444p", CORNERS)
    data = bytearray(path.read_bytes())
    a, b, c, d = matrix
    place = data.index(b"tkhd") + 4 + 40
    struct.pack_into(">9i", data, place, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    # A point (x, y), from the middle, is shown at (a x + c y, b x + d y).
    wanted = np.zeros((48, 32, 3) if a == 0 else (32, 48, 3), np.uint8)
    for y, x in np.ndindex(*CORNERS.shape[:2]):
        u, v = x - 23.5, y - 15.5
        s, t = a * u + c * v, b * u + d * v
        wanted[round(t + (wanted.shape[0] - 1) / 2), round(s + (wanted.shape[1] - 1) / 2)] = CORNERS[y, x]
    found = only_frame(path)
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).max() <= 3


MATRICES = {"bt601": (5, 0.299, 0.114), "bt709": (1, 0.2126, 0.0722), "bt2020": (9, 0.2627, 0.0593)}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_colours_mean_what_the_clip_says(tmp_path: Path, name: str, full: bool, codec: str) -> None:
    code, red, blue = MATRICES[name]
    colour = (200, 80, 40)
    r, g, b = (value / 255 for value in colour)
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = ((b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red))
    scale, base, spread = (255, 0, 255) if full else (219, 16, 224)
    planes = [round(base + scale * luma), *(round(128 + spread * value) for value in chroma)]

    def setup(thing: Any) -> None:
        thing.colorspace, thing.color_range = code, 2 if full else 1
        for plane, value in zip(getattr(thing, "planes", ()), planes, strict=False):
            plane.update(bytes([value]) * plane.buffer_size)

    path = write_picture(tmp_path / "a.mkv", codec, "yuv420p", np.zeros((32, 48, 3), np.uint8), setup=setup)
    assert np.abs(only_frame(path)[10, 10].astype(int) - colour).max() <= 4


TRANSPARENT = {
    "libvpx": ("yuva420p", "webm"),
    "libvpx-vp9": ("yuva420p", "webm"),
    "prores_ks": ("yuva444p10le", "mov"),
    "qtrle": ("argb", "mov"),
    "png": ("rgba", "mov"),
    "ffv1": ("bgra", "mkv"),
    "rawvideo": ("bgra", "avi"),
}


@pytest.mark.parametrize("codec", TRANSPARENT)
def test_transparent_video_is_over_white(tmp_path: Path, codec: str) -> None:
    pixels, suffix = TRANSPARENT[codec]
    array = np.zeros((32, 48, 4), np.uint8)
    array[:] = (200, 30, 30, 0)  # what is hidden is red too
    array[:, :16, 3], array[:, 16:32, 3] = 255, 128
    found = only_frame(write_picture(tmp_path / f"a.{suffix}", codec, pixels, array)).astype(int)
    for x, wanted in ((8, (200, 30, 30)), (24, (227, 142, 142)), (40, (255, 255, 255))):
        assert np.abs(found[16, x] - wanted).max() <= 6, x


@pytest.mark.parametrize(
    ("curve", "primaries", "says"), [(16, 9, "PQ"), (18, 9, "HLG"), (1, 9, "BT.2020"), (1, 1, "")]
)
def test_colours_beyond_a_screen_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, curve: int, primaries: int, says: str
) -> None:
    def setup(thing: Any) -> None:
        if not isinstance(thing, av.VideoFrame) or hasattr(thing, "color_trc"):
            thing.color_trc, thing.color_primaries, thing.colorspace = curve, primaries, 9

    upright._say_what_is_lost.cache_clear()
    path = write_picture(tmp_path / "a.mkv", "ffv1", "yuv420p", CORNERS, setup=setup)
    with caplog.at_level(logging.WARNING):
        next(iterate_frames(path))
        next(iterate_frames(path))
    assert len(caplog.records) == bool(says) and says in caplog.text


def write_wide(path: Path, times: int) -> Path:
    """Pixels that are `times` as wide as they are high."""

    def setup(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)

    data = bytearray(write_coded(path, "mpeg4", 3, setup=setup).read_bytes())
    struct.pack_into(">II", data, data.index(b"pasp") + 4, times, 1)
    path.write_bytes(data)
    return path


def test_pixels_that_are_no_squares(tmp_path: Path) -> None:
    assert next(iterate_frames(write_wide(tmp_path / "a.mp4", 2))).size == (96, 32)
    with pytest.raises(ImageReadError, match="too large: frames of .*x32 pixels"):
        next(iterate_frames(write_wide(tmp_path / "b.mp4", 10**8)))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted there")
def test_no_threads_stay_behind_a_frame(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.mp4", "libx264", "yuv420p", CORNERS)
    gc.collect()
    before = len(os.listdir("/proc/self/task"))
    with opened_file(path) as file, opened_stream(file) as (container, stream):
        frames = list(decoded(container, stream))
        for frame in frames:
            upright.upright(frame, stream)
        assert len(os.listdir("/proc/self/task")) == before  # a worker that is forked now could not end them
