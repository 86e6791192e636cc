"""A clip that another is made from: how long, how fast and how large it is, and the part of it that is wanted.

Frames are picked by time, so that a clip of a variable frame rate comes at a steady one and stays with its sound. They
are read one by one and brought to size at once: none but those that are wanted is held, and those are small.
"""

from __future__ import annotations

import bisect
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media.clips import read_clip
from stylecrafter.media.documents import shown
from stylecrafter.media.indexing import ClipIndex, index_clip
from stylecrafter.media.streams import NO_CLIP, is_animation, naming, opened_file, opened_stream
from stylecrafter.media.video import MAX_HELD_FRAMES, MAX_HELD_PIXELS

#: A rate that a file states is believed where its frames come about that fast.
_ABOUT = 0.01


@dataclass(frozen=True)
class SourceClip:
    """A clip that was looked at and not decoded but for its first frame.

    Attributes:
        width, height: Pixels of its frames as they are shown: upright, of square pixels.
        fps: Frames per second; 0 for a single frame.
        begin: Seconds from the beginning of the file's clock to the first frame, where its sound is told by.
        has_sound: Whether there is a stream of sound.
    """

    path: Path
    index: ClipIndex = field(repr=False)
    width: int
    height: int
    fps: float
    begin: float
    has_sound: bool


@dataclass(frozen=True)
class ClipPart:
    """Frames of a clip by their numbers, at a steady rate (0 for a single frame); `start` in seconds."""

    numbers: tuple[int, ...]
    fps: float
    start: float


def open_clip(path: str | os.PathLike[str]) -> SourceClip:
    """Look at a clip, or at a still picture, which is a clip of one frame.

    Raises:
        ImageReadError: Missing, not a clip, or damaged.
    """
    file_path = Path(path)
    with naming(path, NO_CLIP):
        index = index_clip(file_path, shown(path))
        rate, begin, sound = 0.0, 0.0, False
        with opened_file(file_path) as file:
            if not is_animation(file):
                with opened_stream(file) as (container, stream):
                    rate = float(stream.average_rate or 0)
                    first = index.ticks[0] if index.ticks else stream.start_time or 0
                    begin = first * float(stream.time_base or 0)
                    sound = bool(container.streams.audio)
        (size,) = read_clip(file_path, shown(path), index, [0], lambda _, picture: picture.size)
    fps = rate if index.fps and abs(rate / index.fps - 1) < _ABOUT else index.fps
    return SourceClip(file_path, index, *size, fps, begin, sound)


def choose_part(
    clip: SourceClip,
    *,
    start: float = 0.0,
    duration: float | None = None,
    frames: int | None = None,
    fps: float | None = None,
) -> ClipPart:
    """Which frames of a clip are wanted: those on screen in the middle of every 1 / fps seconds.

    Args:
        start: Seconds from its first frame on.
        duration: Seconds; None: to its end.
        frames: The first so many; None: all of that time.
        fps: Frames per second; None: its own.

    Raises:
        InvalidInputError: There are not so many seconds or frames, or more than `MAX_HELD_FRAMES`.
    """
    length, rate = clip.index.seconds, fps or clip.fps
    name = shown(clip.path)
    if len(clip.index.times) == 1:
        if start or (frames or 1) > 1:
            raise InvalidInputError(f"{name} is a single frame: more than that was asked for.")
        return ClipPart((0,), 0.0, 0.0)
    if start >= length:
        raise InvalidInputError(f"{name} lasts {length:.2f} s; there is nothing at {start:.2f} s.")
    left = length - start
    # A whole frame more or less is rounding of times, not a clip that is too short.
    if duration is not None and duration > left + 1 / rate:
        raise InvalidInputError(
            f"{name} lasts {length:.2f} s; from {start:.2f} s on there are {left:.2f} s, not {duration:.2f} s."
        )
    count = max(1, round(min(left, duration or left) * rate))
    if frames is not None and frames > count:
        raise InvalidInputError(
            f"{name} has {count} frames of that time at {rate:.4g} per second, {frames} were asked for."
        )
    count = count if frames is None else frames
    if count > MAX_HELD_FRAMES:
        raise InvalidInputError(
            f"{name} has {count:,} frames ({left:,.0f} s at {rate:.4g} per second); the limit is "
            f"{MAX_HELD_FRAMES:,}: take a part of it by --start and --duration, or by --frames."
        )
    times = clip.index.times
    moments = [times[0] + start + (k + 0.5) / rate for k in range(count)]
    return ClipPart(tuple(max(0, bisect.bisect_right(times, at) - 1) for at in moments), rate, start)


def read_part(clip: SourceClip, part: ClipPart, size: tuple[int, int] | None) -> list[Image.Image]:
    """The frames of a part, brought to `size` (width, height) as they come; None leaves them as they are.

    Raises:
        ImageReadError: A frame is damaged, or together they have more than `MAX_HELD_PIXELS` pixels.
    """
    width, height = size or (clip.width, clip.height)
    pixels = len(part.numbers) * width * height
    with naming(clip.path, NO_CLIP):
        if pixels > MAX_HELD_PIXELS:
            raise ImageReadError(
                f"too large: {len(part.numbers):,} frames of {width}x{height} pixels; the limit is "
                f"{MAX_HELD_PIXELS:,} pixels in all together"
            )

        def convert(_: int, picture: Image.Image) -> Image.Image:
            return picture if size is None else fitted(picture, size)

        return read_clip(clip.path, shown(clip.path), clip.index, part.numbers, convert)


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at that size; what sticks out of another aspect ratio is cut off evenly on both sides."""
    return picture if picture.size == size else ImageOps.fit(picture, size, Image.Resampling.BICUBIC)


def size_within(size: tuple[int, int], pixels: int, multiple: int) -> tuple[int, int]:
    """A size in about the aspect ratio of `size`, of about so many pixels, with sides that are multiples.

    Args:
        size: Width and height.
        pixels: How many there may be; rounding to multiples may exceed it by a little.
        multiple: Of both sides.
    """
    scale = math.sqrt(pixels / (size[0] * size[1]))
    width, height = (max(1, round(side * scale / multiple)) * multiple for side in size)
    return width, height
