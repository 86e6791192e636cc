"""Clips to files and back: mp4, gif, webp, png.

The same frames give the same bytes, on one thread and without dates, so that a replayed clip can be compared
with the first by its hash.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from stylecrafter.errors import ImageReadError, InvalidInputError, unknown_name
from stylecrafter.media.files import write_atomic
from stylecrafter.media.metadata import EXIF_DESCRIPTION, METADATA_KEY, metadata_text

SUFFIXES = (".mp4", ".gif", ".webp", ".png")

Frames = Sequence[Image.Image] | NDArray[np.generic]

# Centiseconds and milliseconds are what the two formats count in; browsers play a gif delay below 2 as 10.
_GIF_TICKS, _WEBP_TICKS, _GIF_MAX_FPS = 100, 1000, 50
_PALETTE_PIXELS = 1_000_000
_BT709 = 1
_TV_RANGE = 1


def check_suffix(path: str | os.PathLike[str], num_frames: int = 1) -> str:
    """The lower-case suffix of `path`, once it is known that it can hold `num_frames` frames.

    Raises:
        UnknownNameError: Not one of `SUFFIXES`.
        InvalidInputError: Several frames for a `.png`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        hint = f"{os.fspath(path)!r} needs one of these endings."
        raise unknown_name("output format", suffix or "(no ending)", SUFFIXES, hint)
    if suffix == ".png" and num_frames > 1:
        raise InvalidInputError(
            f"a .png holds one picture, not {num_frames} frames: "
            "use .mp4, .gif or .webp, or ask for one frame."
        )
    return suffix


#: Of a still picture in a format that has to name a rate.
STILL_FPS = 8.0


def write_frames(
    frames: Frames, path: str | os.PathLike[str], fps: float = 8.0, metadata: Mapping[str, Any] | None = None
) -> Path:
    """Write frames to `path` in the format of its suffix; an existing file is replaced in one step, last.

    mp4 is H.264 with BT.709 colours. Even sizes are stored as yuv420p, which plays everywhere; an odd width
    or height, which yuv420p cannot hold, is kept exactly and stored as yuv444p, which browsers on some
    devices do not play. gif shares one dithered palette of 256 colours, webp is lossy at
    quality 90, png is lossless.

    Args:
        frames: Pictures of one size, or an array (f, h, w, 3) that is uint8 or float in [0, 1].
        path: Where to; one of `SUFFIXES`.
        fps: Frames per second, at most 50 for a gif; one frame may have 0, as `read_frames` says of a still picture.
        metadata: Anything json can hold; read back by `read_metadata`.

    Returns:
        The path as given.

    Raises:
        InvalidInputError: No frames, several sizes, a wrong fps, or a suffix that does not fit.
        OutputError: The disk or the folder does not take the file.
    """
    arrays = to_arrays(frames)
    suffix = check_suffix(path, len(arrays))
    if fps == 0 and len(arrays) == 1:
        fps = STILL_FPS
    if not 0 < fps <= 1000:
        raise InvalidInputError(f"fps must lie above 0 and at most at 1000, not {fps}.")
    comment = None if metadata is None else metadata_text(metadata)
    return write_atomic(path, _ENCODERS[suffix](arrays, fps, comment))


def read_frames(path: str | os.PathLike[str]) -> tuple[list[Image.Image], float]:
    """All frames of a clip as RGB pictures, and its frames per second (0.0 for a still picture).

    gif and webp keep a run of equal frames as one long frame. It comes back as the run it was, unless the
    whole clip was one run: then there is no shorter frame to measure it by, and it comes back as one.

    Raises:
        ImageReadError: Missing, not a clip, or damaged.
    """
    file = Path(path)
    if not file.is_file():
        raise ImageReadError(f"{file}: no such file.")
    try:
        if file.suffix.lower() in (".gif", ".webp", ".png"):
            return _read_animation(file)
        return _read_video(file)
    except MemoryError as error:
        raise ImageReadError(f"{file} does not fit into memory.") from error
    except Exception as error:
        # Demuxers and decoders answer damaged files with many exceptions.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageReadError(f"{file} is not a clip that can be read: {reason.rstrip('.')}.") from error


def to_arrays(frames: Frames) -> list[NDArray[np.uint8]]:
    """Frames as uint8 arrays (h, w, 3) of one size."""
    if isinstance(frames, np.ndarray):
        arrays = [np.ascontiguousarray(frame) for frame in _to_bytes(frames)]
    else:
        arrays = [np.asarray(frame.convert("RGB")) for frame in frames]
    if not arrays:
        raise InvalidInputError("there are no frames to write.")
    sizes = {(a.shape[1], a.shape[0]) for a in arrays}
    if len(sizes) > 1:
        raise InvalidInputError(f"all frames must have one size, not {sorted(sizes)}.")
    return arrays


def _to_bytes(frames: NDArray[np.generic]) -> NDArray[np.uint8]:
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise InvalidInputError(f"frames must be (f, h, w, 3), not {frames.shape}.")
    if frames.dtype == np.uint8:
        return frames.astype(np.uint8, copy=False)
    if not np.issubdtype(frames.dtype, np.floating):
        raise InvalidInputError(f"frames must be uint8 or float in [0, 1], not {frames.dtype}.")
    values = frames.astype(np.float32)
    if not np.isfinite(values).all():
        raise InvalidInputError("frames hold values that are not numbers.")
    scaled: NDArray[np.uint8] = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return scaled


