from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media.clips import ClipIndex, choose_frames, index_clip, read_clip
from stylecrafter.media.video import check_frames, read_frames
from tests.data_sources.support import (
    HEIGHT,
    WIDTH,
    clip_frames,
    frame_number,
    write_clip,
    write_empty_clip,
    write_timed_clip,
)
from tests.media.clip_files import cut_by_edit_list, only_decoding_times, without_content, write_coded


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


B_FRAMES = {"x264-params": "scenecut=0:bframes=2:keyint=12"}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("h264.avi", "libx264", B_FRAMES),
        ("packed.avi", "mpeg4", {"bf": "2", "b": "8M", "qmax": "2"}),
        ("h264.ts", "libx264", B_FRAMES),
        ("open.ts", "libx264", {"x264-params": "open-gop=1:bframes=3:scenecut=0:keyint=8"}),
        ("raw.h264", "libx264", B_FRAMES),
        ("raw.hevc", "libx265", {"x265-params": "log-level=none:bframes=3"}),
        ("fields.ts", "libx264", {"x264-params": "interlaced=1"}),
        ("program.mpg", "mpeg2video", {"bf": "2", "b": "8M", "qmax": "2"}),
        ("raw.m2v", "mpeg2video", {"bf": "2", "b": "8M", "qmax": "2"}),
        ("h264.flv", "libx264", B_FRAMES),
        ("hidden.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "7"}),
        ("super.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"}),
        ("super.ivf", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"}),
    ],
)
def test_frames_come_in_the_order_they_are_shown_in(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    kind = {"raw.hevc": "hevc", "raw.m2v": "mpeg2video", "raw.h264": "h264"}.get(name)
    path = write_coded(tmp_path / name, codec, 20, options=options, kind=kind)
    found = index_clip(path, name)
    assert len(found.times) == 20 and found.fps == pytest.approx(24, rel=0.06)
    assert all(step == pytest.approx(1 / found.fps, rel=0.05) for step in np.diff(found.times))
    assert shown(path, list(range(20))) == list(range(20))
    assert shown(path, [3, 11, 17]) == [3, 11, 17]
    assert [frame_number(float(np.asarray(f).mean()) / 255) for f in read_frames(path)[0]] == list(range(20))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_only_decoding_times(tmp_path: Path, name: str) -> None:
    ticks = range(2, 22)  # so that no frame lies before the beginning
    path = write_coded(
        tmp_path / name, "libx264", 20, options=B_FRAMES, ticks=ticks, change=only_decoding_times
    )
    found = index_clip(path, name)
    assert found.ticks == () and found.fps == pytest.approx(24, rel=0.01)
    assert shown(path, list(range(20))) == list(range(20))


def test_times_before_zero(tmp_path: Path) -> None:
    path = write_coded(tmp_path / "a.mkv", "libx264", 20, options=B_FRAMES, ticks=range(-5, 15))
    assert shown(path, list(range(20))) == list(range(20))


@pytest.mark.parametrize(("first", "last"), [(0, 3), (0, 7), (0, 11), (6, 11), (9, 19), (6, 19)])
def test_an_edit_list_cuts_without_damage(tmp_path: Path, first: int, last: int) -> None:
    path = write_coded(tmp_path / "a.mp4", "libx264", 20, options=B_FRAMES)
    start = 1024 + 512 * first
    path.write_bytes(cut_by_edit_list(path.read_bytes(), start, (last - first + 1) / 24))
    found = index_clip(path, "a.mp4")
    # An mp4 counts its edits in milliseconds: the last frame may be cut or not.
    assert abs(len(found.times) - (last - first + 1)) <= 1
    assert shown(path, list(range(len(found.times)))) == list(range(first, first + len(found.times)))
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    with pytest.raises(ImageReadError):
        index_clip(path, "a.mp4")


def test_frames_behind_the_end_of_an_edit_list_are_not_missing(tmp_path: Path) -> None:
    path = write_coded(tmp_path / "a.mp4", "libx264", 20, options={"x264-params": "bframes=0:keyint=5"})
    path.write_bytes(cut_by_edit_list(path.read_bytes(), 0, 8 / 24))
    found = index_clip(path, "a.mp4")
    assert found.declared == 20 and 8 <= len(found.times) <= 9
    assert shown(path, [0, 7]) == [0, 7] and check_frames(path) == len(found.times)


def test_an_avi_may_show_a_frame_for_longer(tmp_path: Path) -> None:
    path = write_coded(tmp_path / "a.avi", "mpeg4", 20)
    path.write_bytes(without_content(path.read_bytes(), [5, 6, 19]))
    found = index_clip(path, "a.avi")
    assert [round(time * 24) for time in found.times] == [k for k in range(20) if k not in (5, 6, 19)]
    assert shown(path, [4, 5]) == [4, 7]
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ImageReadError, match="cut short"):
        index_clip(path, "a.avi")


def test_own_errors_of_the_caller_are_not_hidden(tmp_path: Path) -> None:
    def convert(position: int, picture: Image.Image) -> None:
        raise KeyError("a fault in the caller")

    for name in ("a.mp4", "a.gif"):
        path = write_clip(tmp_path / name, 3)
        with pytest.raises(KeyError):
            read_clip(path, name, index_clip(path, name), [0], convert)


FAULTS = Path(__file__).parents[2] / ".." / "shared" / "faults" / "clips"


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the folder of faulty files lies beside the repository")
@pytest.mark.parametrize("name", ["cover_first.mp4", "h264_b.avi"])
def test_known_faults(name: str) -> None:
    found = index_clip(FAULTS / name, name)
    frames = read_clip(FAULTS / name, name, found, range(24), lambda _, frame: np.asarray(frame).astype(int))
    assert len(found.times) == 24
    steps = [np.abs(a - b).mean() for a, b in zip(frames, frames[1:], strict=False)]
    assert max(steps) < 3 * np.median(steps)  # a frame out of order jumps
