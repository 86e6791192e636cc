"""A few frames out of a clip: found by the times in its index, reached by seeking, nothing else decoded."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from stylecrafter.errors import ImageReadError, InvalidInputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

ANIMATIONS = (".gif", ".webp", ".png")
"""Formats that Pillow reads frame by frame; everything else goes through PyAV."""

ClipSource = Path | bytes
_T = TypeVar("_T")
#: Times are kept in a clip's own ticks, of 1/90,000 s or coarser: less than this is rounding.
_SAME_TIME = 1e-5
#: A clip with fewer frames per second than asked for, by more than rounding of times explains.
_SLOWER = 0.95


@dataclass(frozen=True)
class ClipIndex:
    """When every frame of a clip is shown.

    Attributes:
        times: Seconds from the first frame on, ascending; one per frame that the file really holds.
        declared: Frames that the file says it has, 0 where its format does not say.
        width, height: Pixels of a frame as stored.
    """

    times: tuple[float, ...] = field(repr=False)
    declared: int
    width: int
    height: int
    ticks: tuple[int, ...] = field(repr=False, default=())

    @property
    def frame_seconds(self) -> float:
        """The usual time between two frames (the median); 0 for a single frame."""
        steps = sorted(b - a for a, b in zip(self.times, self.times[1:], strict=False))
        return steps[len(steps) // 2] if steps else 0.0

    @property
    def seconds(self) -> float:
        """Duration, the last frame included."""
        return self.times[-1] - self.times[0] + self.frame_seconds

    @property
    def fps(self) -> float:
        """Frames per second on average; 0 for a single frame."""
        span = self.times[-1] - self.times[0]
        return (len(self.times) - 1) / span if span > 0 else 0.0


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


def index_clip(source: ClipSource, name: str) -> ClipIndex:
    """Read the times of all frames, without decoding any of a video.

    Args:
        source: A file, or a file's bytes.
        name: What errors call it, with its ending.

    Raises:
        ImageReadError: Not a clip, damaged, without frames, or cut short: it declares frames that it does not hold.
    """
    if Path(name).suffix.lower() in ANIMATIONS:
        return _guarded(name, lambda: _index_animation(source))
    return _guarded(name, lambda: _index_video(source))


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
        name: What errors call it, with its ending.
        index: Of this clip, from `index_clip`.
        chosen: Numbers of frames, from `choose_frames`.
        convert: Called with the position in `chosen` and the upright RGB picture as soon as it is decoded, so that
            no more than one frame of full size is held at a time.

    Raises:
        ImageReadError: A frame is missing or damaged.
    """
    reading = _read_animation if Path(name).suffix.lower() in ANIMATIONS else _read_video
    return _guarded(name, lambda: reading(source, index, chosen, convert))


def _guarded(name: str, action: Callable[[], _T]) -> _T:
    try:
        return action()
    except MemoryError as error:
        raise ImageReadError(f"{name} does not fit into memory") from error
    except InvalidInputError:
        raise
    except Exception as error:
        # Demuxers and decoders answer damaged files with many exceptions.
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        raise ImageReadError(f"not a clip that can be read: {reason.rstrip('.')}") from error


@contextmanager
def _opened(source: ClipSource) -> Iterator[tuple[InputContainer, VideoStream]]:
    import av

    if (len(source) if isinstance(source, bytes) else source.stat().st_size) == 0:
        raise ImageReadError("empty (0 bytes)")
    with av.open(BytesIO(source) if isinstance(source, bytes) else str(source), "r") as container:
        if not container.streams.video:
            raise ImageReadError("it holds no video frames")
        stream = container.streams.video[0]
        # Loaders run a process per core; the decoder's own threads would only get into their way.
        stream.codec_context.thread_count = 1
        yield container, stream


def _index_video(source: ClipSource) -> ClipIndex:
    with _opened(source) as (container, stream):
        ticks: list[int] = []
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard or packet.pts is None:
                continue
            if packet.is_corrupt:
                raise ImageReadError(f"cut short or damaged after {len(ticks)} frames")
            ticks.append(packet.pts)
        if stream.frames > len(ticks):
            raise ImageReadError(f"cut short: {len(ticks)} of the {stream.frames} frames that it declares")
        if not ticks:
            raise ImageReadError("it holds no video frames")
        ticks.sort()
        base = float(stream.time_base or 0)
        times = tuple((tick - ticks[0]) * base for tick in ticks)
        size = stream.codec_context
        return ClipIndex(times, stream.frames, size.width, size.height, tuple(ticks))


