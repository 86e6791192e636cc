from __future__ import annotations

import hashlib
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from stylecrafter.errors import ImageReadError, InvalidInputError, OutputError, UnknownNameError
from stylecrafter.media import video
from stylecrafter.media.clips import index_clip
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.video import (
    SUFFIXES,
    check_format,
    check_frames,
    check_suffix,
    iterate_frames,
    read_frames,
    same_frames,
    write_frames,
)


def clip(count: int = 8, height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    frames = [np.stack([(3 * x + 6 * i) % 256, 5 * y % 256, (x + y + 4 * i) % 256], -1) for i in range(count)]
    return np.stack(frames).astype(np.uint8)


def difference(frames: list[Image.Image], array: np.ndarray) -> float:
    return float(np.abs(np.stack([np.asarray(f) for f in frames]).astype(float) - array).mean())


@pytest.mark.parametrize(("suffix", "worst"), [(".mp4", 4.0), (".gif", 12.0), (".webp", 4.0), (".MP4", 4.0)])
def test_round_trip(tmp_path: Path, suffix: str, worst: float) -> None:
    frames = clip()
    path = write_frames(frames, tmp_path / f"a{suffix}", fps=8)
    back, fps = read_frames(path)
    assert len(back) == len(frames)
    assert back[0].size == (64, 48)
    assert fps == pytest.approx(8, rel=0.01)
    assert difference(back, frames) < worst


def test_png_is_exact(tmp_path: Path) -> None:
    frames = clip(1)
    back, fps = read_frames(write_frames(frames, tmp_path / "a.png", fps=0))
    assert difference(back, frames) == 0.0
    assert fps == 0.0


@pytest.mark.parametrize("count", [1, 6])
def test_a_lossless_webp_is_exact(tmp_path: Path, count: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (count, 20, 24, 3), dtype=np.uint8)
    frames[2:4] = frames[1:2]  # kept as one long frame
    write_frames(frames, tmp_path / "a.webp", fps=12.5, metadata={"seed": 1}, lossless=True)
    assert difference(read_frames(tmp_path / "a.webp")[0], frames) == 0.0
    assert read_metadata(tmp_path / "a.webp") == {"seed": 1}


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_what_is_never_lossless(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"a \{suffix} is never lossless; use \.webp or \.png"):
        write_frames(clip(1), tmp_path / f"a{suffix}", lossless=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_frame_is_fine_everywhere(tmp_path: Path, suffix: str) -> None:
    back, _ = read_frames(write_frames(clip(1), tmp_path / f"a{suffix}"))
    assert len(back) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_frames_same_bytes(tmp_path: Path, suffix: str) -> None:
    count = 1 if suffix == ".png" else 6
    hashes = {
        hashlib.sha256(
            write_frames(clip(count), tmp_path / f"{name}{suffix}", metadata={"a": 1}).read_bytes()
        ).hexdigest()
        for name in ("one", "two")
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("fps", [1, 6, 8, 12.5, 23.976, 24, 30])
@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_pace(tmp_path: Path, suffix: str, fps: float) -> None:
    back, found = read_frames(write_frames(clip(24), tmp_path / f"a{suffix}", fps=fps))
    assert len(back) == 24
    assert found == pytest.approx(fps, rel=0.02)


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 50), (0, 0, 0), (255, 255, 255)]
)
def test_mp4_keeps_colours(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    frames = np.broadcast_to(np.array(colour, np.uint8), (3, 32, 32, 3))
    back, _ = read_frames(write_frames(frames, tmp_path / "a.mp4"))
    assert np.abs(np.asarray(back[1], int) - np.array(colour)).max() <= 3


def test_mp4_plays_everywhere(tmp_path: Path) -> None:
    path = write_frames(clip(), tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # starts to play while it loads


@pytest.mark.parametrize(("height", "width"), [(33, 47), (32, 47), (33, 48)])
def test_odd_sizes_are_kept(tmp_path: Path, height: int, width: int) -> None:
    frames = clip(3, height, width)
    back, _ = read_frames(write_frames(frames, tmp_path / "a.mp4"))
    assert back[0].size == (width, height)
    assert difference(back, frames) < 4


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_runs_of_equal_frames_come_back(tmp_path: Path, suffix: str) -> None:
    order = [0, 0, 0, 1, 2, 2]
    frames = clip(3)[order]
    back, fps = read_frames(write_frames(frames, tmp_path / f"a{suffix}", fps=8))
    assert len(back) == len(order)
    assert fps == pytest.approx(8, rel=0.02)
    assert difference(back, frames) < 12


def test_pil_and_float_frames(tmp_path: Path) -> None:
    frames = clip(2)
    a = write_frames([Image.fromarray(f) for f in frames], tmp_path / "a.mp4").read_bytes()
    b = write_frames(frames.astype(np.float32) / 255, tmp_path / "b.mp4").read_bytes()
    assert a == b == write_frames(frames, tmp_path / "c.mp4").read_bytes()


def test_check_suffix() -> None:
    assert check_suffix("a.MP4", 16) == ".mp4"
    assert check_suffix("a.png") == ".png"
    with pytest.raises(InvalidInputError, match="one picture, not 16"):
        check_suffix("a.png", 16)
    for name in ("a.avi", "a", "a.mp4.txt", "a.jpg"):
        with pytest.raises(UnknownNameError, match=r"\.mp4"):
            check_suffix(name)


@pytest.mark.parametrize(
    ("frames", "fps"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), 8),
        ([], 8),
        (np.zeros((4, 4, 3), np.uint8), 8),
        (np.zeros((2, 4, 4, 3), np.int32), 8),
        (np.full((2, 4, 4, 3), np.nan), 8),
        ([Image.new("RGB", (4, 4)), Image.new("RGB", (6, 4))], 8),
        (np.zeros((2, 4, 4, 3), np.uint8), 0),
        (np.zeros((2, 4, 4, 3), np.uint8), float("nan")),
    ],
)
def test_wrong_frames(tmp_path: Path, frames: np.ndarray, fps: float) -> None:
    with pytest.raises(InvalidInputError):
        write_frames(frames, tmp_path / "a.mp4", fps=fps)
    assert not list(tmp_path.iterdir())


