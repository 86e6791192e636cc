from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media import source_clips
from stylecrafter.media.source_clips import choose_part, fitted, open_clip, read_part, size_within
from stylecrafter.media.video import write_frames
from tests.data_sources.support import HEIGHT, WIDTH, clip_frames, shade, write_timed_clip
from tests.media.clip_files import write_coded

SHARED = Path(__file__).parents[3] / "shared" / "faults" / "clips"


def shades(path: Path, **asked: float) -> list[int]:
    """Which frames of a clip are taken, told by their shade."""
    clip = open_clip(path)
    frames = read_part(clip, choose_part(clip, **asked), (2, 2))  # type: ignore[arg-type]
    known = [shade(k) for k in range(22)]
    return [min(range(22), key=lambda k: abs(known[k] - frame.getpixel((0, 0))[0])) for frame in frames]


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".mkv"])
def test_a_whole_clip_is_every_frame_once(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".mkv":  # whose times are whole milliseconds
        write_coded(path, "libx264", 14)
    else:
        write_frames(clip_frames(14), path, fps=12)
    clip = open_clip(path)
    assert (clip.width, clip.height) == (WIDTH, HEIGHT)
    assert clip.fps == pytest.approx(24 if suffix == ".mkv" else 12, rel=0.01) and not clip.has_sound
    assert shades(path) == list(range(14))


def test_parts(tmp_path: Path) -> None:
    path = write_frames(clip_frames(16), tmp_path / "a.mp4", fps=8)
    assert shades(path, start=0.5) == list(range(4, 16))
    assert shades(path, start=0.5, duration=0.75) == list(range(4, 10))
    assert shades(path, frames=3) == [0, 1, 2]
    assert shades(path, fps=4) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert shades(path, fps=16, frames=4) == [0, 0, 1, 1]
    assert len(shades(path, start=1, duration=1.05)) == 8


def test_a_variable_rate_becomes_a_steady_one(tmp_path: Path) -> None:
    path = write_timed_clip(tmp_path / "a.mp4", [0, 1, 2, 3, 9, 15, 18, 21])
    clip = open_clip(path)
    part = choose_part(clip, fps=8)
    # Every 3 ticks, by the middle of each: frames that are shown for long come as often as that lasts.
    assert shades(path, fps=8) == [1, 3, 3, 4, 4, 5, 6, 7]
    assert len(part.numbers) / part.fps == pytest.approx(clip.index.seconds, abs=0.1)


def test_a_picture_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.png")
    clip = open_clip(tmp_path / "a.png")
    part = choose_part(clip)
    assert (part.numbers, part.fps) == ((0,), 0.0)
    with pytest.raises(InvalidInputError, match="is a single frame"):
        choose_part(clip, frames=2)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"start": 2.0}, r"lasts 2.00 s; there is nothing at 2.00 s"),
        ({"start": 1.5, "duration": 1.0}, r"from 1.50 s on there are 0.50 s, not 1.00 s"),
        ({"frames": 17}, "has 16 frames of that time at 8 per second, 17 were asked for"),
        ({"fps": 240.0, "frames": 481}, "has 480 frames of that time"),
    ],
)
def test_more_than_there_is(tmp_path: Path, asked: dict[str, float], says: str) -> None:
    clip = open_clip(write_frames(clip_frames(16), tmp_path / "a.mp4", fps=8))
    with pytest.raises(InvalidInputError, match=says):
        choose_part(clip, **asked)  # type: ignore[arg-type]


def test_a_film_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = open_clip(write_frames(clip_frames(16), tmp_path / "a.mp4", fps=8))
    monkeypatch.setattr(source_clips, "MAX_HELD_FRAMES", 10)
    with pytest.raises(InvalidInputError, match="has 16 frames .* the limit is 10: take a part .* --start"):
        choose_part(clip)
    assert len(choose_part(clip, frames=10).numbers) == 10
    assert len(choose_part(clip, start=1).numbers) == 8
    monkeypatch.setattr(source_clips, "MAX_HELD_PIXELS", 8 * 12)
    assert len(read_part(clip, choose_part(clip, start=1), (4, 3))) == 8
    with pytest.raises(ImageReadError, match="8 frames of 4x4 pixels; the limit is 96"):
        read_part(clip, choose_part(clip, start=1), (4, 4))


def test_what_is_no_file(tmp_path: Path) -> None:
    for name in ("missing.mp4", "http://example.com/a.mp4", "concat:a.mp4"):
        with pytest.raises(ImageReadError, match="no such file"):
            open_clip(name)


def test_sizes() -> None:
    assert size_within((1920, 1080), 64 * 64, 16) == (80, 48)
    assert size_within((1080, 1920), 64 * 64, 16) == (48, 80)
    assert size_within((640, 640), 64 * 64, 16) == (64, 64)
    assert size_within((10_000, 10), 64 * 64, 16) == (2016, 16)
    picture = Image.new("RGB", (40, 20), "red")
    picture.paste("blue", (10, 0, 30, 20))
    assert fitted(picture, (40, 20)) is picture
    assert fitted(picture, (20, 20)).getcolors() == [(400, (0, 0, 255))]  # the ends are cut off


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clips are not here")
@pytest.mark.parametrize(
    ("name", "frames"), [("ball.gif", 6), ("cover_first.mp4", 24), ("h264_b.avi", 24), ("hflip.mp4", 24)]
)
def test_clips_with_traps(name: str, frames: int) -> None:
    clip = open_clip(SHARED / name)
    part = choose_part(clip)
    assert part.numbers == tuple(range(frames))
    assert {f.size for f in read_part(clip, part, None)} == {(clip.width, clip.height)}
