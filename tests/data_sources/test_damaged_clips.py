"""Decoders paint over damage; what they notice of it is told, and never trained on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stylecrafter.data.check import check_data
from stylecrafter.data.loaders import FileSource
from stylecrafter.errors import ImageReadError
from stylecrafter.media.clips import index_clip, read_clip

FRAMES, KEYFRAMES_EVERY = 36, 12
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "h264.mp4": ("libx264", {"x264-params": "scenecut=0:bframes=0"}),
    "open.mp4": ("libx264", {"x264-params": "open-gop=1:bframes=3:scenecut=0"}),
    "refresh.ts": ("libx264", {"x264-params": "intra-refresh=1:bframes=0"}),
    "mpeg4.avi": ("mpeg4", {}),
    "mpeg4.mp4": ("mpeg4", {"bf": "2"}),
    "mpeg2.ts": ("mpeg2video", {"bf": "2"}),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "h265.mp4": ("libx265", {"x265-params": "log-level=none:open-gop=1"}),
}


def write_moving(path: Path) -> Path:
    """A noisy picture that moves, so that every frame needs the ones before it."""
    codec, options = CODECS[path.name]
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec} here")
    generator = np.random.default_rng(0)
    picture = np.kron(generator.integers(0, 255, (24, 48, 3)), np.ones((4, 4, 1), int))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = options
        stream.codec_context.gop_size, stream.bit_rate = KEYFRAMES_EVERY, 2_000_000
        for number in range(FRAMES):
            shown = picture[number % 30 : number % 30 + 64, number * 2 : number * 2 + 96]
            noisy = (shown + generator.integers(-12, 12, shown.shape)).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(noisy), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damage(path: Path, number: int) -> Path:
    """Overwrite a fifth of a packet; the index stays whole."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    position, size = packets[number]
    data = bytearray(path.read_bytes())
    begin, end = position + size // 2, position + size * 7 // 10
    data[begin:end] = np.random.default_rng(1).bytes(end - begin)
    path.write_bytes(data)
    return path


def read(path: Path, numbers: list[int]) -> list[np.ndarray]:
    return read_clip(
        path, path.name, index_clip(path, path.name), numbers, lambda _, frame: np.asarray(frame)
    )


@pytest.mark.parametrize("name", CODECS)
def test_healthy_clips_are_read_from_any_place(tmp_path: Path, name: str) -> None:
    path = write_moving(tmp_path / name)
    whole = read(path, list(range(FRAMES)))
    for number in range(FRAMES):
        assert np.array_equal(read(path, [number])[0], whole[number]), number


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4.avi"])
def test_damage_spoils_all_up_to_the_next_keyframe(tmp_path: Path, name: str) -> None:
    path = write_moving(tmp_path / name)
    whole = read(path, list(range(FRAMES)))
    damage(path, KEYFRAMES_EVERY)
    for number in range(FRAMES):
        if KEYFRAMES_EVERY <= number < 2 * KEYFRAMES_EVERY:
            with pytest.raises(ImageReadError, match=f"frame {KEYFRAMES_EVERY} is damaged"):
                read(path, [number])
        else:
            assert np.array_equal(read(path, [number])[0], whole[number]), number


def test_damaged_clips_are_replaced_and_reported(tmp_path: Path) -> None:
    for name in ("mpeg4.avi", "h264.mp4"):
        write_moving(tmp_path / name).with_suffix(".txt").write_text("a boat")
    damage(tmp_path / "h264.mp4", 2 * KEYFRAMES_EVERY)
    (problem,) = check_data(tmp_path, num_frames=4).problems
    assert problem.name.endswith("h264.mp4") and "frame 24 is damaged" in problem.reason
    source = FileSource(tmp_path, size=(64, 96), batch_size=1, num_frames=4, fps=24)
    for step in range(24):
        source.batch(step, slice(0, 1))
    assert "h264.mp4" in str(source.report()) and "frame 24 is damaged" in str(source.report())