def _read_video(
    source: ClipSource, index: ClipIndex, chosen: Sequence[int], convert: Callable[[int, Image.Image], _T]
) -> list[_T]:
    found = _decode_from(source, index, chosen, convert, from_start=False)
    if len(found) < len(chosen):
        # Some formats seek past the wanted place: from the beginning everything comes by.
        found = _decode_from(source, index, chosen, convert, from_start=True)
    if len(found) < len(chosen):
        raise ImageReadError(f"{len(chosen) - len(found)} of {len(chosen)} frames cannot be decoded: damaged")
    return [found[position] for position in range(len(chosen))]


def _decode_from(
    source: ClipSource,
    index: ClipIndex,
    chosen: Sequence[int],
    convert: Callable[[int, Image.Image], _T],
    *,
    from_start: bool,
) -> dict[int, _T]:
    wanted: dict[int, list[int]] = {}
    for position, number in enumerate(chosen):
        wanted.setdefault(index.ticks[number], []).append(position)
    last = max(wanted)
    found: dict[int, _T] = {}
    # Frames are drawn from others since the last keyframe: one that is damaged spoils those behind it, unmarked. The
    # decoder is not told to be strict: that of H.264 then refuses healthy packets behind the keyframe of an open group.
    keyframe: int | None = None
    damaged: list[int] = []
    with _opened(source) as (container, stream):
        if not from_start:
            container.seek(min(wanted), stream=stream, backward=True)
        for frame in _decoded(container, stream, damaged):
            if frame.pts is None:
                continue
            if frame.is_corrupt:
                damaged.append(frame.pts)
            elif frame.key_frame:
                keyframe = frame.pts
            if frame.pts in wanted:
                spoils = [tick for tick in damaged if keyframe is None or tick >= keyframe]
                if spoils and keyframe is None and not from_start:
                    break  # seeking led between two keyframes: what lacks its beginning is not damaged
                if spoils:
                    raise ImageReadError(f"frame {bisect.bisect_left(index.ticks, min(spoils))} is damaged")
                picture = _upright(frame, stream)
                for position in wanted[frame.pts]:
                    found[position] = convert(position, picture)
            if frame.pts >= last:
                break
    return found


def _decoded(container: InputContainer, stream: VideoStream, damaged: list[int]) -> Iterator[VideoFrame]:
    """The frames of a stream, over packets that cannot be decoded; the times of those are added to `damaged`."""
    import av

    for packet in container.demux(stream):
        try:
            frames = stream.decode(packet)
        except av.error.InvalidDataError:
            if packet.pts is not None:
                damaged.append(packet.pts)
            continue
        yield from frames


def _upright(frame: VideoFrame, stream: VideoStream) -> Image.Image:
    """A frame as it is shown: square pixels, turned as the camera was held."""
    picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
    aspect = float(stream.sample_aspect_ratio or 1)
    if aspect > 0 and abs(aspect - 1) > 1e-3:
        width = max(1, round(picture.width * aspect))
        picture = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
    if frame.rotation:
        picture = picture.rotate(frame.rotation, expand=True)
    return picture


def _bytes_or_path(source: ClipSource) -> BytesIO | Path:
    return BytesIO(source) if isinstance(source, bytes) else source


def _index_animation(source: ClipSource) -> ClipIndex:
    # Browsers show a frame without a duration for a tenth of a second.
    with Image.open(_bytes_or_path(source)) as image:
        times, now = [], 0.0
        count = getattr(image, "n_frames", 1)
        for number in range(count):
            image.seek(number)
            image.load()
            times.append(now)
            now += (float(image.info.get("duration", 0)) or 100.0) / 1000.0
        return ClipIndex(tuple(times), count, image.width, image.height)


def _read_animation(
    source: ClipSource, index: ClipIndex, chosen: Sequence[int], convert: Callable[[int, Image.Image], _T]
) -> list[_T]:
    found: list[_T] = []
    with Image.open(_bytes_or_path(source)) as image:
        for position, number in enumerate(chosen):
            image.seek(number)
            image.load()
            found.append(convert(position, image.convert("RGB")))
    return found
