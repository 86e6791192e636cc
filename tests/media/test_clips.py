from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media.clips import ClipIndex, choose_frames, index_clip, read_clip
from stylecrafter.media.video import read_frames
from tests.data_sources.support import (
    HEIGHT,
    WIDTH,
    clip_frames,
    frame_number,
    write_clip,
    write_empty_clip,
    write_timed_clip,
)


def index(*times: float) -> ClipIndex:
    return ClipIndex(times, 0, WIDTH, HEIGHT)


REGULAR = index(*(k / 24 for k in range(48)))


def shown(path: Path, numbers: list[int]) -> list[int]:
    frames = read_clip(path, path.name, index_clip(path, path.name), numbers, lambda _, frame: frame)
    return [frame_number(float(np.asarray(frame).mean()) / 255) for frame in frames]


def test_stride_and_random_start() -> None:
    assert choose_frames(REGULAR, 4, stride=3) == [0, 3, 6, 9]
    starts = {choose_frames(REGULAR, 4, stride=3, start=k / 100)[0] for k in range(100)}
    assert starts == set(range(48 - 9))
    assert choose_frames(REGULAR, 48, start=0.999) == list(range(48))


def test_target_rate() -> None:
    assert choose_frames(REGULAR, 4, fps=8) == [0, 3, 6, 9]
    assert choose_frames(REGULAR, 16, fps=8)[-1] == 45
    assert choose_frames(REGULAR, 48, fps=24, start=0.99) == list(range(48))
    ends = [choose_frames(REGULAR, 4, fps=8, start=k / 50)[-1] for k in range(50)]
    assert max(ends) == 47 and ends == sorted(ends)


def test_variable_rate_takes_what_is_on_screen() -> None:
    clip = index(0, 0.1, 0.2, 0.3, 1.0, 1.1, 1.2)  # frame 3 stands still for 0.7 s
    assert choose_frames(clip, 5, fps=4) == [0, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"num_frames": 49}, "too short: 48 frames, 49 frames need 49"),
        ({"num_frames": 16, "stride": 4}, "at stride 4 need 61"),
        ({"num_frames": 17, "fps": 8}, "too short: 2 s"),
        ({"num_frames": 4, "fps": 30}, "too slow: 24 frames per second, 30"),
    ],
)
def test_too_short_and_too_slow(arguments: dict[str, float], says: str) -> None:
    with pytest.raises(ImageReadError, match=says):
        choose_frames(REGULAR, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_frames": 0},
        {"num_frames": 1, "stride": 0},
        {"num_frames": 1, "fps": 0},
        {"num_frames": 2, "fps": 8, "stride": 2},
        {"num_frames": 1, "start": 1.0},
    ],
)
def test_wrong_numbers_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError):
        choose_frames(REGULAR, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_the_frames_asked_for_come(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"a{suffix}", 12)
    found = index_clip(path, path.name)
    assert len(found.times) == 12 and (found.width, found.height) == (WIDTH, HEIGHT)
    assert found.fps == pytest.approx(8, rel=0.05) and found.seconds == pytest.approx(1.5, rel=0.05)
    assert shown(path, [0]) == [0]
    assert shown(path, [2, 5, 5, 11]) == [2, 5, 5, 11]


def test_same_pixels_as_reading_it_all(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 10)
    whole, _ = read_frames(path)
    data = path.read_bytes()
    few = read_clip(data, "a.mp4", index_clip(data, "a.mp4"), [3, 9], lambda _, frame: np.asarray(frame))
    assert np.array_equal(few[0], np.asarray(whole[3])) and np.array_equal(few[1], np.asarray(whole[9]))


def test_variable_rate_file(tmp_path: Path) -> None:
    ticks = [k if k < 10 else k + 24 for k in range(20)]
    path = write_timed_clip(tmp_path / "v.mkv", ticks, keyframes_every=5)
    found = index_clip(path, path.name)
    assert [round(time * 24) for time in found.times] == ticks
    assert shown(path, [9, 10, 19]) == [9, 10, 19]


def test_only_what_is_needed_is_decoded(tmp_path: Path) -> None:
    path = write_timed_clip(tmp_path / "a.mp4", list(range(20)), keyframes_every=5)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for position, size in packets[:5]:  # the first group of pictures turns into noise; the index stays whole
        data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    assert shown(path, [17]) == [17]
    with pytest.raises(ImageReadError):
        shown(path, [2])


@pytest.mark.parametrize(("name", "codec"), [("a.mpg", "mpeg1video"), ("a.vob", "mpeg2video")])
def test_mpeg_files_are_clips(tmp_path: Path, name: str, codec: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"b": "8M", "bf": "2"}
        for array in clip_frames(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode(None))
    assert shown(path, list(range(20))) == list(range(20))
    assert len(read_frames(path)[0]) == 20


def test_broken_clips_say_why(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mp4", 24).read_bytes()
    for data, words in [
        (whole[: len(whole) // 2], "cut short"),
        (whole[:64], "no video frames"),
        (b"", "0 bytes"),
        (b"text" * 500, "not a clip that can be read"),
        (write_empty_clip(tmp_path / "e.mp4").read_bytes(), "no video frames"),
    ]:
        with pytest.raises(ImageReadError, match=words):
            index_clip(data, "a.mp4")


def test_turned_clip_stands_upright(tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.set_display_rotation(90)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    frame = read_clip(path, path.name, index_clip(path, path.name), [1], lambda _, frame: frame)[0]
    assert isinstance(frame, Image.Image) and frame.size == (HEIGHT, WIDTH)
    with av.open(str(path)) as container:
        rotation = next(container.decode(video=0)).rotation
    upper, lower = np.asarray(frame)[: WIDTH // 2].mean(), np.asarray(frame)[WIDTH // 2 :].mean()
    # Turned counter-clockwise by 90 degrees, the left half comes to lie below; by -90, above.
    assert (lower > upper) == (rotation % 360 == 90)