def test_gif_has_a_highest_pace(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="50"):
        write_frames(clip(2), tmp_path / "a.gif", fps=60)


def test_unwritable_place_keeps_things_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OutputError, match="folder"):
        write_frames(clip(2), tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "a.png", "a"])
def test_unreadable_clips(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageReadError, match="no such file"):
        read_frames(tmp_path / name)
    (tmp_path / name).write_text("no clip")
    with pytest.raises(ImageReadError) as caught:
        read_frames(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_damage_inside_a_video_is_not_painted_over(tmp_path: Path) -> None:
    file = write_frames(clip(16), tmp_path / "a.mp4", metadata={"made": "with care"})
    whole, random = file.read_bytes(), np.random.default_rng(0)
    begin = whole.index(b"mdat") + 1000  # behind what the encoder says of itself
    places = range(begin, len(whole) - 64, (len(whole) - begin) // 20)
    noticed = 0
    for place in places:
        file.write_bytes(whole[:place] + random.bytes(64) + whole[place + 64 :])
        try:
            read_frames(file)
        except ImageReadError:
            noticed += 1
    # Some damage makes other frames that are valid all the same, which only a hash would tell.
    assert noticed >= 0.7 * len(places)
    file.write_bytes(whole)
    assert len(read_frames(file)[0]) == 16


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_still_picture_needs_no_rate(tmp_path: Path, suffix: str) -> None:
    back, _ = read_frames(write_frames(clip(1), tmp_path / f"a{suffix}", fps=0))
    assert len(back) == 1


@pytest.mark.parametrize(
    ("suffix", "frames", "size", "fps", "says"),
    [
        (".png", 2, (16, 16), 8, r"one picture, not 2 frames; use \.mp4 or \.gif or \.webp"),
        (".gif", 2, (16, 16), 60, r"at most 50 frames per second, not 60; use \.mp4 or \.webp"),
        (".gif", 2, (16, 16), 0.001, r"at least 0\.00153 .*one every 655\.35 s.*; use \.mp4 or \.webp"),
        (".gif", 2, (65_536, 16), 8, r"65,535 pixels a side, not 65536x16; no other format can"),
        (".webp", 2, (16, 16_384), 8, r"16,383 pixels a side, not 16x16384; use \.mp4 or \.gif"),
        (".webp", 1, (16, 16_384), 8, r"16,383 pixels a side, .*; use \.mp4 or \.gif or \.png"),
        (".webp", 2, (16, 16), 5e-5, r"one every 16,777\.2. s.*; no other format can"),
        (
            ".webp",
            10_000,
            (16, 16),
            0.002,
            r"2,147,484 s, not 5,000,000 s \(10000 frames\); use \.mp4 or \.gif",
        ),
        (".mp4", 2, (16, 16_386), 8, r"16,384 pixels a side, not 16x16386; use \.gif"),
        (".mp4", 2, (16, 16), 0.0005, r"at least 0\.001 .*; use \.webp"),
        (".mp4", 2, (16, 16), 1001, "at most 1000 frames per second, not 1001; no other format can"),
    ],
)
def test_what_a_format_cannot_hold(
    tmp_path: Path, suffix: str, frames: int, size: tuple[int, int], fps: float, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        check_format(suffix, frames, *size, fps)
    if frames <= 2 and fps <= 1000:
        with pytest.raises(InvalidInputError):
            write_frames(np.zeros((frames, size[1], size[0], 3), np.uint8), tmp_path / f"a{suffix}", fps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "frames", "size", "fps"),
    [
        (".gif", 3, (16, 16), 100 / 65_535),
        (".gif", 3, (16, 16), 50),
        (".gif", 2, (65_535, 1), 8),
        (".webp", 3, (16, 16), 1000 / (2**24 - 1)),
        (".webp", 3, (16, 16), 1000),
        (".webp", 2, (16_383, 1), 8),
        (".mp4", 3, (16, 16), 0.001),
        (".mp4", 3, (16, 16), 1000),
        (".mp4", 2, (16_384, 2), 8),
        (".mp4", 2, (1, 1), 8),
        (".png", 1, (65_535, 1), 8),
        (".gif", 1, (16, 16), 1e-9),
    ],
)
def test_the_utmost_that_a_format_holds(
    tmp_path: Path, suffix: str, frames: int, size: tuple[int, int], fps: float
) -> None:
    check_format(suffix, frames, *size, fps)
    array = np.zeros((frames, size[1], size[0], 3), np.uint8)
    array[:, 0, 0] = 80 * np.arange(frames)[:, None]
    back, found = read_frames(write_frames(array, tmp_path / f"a{suffix}", fps))
    assert (len(back), back[0].size) == (frames, size)
    assert frames == 1 or found == pytest.approx(fps, rel=0.02)


def test_frames_that_stand_for_longer_than_a_gif_can_show_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_frames(clip(2)[[0, 0, 0, 1]], tmp_path / "a.gif", fps=1 / 300)
    assert "655.35 s" in caplog.text
    with Image.open(path) as image:
        assert image.info["duration"] == 655_350
        image.seek(1)
        assert image.info["duration"] == 300_000


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_frame_at_a_time_is_the_same(tmp_path: Path, suffix: str) -> None:
    frames = clip(1 if suffix == ".png" else 6)[[0] if suffix == ".png" else [0, 0, 1, 2, 2, 5]]
    path = write_frames(frames, tmp_path / f"a{suffix}", fps=8)
    whole, _ = read_frames(path)
    assert all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(whole, iterate_frames(path), strict=True)
    )
    stored = {".png": 1, ".mp4": 6}.get(suffix, 4)
    assert check_frames(path) == check_frames(path, stored) == stored
    again = write_frames(frames, tmp_path / f"b{suffix}", fps=8)
    other = write_frames(255 - frames, tmp_path / f"c{suffix}", fps=8)
    assert same_frames(path, again) and not same_frames(path, other)
    if suffix != ".png":
        with pytest.raises(ImageReadError, match="more than the 3 frames"):
            check_frames(path, 3)
        assert not same_frames(path, write_frames(frames[:5], tmp_path / f"d{suffix}", fps=8))


def test_large_clips_are_not_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_frames(clip(6), tmp_path / "a.mp4")
    monkeypatch.setattr(video, "MAX_HELD_PIXELS", 5 * 64 * 48)
    with pytest.raises(ImageReadError, match="6 frames of 64x48 pixels; the limit is 15,360 pixels"):
        read_frames(path)
    assert check_frames(path) == 6 and same_frames(path, path)
    monkeypatch.setattr(video, "MAX_DECODED_PIXELS", 5 * 64 * 48)
    for read in (check_frames, lambda path: same_frames(path, path)):
        with pytest.raises(ImageReadError, match="the limit is 15,360 pixels"):
            read(path)
    monkeypatch.setattr(video, "MAX_HELD_FRAMES", 5)
    with pytest.raises(ImageReadError, match="6 frames; the limit is 5"):
        read_frames(path)


def test_no_more_than_one_frame_is_held(tmp_path: Path) -> None:
    path = write_frames(np.zeros((120, 256, 256, 3), np.uint8), tmp_path / "a.mp4")
    seen: list[weakref.ref[Image.Image]] = []
    for frame in iterate_frames(path):
        seen.append(weakref.ref(frame))
        assert sum(other() is not None for other in seen) <= 2
    assert len(seen) == 120


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
@pytest.mark.parametrize("called", [".mp4", ".gif", ".png", ".mkv"])
def test_what_a_file_is_counts_not_what_it_is_called(tmp_path: Path, suffix: str, called: str) -> None:
    path = write_frames(clip(4), tmp_path / f"a{suffix}", metadata={"a": 1})
    wanted, fps = read_frames(path)
    path = path.rename(tmp_path / f"b{called}")
    found, rate = read_frames(path)
    assert rate == fps and all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(found, wanted, strict=True)
    )
    assert read_metadata(path) == {"a": 1}
    assert len(index_clip(path, path.name).times) == 4


def test_a_cut_clip_is_not_whole(tmp_path: Path) -> None:
    path = write_frames(clip(24), tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-400])
    for read in (read_frames, check_frames):
        with pytest.raises(ImageReadError, match="cut short"):
            read(path)
