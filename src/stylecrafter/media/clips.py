"""A few frames out of a clip: found by the times in its index, reached by seeking, nothing else decoded."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, TypeVar

from PIL import Image

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media.animations import opened_animation
from stylecrafter.media.indexing import ClipIndex, index_clip
from stylecrafter.media.streams import ClipSource, decoded, is_animation, opened_file, opened_stream
from stylecrafter.media.upright import upright

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["ClipIndex", "check_sampling", "choose_frames", "index_clip", "read_clip"]

_T = TypeVar("_T")
#: Times are kept in a clip's own ticks, of 1/90,000 s or coarser: less than this is rounding.
_SAME_TIME = 1e-5
#: A clip with fewer frames per second than asked for, by more than rounding of times explains.
_SLOWER = 0.95


def choose_frames(
    index: ClipIndex, num_frames: int, *, stride: int = 1, fps: float | None = None, start: float = 0.0
) -> list[int]:
    """Which frames make a clip of `num_frames`.

    Args:
        index: The clip's times.
        num_frames: How many frames.
        stride: Every how many frames of the file one is taken; counts frames, whatever their times.
        fps: Frames per second instead: the frame that is on screen at every 1/fps seconds, which is right for
            variable frame rates too.
        start: Where to begin, in [0, 1) of all possible beginnings.

    Raises:
        ImageReadError: The clip is too short, or slower than `fps`.
        InvalidInputError: `num_frames` or `stride` below 1, `fps` not above 0, both given, or a wrong `start`.
    """
    check_sampling(num_frames, stride, fps)
    if not 0 <= start < 1:
        raise InvalidInputError(f"start must be in [0, 1), got {start}.")
    count = len(index.times)
    if fps is None:
        span = (num_frames - 1) * stride + 1
        if count < span:
            every = "" if stride == 1 else f" at stride {stride}"
            raise ImageReadError(f"too short: {count} frames, {num_frames} frames{every} need {span}")
        first = int(start * (count - span + 1))
        return list(range(first, first + span, stride))
    if num_frames > 1 and index.fps < fps * _SLOWER:
        raise ImageReadError(f"too slow: {index.fps:.3g} frames per second, {fps:g} were asked for")
    # The last frame asked for may still be the last of the clip, which is on screen for a while.
    slack = index.seconds - (num_frames - 1) / fps
    if num_frames > 1 and slack <= _SAME_TIME:
        raise ImageReadError(
            f"too short: {index.seconds:.3g} s, {num_frames} frames at {fps:g} per second need {num_frames / fps:.3g} s"
        )
    begin = index.times[0] + start * max(0.0, slack)
    return [
        max(0, bisect.bisect_right(index.times, begin + k / fps + _SAME_TIME) - 1) for k in range(num_frames)
    ]


def check_sampling(num_frames: int, stride: int, fps: float | None) -> None:
    """Refuse what no clip could satisfy.

    Raises:
        InvalidInputError: `num_frames` or `stride` below 1, `fps` not above 0, or stride and fps together.
    """
    if num_frames < 1 or stride < 1:
        raise InvalidInputError(f"num_frames and stride must be at least 1, got {num_frames} and {stride}.")
    if fps is not None and not fps > 0:
        raise InvalidInputError(f"fps must be above 0, got {fps}.")
    if fps is not None and stride != 1:
        raise InvalidInputError(f"give a stride or fps, not both (got {stride} and {fps:g}).")


def read_clip(
    source: ClipSource,
    name: str,
    index: ClipIndex,
    chosen: Sequence[int],
    convert: Callable[[int, Image.Image], _T],
) -> list[_T]:
    """Decode the frames `chosen` (ascending numbers, repeats allowed) of a clip.

    Args:
        source: A file, or a file's bytes.
        name: What errors call it.
        index: Of this clip, from `index_clip`.
        chosen: Numbers of frames, from `choose_frames`.
        convert: Called with the position in `chosen` and the upright RGB picture as soon as it is decoded, so that
            no more than one frame of full size is held at a time.

    Raises:
        ImageReadError: A frame is missing or damaged.
    """
    wanted: dict[int, list[int]] = {}
    for position, number in enumerate(chosen):
        wanted.setdefault(number, []).append(position)

    def convert_all(pictures: Iterator[tuple[int, Image.Image]]) -> dict[int, _T]:
        return {position: convert(position, picture) for n, picture in pictures for position in wanted[n]}

    try:
        with opened_file(source) as file:
            if is_animation(file):
                found = convert_all(_animation_frames(file, sorted(wanted)))
            else:
                found = convert_all(_video_frames(file, index, set(wanted), from_start=not index.ticks))
                if len(found) < len(chosen) and index.ticks:
                    # Some formats seek past the wanted place: from the beginning everything comes by.
                    found = convert_all(_video_frames(file, index, set(wanted), from_start=True))
    except MemoryError as error:
        raise ImageReadError(f"{name} does not fit into memory") from error
    if len(found) < len(chosen):
        raise ImageReadError(f"{len(chosen) - len(found)} of {len(chosen)} frames cannot be decoded: damaged")
    return [found[position] for position in range(len(chosen))]


def _animation_frames(file: IO[bytes], numbers: Sequence[int]) -> Iterator[tuple[int, Image.Image]]:
    with opened_animation(file) as animation:
        for number in numbers:
            if not animation.seek(number):
                return
            yield number, animation.picture


def _video_frames(
    file: IO[bytes], index: ClipIndex, wanted: set[int], *, from_start: bool
) -> Iterator[tuple[int, Image.Image]]:
    """The `wanted` frames with their numbers, as they come by.

    Raises:
        ImageReadError: One of them is damaged, or drawn from one that is.
    """
    last = max(wanted)
    # Frames are drawn from others since the last keyframe: one that is damaged spoils those behind it, unmarked. The
    # decoder is not told to be strict: that of H.264 then refuses healthy packets behind the keyframe of an open group.
    keyframe: int | None = None
    spoilt: list[int] = []
    with opened_stream(file) as (container, stream):
        if not from_start and not _seek(container, stream, index.ticks[min(wanted)]):
            return
        for number, frame in _numbered(container, stream, index, spoilt):
            if frame.is_corrupt:
                spoilt.append(number)
            elif frame.key_frame:
                keyframe = number
            if number in wanted:
                first = min((n for n in spoilt if keyframe is None or n >= keyframe), default=None)
                if first is not None and keyframe is None and not from_start:
                    return  # seeking led between two keyframes: what lacks its beginning is not damaged
                if first is not None:
                    raise ImageReadError(f"frame {first} is damaged")
                yield number, upright(frame, stream)
            if number >= last:
                return


def _numbered(
    container: InputContainer, stream: VideoStream, index: ClipIndex, spoilt: list[int]
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames as they come, with their numbers; those of packets that cannot be decoded are added to `spoilt`."""
    damaged: list[int | None] = []
    count = 0
    for frame in decoded(container, stream, damaged):
        while damaged:
            tick = damaged.pop()
            if not index.ticks:
                spoilt.append(count)
            elif tick is not None:
                spoilt.append(bisect.bisect_left(index.ticks, tick))
        if not index.ticks:
            yield count, frame
        elif frame.pts is not None:
            number = bisect.bisect_left(index.ticks, frame.pts)
            if index.ticks[number : number + 1] == (frame.pts,):
                yield number, frame
        count += 1


def _seek(container: InputContainer, stream: VideoStream, tick: int) -> bool:
    import av

    try:
        container.seek(tick, stream=stream, backward=True)
    except av.error.FFmpegError:
        return False  # not every format can
    return True
