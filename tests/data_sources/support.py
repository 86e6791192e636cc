"""Small pictures, clips and tars, made with the project's own writers."""

from __future__ import annotations

import io
import tarfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from stylecrafter.media.video import write_frames

WIDTH, HEIGHT = 48, 32


def shade(number: int) -> int:
    """The grey by which a record or a frame is told; far enough apart to survive compression."""
    return 20 + 10 * (number % 22)


def write_picture(
    path: Path, number: int, caption: str | None = None, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade(number),) * 3).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def picture_folder(folder: Path, count: int) -> Path:
    for number in range(count):
        write_picture(folder / f"{number:03d}.png", number, f"thing {number}")
    return folder


def clip_frames(count: int) -> np.ndarray:
    """Frame k is grey of shade(k)."""
    return np.stack([np.full((HEIGHT, WIDTH, 3), shade(k), np.uint8) for k in range(count)])


def write_clip(path: Path, count: int, fps: float = 8.0, caption: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frames(clip_frames(count), path, fps=fps)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def write_timed_clip(path: Path, ticks: list[int], per_second: int = 24, keyframes_every: int = 12) -> Path:
    """A clip whose frame k is shown at ticks[k] / per_second: variable frame rate, several keyframes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=per_second)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "10", "g": str(keyframes_every), "x264-params": "scenecut=0"}
        for array, tick in zip(clip_frames(len(ticks)), ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, per_second)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_empty_clip(path: Path) -> Path:
    """An mp4 with a video stream and no frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    return path


def frame_number(value: float) -> int:
    """Which frame or record a mean value in [0, 1] shows."""
    return round((value * 255 - 20) / 10)


def png_bytes(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (shade(number),) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