def _encode_mp4(arrays: list[NDArray[np.uint8]], fps: float, comment: str | None) -> bytes:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    height, width = arrays[0].shape[:2]
    pixel_format = "yuv420p" if height % 2 == 0 and width % 2 == 0 else "yuv444p"
    buffer = BytesIO()
    # faststart (playing while loading) moves the index to the front in a second pass that reads it all again.
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(
        buffer, "w", format="mp4", options=options, io_open=lambda *_: _SecondReader(buffer)
    ) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        # x264's vector code gives other bytes about once in a hundred clips, its plain code always the same.
        stream.options = {"crf": "15", "preset": "slow", "x264-params": "asm=0"}
        codec = stream.codec_context
        codec.thread_count = 1  # x264's result depends on its number of threads
        codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
        codec.color_range = _TV_RANGE
        for array in arrays:
            frame = av.VideoFrame.from_ndarray(array, format="rgb24").reformat(
                format=pixel_format, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


class _SecondReader:
    """Reads a buffer that is being written, with a position of its own."""

    def __init__(self, buffer: BytesIO) -> None:
        self._buffer, self._position = buffer, 0

    def read(self, size: int) -> bytes:
        with self._buffer.getbuffer() as view:
            data = bytes(view[self._position : self._position + size])
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with self._buffer.getbuffer() as view:
            start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(view)}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position


def _encode_gif(arrays: list[NDArray[np.uint8]], fps: float, comment: str | None) -> bytes:
    if fps > _GIF_MAX_FPS:
        raise InvalidInputError(
            f"a .gif shows at most {_GIF_MAX_FPS} frames per second, not {fps:g}; use .mp4."
        )
    palette = _shared_palette(arrays)
    images = [
        Image.fromarray(a).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for a in arrays
    ]
    extra: dict[str, Any] = {} if comment is None else {"comment": comment.encode("ascii")}
    durations = [10 * ticks for ticks in _delays(len(arrays), fps, _GIF_TICKS)]
    return _save(images, "GIF", durations, loop=0, optimize=False, **extra)


def _shared_palette(arrays: list[NDArray[np.uint8]]) -> Image.Image:
    """One palette for the whole clip (a palette per frame flickers), from an even sample of its pixels."""
    pixels = np.concatenate([a.reshape(-1, 3) for a in arrays])
    pixels = pixels[:: -(-len(pixels) // _PALETTE_PIXELS)]
    return Image.fromarray(pixels[None]).quantize(256, method=Image.Quantize.MEDIANCUT)


def _encode_webp(arrays: list[NDArray[np.uint8]], fps: float, comment: str | None) -> bytes:
    extra: dict[str, Any] = {}
    if comment is not None:
        exif = Image.Exif()
        exif[EXIF_DESCRIPTION] = comment
        extra["exif"] = exif
    durations = _delays(len(arrays), fps, _WEBP_TICKS)
    images = [Image.fromarray(a) for a in arrays]
    return _save(images, "WEBP", durations, loop=0, quality=90, method=4, **extra)


def _encode_png(arrays: list[NDArray[np.uint8]], fps: float, comment: str | None) -> bytes:
    text = PngImagePlugin.PngInfo()
    if comment is not None:
        text.add_itxt(METADATA_KEY, comment)
    buffer = BytesIO()
    Image.fromarray(arrays[0]).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def _save(images: list[Image.Image], kind: str, durations: list[int], **options: Any) -> bytes:
    if len(images) > 1:
        options |= {"save_all": True, "append_images": images[1:], "duration": durations}
    buffer = BytesIO()
    images[0].save(buffer, kind, **options)
    return buffer.getvalue()


def _delays(count: int, fps: float, ticks: int) -> list[int]:
    """Whole ticks per frame whose running sum stays with the clock: 8 fps in a gif is 12, 13, 12, 13, …"""
    ends = [round(Fraction(ticks * (i + 1)) / Fraction(fps)) for i in range(count)]
    return [max(1, end - start) for start, end in zip([0, *ends], ends, strict=False)]


def _read_animation(file: Path) -> tuple[list[Image.Image], float]:
    frames: list[Image.Image] = []
    durations: list[float] = []
    with Image.open(file) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            frames.append(image.convert("RGB"))
            durations.append(float(image.info.get("duration", 0)))
    if len(frames) == 1 and durations[0] == 0:
        return frames, 0.0
    shortest = max(1.0, min(durations))
    repeats = [max(1, round(d / shortest)) for d in durations]
    # Rounding to ticks moves a delay by one tick at most; durations of another kind are not runs of frames.
    if any(abs(d - n * shortest) > 10.0 * n for n, d in zip(repeats, durations, strict=True)):
        repeats = [1] * len(frames)
    run = [frame for frame, n in zip(frames, repeats, strict=True) for _ in range(n)]
    return run, 1000.0 * len(run) / max(1.0, sum(durations))


def _read_video(file: Path) -> tuple[list[Image.Image], float]:
    import av

    frames: list[Image.Image] = []
    with av.open(str(file)) as container:
        if not container.streams.video:
            raise ImageReadError("it holds no video")
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            if frame.is_corrupt:  # decoders paint over damage and leave no more than a mark
                raise ImageReadError(f"frame {len(frames) + 1} is damaged")
            frames.append(Image.fromarray(frame.to_ndarray(format="rgb24")))
        rate = stream.average_rate
    if not frames:
        raise ImageReadError("it holds no frames")
    return frames, float(rate or 0)


_ENCODERS: dict[str, Callable[[list[NDArray[np.uint8]], float, str | None], bytes]] = {
    ".mp4": _encode_mp4,
    ".gif": _encode_gif,
    ".webp": _encode_webp,
    ".png": _encode_png,
}
