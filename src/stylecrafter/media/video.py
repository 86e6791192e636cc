"""Clips to files and back: mp4, gif, webp, png.

The same frames give the same bytes, on one thread and without dates, so that a replayed clip can be compared
with the first by its hash.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stylecrafter.errors import ImageReadError, InvalidInputError, unknown_name
from stylecrafter.media.animations import Animation, opened_animation
from stylecrafter.media.documents import shown
from stylecrafter.media.encoders import ENCODERS, GIF_LONGEST_TICKS, encode_lossless_webp
from stylecrafter.media.files import write_atomic
from stylecrafter.media.images import MAX_SIDE
from stylecrafter.media.indexing import index_clip
from stylecrafter.media.metadata import metadata_text
from stylecrafter.media.sound import Sound, with_sound
from stylecrafter.media.streams import (
    MAX_DECODED_PIXELS,
    MAX_FRAMES,
    NO_CLIP,
    decoded,
    is_animation,
    naming,
    opened_file,
    opened_stream,
)
from stylecrafter.media.upright import upright

logger = logging.getLogger(__name__)

SUFFIXES = tuple(ENCODERS)
LOSSLESS_SUFFIXES = (".webp", ".png")

Frames = Sequence[Image.Image] | NDArray[np.generic]

MAX_HELD_FRAMES = 10_000
"""Of a clip that is read into memory as a whole; as many as can be generated."""
MAX_HELD_PIXELS = 300_000_000
"""In all frames together of a clip that is read into memory as a whole: 1.2 GB as pictures."""

# Least and most frames per second: browsers play a gif delay below 2 hundredths as 10, mp4 keeps a rate as a fraction
# of small numbers.
_GIF_FPS = (100 / GIF_LONGEST_TICKS, 50.0)
_MP4_FPS = (0.001, 1000.0)
# A frame of a webp counts milliseconds in 24 bits, the writer the whole clip in 31.
_WEBP_FPS = (1000 / (2**24 - 1), 1000.0)
_WEBP_MILLISECONDS = 2**31 - 1
# Of a png, what is read again: the format itself holds more.
_LONGEST_SIDE = {".mp4": 16_384, ".gif": 65_535, ".webp": 16_383, ".png": MAX_SIDE}


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


def check_format(suffix: str, frames: int, width: int, height: int, fps: float) -> None:
    """Whether a format can hold a clip; to be asked before the clip is made.

    Args:
        suffix: One of `SUFFIXES`.
        fps: Frames per second; of no meaning for one frame.

    Raises:
        InvalidInputError: It cannot; the message has the limit and the formats that can.
    """
    problem = _beyond(suffix, frames, width, height, fps)
    if problem is None:
        return
    others = [other for other in SUFFIXES if _beyond(other, frames, width, height, fps) is None]
    advice = f"use {' or '.join(others)}" if others else "no other format can"
    raise InvalidInputError(f"{problem}; {advice}.")


def _beyond(suffix: str, frames: int, width: int, height: int, fps: float) -> str | None:
    """What a format cannot hold of a clip; None where it can all of it."""
    longest = _LONGEST_SIDE[suffix]
    if max(width, height) > longest:
        return f"a {suffix} has at most {longest:,} pixels a side, not {width}x{height}"
    if frames == 1 and suffix != ".mp4":
        return None  # its rate is not written
    if suffix == ".png":
        return f"a .png holds one picture, not {frames} frames"
    least, most = {".mp4": _MP4_FPS, ".gif": _GIF_FPS, ".webp": _WEBP_FPS}[suffix]
    if fps < least:
        return f"a {suffix} shows at least {least:.3g} frames per second (one every {1 / least:,.2f} s), not {fps:g}"
    if fps > most:
        return f"a {suffix} shows at most {most:g} frames per second, not {fps:g}"
    if suffix == ".webp" and frames * 1000 / fps > _WEBP_MILLISECONDS:
        return f"a .webp lasts at most {_WEBP_MILLISECONDS / 1000:,.0f} s, not {frames / fps:,.0f} s ({frames} frames)"
    return None


#: Of a still picture in a format that has to name a rate.
STILL_FPS = 8.0


def check_lossless(suffix: str) -> None:
    """Whether a format can keep every pixel as it is.

    Raises:
        InvalidInputError: It cannot; the message has those that can.
    """
    if suffix not in LOSSLESS_SUFFIXES:
        raise InvalidInputError(f"a {suffix} is never lossless; use {' or '.join(LOSSLESS_SUFFIXES)}.")


def write_frames(
    frames: Frames,
    path: str | os.PathLike[str],
    fps: float = 8.0,
    metadata: Mapping[str, Any] | None = None,
    *,
    sound: Sound | None = None,
    lossless: bool = False,
) -> Path:
    """Write frames to `path` in the format of its suffix; an existing file is replaced in one step, last.

    mp4 is H.264 with BT.709 colours. Even sizes are stored as yuv420p, which plays everywhere; an odd width
    or height, which yuv420p cannot hold, is kept exactly and stored as yuv444p, which browsers on some
    devices do not play. gif shares one dithered palette of 256 colours, webp is lossy at
    quality 90 unless `lossless`, png is lossless.

    Args:
        frames: Pictures of one size, or an array (f, h, w, 3) that is uint8 or float in [0, 1].
        path: Where to; one of `SUFFIXES`.
        fps: Frames per second; one frame may have 0, as `read_frames` says of a still picture.
        metadata: Anything json can hold; read back by `read_metadata`.
        sound: Goes with the frames for as long as they last; only an mp4 has any, others leave it out and log that.
        lossless: Keep every pixel as it is; see `check_lossless`.

    Returns:
        The path as given.

    Raises:
        InvalidInputError: No frames, several sizes, a wrong fps, or more than the format can hold: see `check_format`.
        OutputError: The disk or the folder does not take the file.
    """
    arrays = to_arrays(frames)
    suffix = check_suffix(path, len(arrays))
    if fps == 0 and len(arrays) == 1:
        fps = STILL_FPS
    if not 0 < fps <= 1000:
        raise InvalidInputError(f"fps must lie above 0 and at most at 1000, not {fps}.")
    height, width = arrays[0].shape[:2]
    check_format(suffix, len(arrays), width, height, fps)
    encode = ENCODERS[suffix]
    if lossless:
        check_lossless(suffix)
        encode = encode_lossless_webp if suffix == ".webp" else encode
    comment = None if metadata is None else metadata_text(metadata)
    data = encode(arrays, fps, comment)
    if sound is not None and suffix == ".mp4":
        data = with_sound(data, sound, len(arrays) / fps)
    elif sound is not None:
        logger.warning("a %s has no sound: that of the video is left out; an .mp4 keeps it.", suffix)
    return write_atomic(path, data)


def read_frames(path: str | os.PathLike[str]) -> tuple[list[Image.Image], float]:
    """All frames of a clip as RGB pictures, and its frames per second (0.0 for a still picture).

    gif and webp keep a run of equal frames as one long frame. It comes back as the run it was, unless the
    whole clip was one run: then there is no shorter frame to measure it by, and it comes back as one.

    Raises:
        ImageReadError: Missing, not a clip, damaged, or more than is held in memory: `MAX_HELD_FRAMES` frames, or
            `MAX_HELD_PIXELS` pixels in all of them together.
    """
    with naming(path, NO_CLIP), opened_file(Path(path)) as file:
        if is_animation(file):
            with opened_animation(file) as animation:
                return _read_animation(animation)
        index = index_clip(Path(path), shown(path))
        _check_held(len(index.times), index.width, index.height)
        with opened_stream(file) as (_, stream):
            rate = float(stream.average_rate or 0)
        frames = list(_video_frames(path, MAX_HELD_PIXELS))
        sizes = {frame.size for frame in frames}
        if len(sizes) != 1:
            raise ImageReadError(
                f"its frames have several sizes: {sorted(sizes)}" if sizes else "it holds no frames"
            )
        return frames, rate if rate > 0 else index.fps


def iterate_frames(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """As the frames of `read_frames`, one after the other: no more than one is held at a time.

    Raises:
        ImageReadError: Missing, not a clip, damaged, or more than `MAX_DECODED_PIXELS` pixels in all frames together.
    """
    with naming(path, NO_CLIP), opened_file(Path(path)) as file:
        if not is_animation(file):
            index_clip(Path(path), shown(path))  # told where it is cut short
            yield from _video_frames(path, MAX_DECODED_PIXELS)
            return
        with opened_animation(file) as animation:
            for number, repeats in enumerate(_runs(list(animation.durations()), MAX_FRAMES)):
                animation.seek(number)
                yield from itertools.repeat(animation.picture, repeats)


def check_frames(path: str | os.PathLike[str], most: int | None = None) -> int:
    """Decode all frames of a clip and keep none; returns how many are stored, a run of equal frames as one.

    Args:
        most: Where known, how many there may be; decoding ends at the next.

    Raises:
        ImageReadError: As `iterate_frames`, and where there are more than `most`.
    """
    count = 0
    with naming(path, NO_CLIP), opened_file(Path(path)) as file:
        for count, _ in enumerate(_stored(path, file), start=1):
            if most is not None and count > most:
                raise ImageReadError(f"it holds more than the {most:,} frames that it should")
        if count == 0:
            raise ImageReadError("it holds no frames")
    return count


def same_frames(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    """Whether two clips show the same pixels; only one frame of each is held at a time.

    Raises:
        ImageReadError: One cannot be read, see `iterate_frames`.
    """
    pairs = itertools.zip_longest(iterate_frames(first), iterate_frames(second))
    return all(
        a is not None and b is not None and a.size == b.size and a.tobytes() == b.tobytes() for a, b in pairs
    )


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


def _stored(path: str | os.PathLike[str], file: IO[bytes]) -> Iterator[object]:
    """Something for every frame, once it is decoded."""
    if not is_animation(file):
        index_clip(Path(path), shown(path))  # told where it is cut short
        yield from _video_frames(path, MAX_DECODED_PIXELS)
        return
    with opened_animation(file) as animation:
        yield from animation.durations()


def _video_frames(path: str | os.PathLike[str], most: int) -> Iterator[Image.Image]:
    pixels = 0
    with opened_file(Path(path)) as file, opened_stream(file) as (container, stream):
        for number, frame in enumerate(decoded(container, stream), start=1):
            if frame.is_corrupt:  # decoders paint over damage and leave no more than a mark
                raise ImageReadError(f"frame {number} is damaged")
            pixels += frame.width * frame.height
            if pixels > most:
                raise ImageReadError(_too_large(number, frame.width, frame.height, most))
            yield upright(frame, stream)


def _read_animation(animation: Animation) -> tuple[list[Image.Image], float]:
    frames: list[Image.Image] = []
    durations: list[float] = []
    for duration in animation.durations():
        _check_held(len(frames) + 1, animation.width, animation.height)
        frames.append(animation.picture)
        durations.append(duration)
    if len(frames) == 1 and durations[0] == 0:
        return frames, 0.0
    repeats = _runs(durations, MAX_HELD_FRAMES)
    _check_held(sum(repeats), animation.width, animation.height)
    run = [frame for frame, n in zip(frames, repeats, strict=True) for _ in range(n)]
    return run, 1000.0 * len(run) / max(1.0, sum(durations))


def _runs(durations: Sequence[float], most: int) -> list[int]:
    """How many equal frames each stands for, by the shortest duration in milliseconds."""
    shortest = max(1.0, min(durations))
    repeats = [max(1, round(d / shortest)) for d in durations]
    # Rounding to ticks moves a delay by one tick at most; durations of another kind are not runs of frames.
    if any(abs(d - n * shortest) > 10.0 * n for n, d in zip(repeats, durations, strict=True)):
        return [1] * len(durations)
    if sum(repeats) > most:
        raise ImageReadError(f"its delays stand for {sum(repeats):,} frames; the limit is {most:,}")
    return repeats


def _check_held(count: int, width: int, height: int) -> None:
    if count > MAX_HELD_FRAMES:
        raise ImageReadError(f"too long: {count:,} frames; the limit is {MAX_HELD_FRAMES:,}")
    if count * width * height > MAX_HELD_PIXELS:
        raise ImageReadError(_too_large(count, width, height, MAX_HELD_PIXELS))


def _too_large(count: int, width: int, height: int, most: int) -> str:
    return f"too large: {count:,} frames of {width}x{height} pixels; the limit is {most:,} pixels in all together"
