"""When every frame of a clip is shown: from the times of its packets, or by decoding it where those do not tell."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from stylecrafter.errors import ImageReadError
from stylecrafter.media.animations import opened_animation
from stylecrafter.media.streams import (
    MAX_FRAMES,
    ClipSource,
    decoded,
    is_animation,
    opened_file,
    opened_stream,
    packets,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

#: What browsers give a frame without a duration.
_ANIMATION_SECONDS = 0.1
#: Frames that are decoded to see whether packets of doubtful times tell the truth.
_TRIED = 48
_USUAL_FPS = 25.0
#: FFmpeg's AVFMT_FLAG_GENPTS, which PyAV sets.
_GENERATE_TIMES = 1


@dataclass(frozen=True)
class ClipIndex:
    """When every frame of a clip is shown.

    Attributes:
        times: Seconds from the first frame on, ascending; one per frame that the file really holds.
        declared: Frames that the file says it has, 0 where its format does not say.
        width, height: Pixels of a frame as stored.
        ticks: The same times as the decoder gives them; empty where it gives none that could be trusted, and a frame
            is found by counting from the first on.
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


@dataclass
class _Packets:
    """Times of all packets that hold a frame, in the order they lie in.

    Attributes:
        ticks: Presentation times of those that are shown; None where there is none.
        decoding: Their decoding times.
        count: How many there are, with those that an edit list cuts away.
    """

    ticks: list[int | None] = field(default_factory=list)
    decoding: list[int | None] = field(default_factory=list)
    count: int = 0


def index_clip(source: ClipSource, name: str) -> ClipIndex:
    """Read the times of all frames. Of a video nothing is decoded, unless its times are missing or wrong.

    Args:
        source: A file, or a file's bytes.
        name: What errors call it; what it is, is seen from its first bytes.

    Raises:
        ImageReadError: Not a clip, damaged, too large, without frames, or cut short: it declares frames that it does
            not hold.
    """
    try:
        with opened_file(source) as file:
            return _index_animation(file) if is_animation(file) else _index_video(file)
    except MemoryError as error:
        raise ImageReadError(f"{name} does not fit into memory") from error


def _index_animation(file: IO[bytes]) -> ClipIndex:
    with opened_animation(file) as animation:
        times, now = [], 0.0
        for duration in animation.durations():
            times.append(now)
            now += duration / 1000.0 or _ANIMATION_SECONDS
        return ClipIndex(tuple(times), len(times), animation.width, animation.height)


def _index_video(file: IO[bytes]) -> ClipIndex:
    with opened_stream(file) as (container, stream):
        _check_count(stream.frames)
        found = _packets(container, stream, generate=False)
        _check_complete(file, container, stream, found)
        width, height = stream.codec_context.width, stream.codec_context.height
        base, declared = float(stream.time_base or 0), max(0, stream.frames)
        reordered = stream.codec_context.has_b_frames
    if None in found.ticks:
        with opened_stream(file) as (container, stream):
            found = _packets(container, stream, generate=True)
        ticks = _true_ticks(file, found.ticks)
    elif reordered and found.ticks == sorted(_known(found.ticks)) and len(found.ticks) > 1:
        # Where frames lie in another order than they are shown in, their times must, too.
        ticks = _true_ticks(file, found.ticks)
    else:
        ticks = _distinct(found.ticks)
    if ticks:
        times = [(tick - ticks[0]) * base for tick in ticks]
    else:
        times = _times_by_decoding(file, found)
    if not times:
        raise ImageReadError("it holds no video frames")
    return ClipIndex(tuple(times), declared, width, height, tuple(ticks))


def _packets(container: InputContainer, stream: VideoStream, *, generate: bool) -> _Packets:
    """All packets; with `generate` FFmpeg makes up times that are missing, which it gets wrong for some formats."""
    if not generate:
        container.flags &= ~_GENERATE_TIMES
    found = _Packets()
    for packet in packets(container, stream):
        if packet.is_corrupt:
            raise ImageReadError(f"cut short or damaged after {len(found.ticks)} frames")
        found.count += 1
        _check_count(found.count)
        if not packet.is_discard:
            found.ticks.append(packet.pts)
            found.decoding.append(packet.dts)
    return found


def _check_count(count: int) -> None:
    if count > MAX_FRAMES:
        raise ImageReadError(f"too long: {count:,} frames or more; the limit is {MAX_FRAMES:,}")


def _check_complete(file: IO[bytes], container: InputContainer, stream: VideoStream, found: _Packets) -> None:
    """Refuse a clip that holds fewer frames than it declares, unless its format can say that without being cut."""
    if stream.frames <= found.count:
        return
    number, name = stream.index, container.format.name
    if name == "avi" and _is_whole_riff(file):
        return  # frames that are shown for longer are declared again and hold nothing
    if name.startswith("mov"):
        # An edit list leaves out frames that lie in the file all the same.
        with opened_stream(file, ignore_edits=True) as (again, other):
            if other.index == number and sum(1 for _ in packets(again, other)) >= stream.frames:
                return
    raise ImageReadError(f"cut short: {len(found.ticks)} of the {stream.frames} frames that it declares")


def _is_whole_riff(file: IO[bytes]) -> bool:
    file.seek(4)
    declared = int.from_bytes(file.read(4), "little")
    return file.seek(0, os.SEEK_END) >= declared + 8


def _known(ticks: list[int | None]) -> list[int]:
    return [tick for tick in ticks if tick is not None]


def _distinct(ticks: list[int | None]) -> list[int]:
    """Ascending, or nothing where two frames are said to be shown at one time or one has no time."""
    known = sorted(set(_known(ticks)))
    return known if len(known) == len(ticks) else []


def _true_ticks(file: IO[bytes], ticks: list[int | None]) -> list[int]:
    """Ascending ticks, or nothing where the first frames of the clip are not shown at them."""
    known = _distinct(ticks)
    if not known:
        return []
    with opened_stream(file) as (container, stream):
        tried = [frame.pts for frame in itertools.islice(decoded(container, stream, []), _TRIED)]
    return known if tried == known[: len(tried)] and len(tried) == min(_TRIED, len(known)) else []


def _times_by_decoding(file: IO[bytes], found: _Packets) -> list[float]:
    """Seconds of all frames, in the order the decoder shows them."""
    with opened_stream(file) as (container, stream):
        ticks = [frame.pts for frame in decoded(container, stream, [])]
        base = float(stream.time_base or 0)
        rate = float(stream.average_rate or 0)
    # Decoding times are those of the frames in another order, if each packet holds one.
    for known in (_known(ticks), sorted(set(_known(found.decoding)))):
        if len(known) == len(ticks) and all(a < b for a, b in itertools.pairwise(known)):
            return [(tick - known[0]) * base for tick in known]
    step = 1 / rate if 1e-3 <= rate <= 1000 else 1 / _USUAL_FPS
    return [number * step for number in range(len(ticks))]
