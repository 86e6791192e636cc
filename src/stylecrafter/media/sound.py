"""The sound of one clip put beside the pictures of another, as it is where an mp4 can hold it, else as AAC."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylecrafter.media.documents import shown
from stylecrafter.media.streams import opened_container, opened_file

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

logger = logging.getLogger(__name__)

#: Codecs that players expect inside an mp4.
_COPIED = frozenset(("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"))
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_USUAL_RATE = 48000


@dataclass(frozen=True)
class Sound:
    """The sound of a file from `start` on, in seconds of the file's own clock."""

    path: Path
    start: float = 0.0


def with_sound(mp4: bytes, sound: Sound, seconds: float) -> bytes:
    """The same mp4, its pictures untouched, with sound of at most so many seconds.

    Where the sound cannot be read, that is logged and the mp4 comes back as it was: its pictures are worth more.

    Raises:
        ImageReadError: The file is not there any more.
    """
    import av

    buffer = BytesIO()
    try:
        with (
            opened_file(sound.path) as file,
            opened_container(file) as source,
            av.open(BytesIO(mp4)) as pictures,
            av.open(
                buffer,
                "w",
                format="mp4",
                options={"movflags": "+faststart", "fflags": "+bitexact"},
                io_open=lambda *_: BytesIO(buffer.getvalue()),
            ) as container,
        ):
            if "comment" in pictures.metadata:
                container.metadata["comment"] = pictures.metadata["comment"]
            video = container.add_stream_from_template(pictures.streams.video[0])
            shown_packets = _of_stream(pictures, video)
            heard_packets = _heard(source, container, sound.start, seconds)
            for packet in heapq.merge(shown_packets, heard_packets, key=_moment):
                container.mux(packet)
    except (av.error.FFmpegError, ValueError) as error:
        logger.warning("the sound of %s cannot be read and is left out: %s", shown(sound.path), error)
        return mp4
    return buffer.getvalue()


def _moment(packet: Packet) -> float:
    return float((packet.dts or 0) * (packet.time_base or 0))


def _of_stream(pictures: Any, video: Any) -> Iterator[Packet]:
    for packet in pictures.demux(pictures.streams.video[0]):
        if packet.size:  # the last one is empty
            packet.stream = video
            yield packet


def _heard(
    source: InputContainer, container: OutputContainer, start: float, seconds: float
) -> Iterator[Packet]:
    """Packets of sound for the container, their times counted from `start` on.

    The stream is added before the first packet is asked for: a container is written from its header on.
    """
    stream: Any = source.streams.best("audio")
    if stream is None or stream.codec_context is None:
        raise ValueError("no sound that is known here")
    copied = stream.codec_context.codec.canonical_name in _COPIED
    make = _copied if copied else _encoded
    return make(source, stream, container, start, seconds)


def _copied(
    source: InputContainer, stream: AudioStream, container: OutputContainer, start: float, seconds: float
) -> Iterator[Packet]:
    target = container.add_stream_from_template(stream)

    def packets() -> Iterator[Packet]:
        for packet in source.demux(stream):
            if packet.pts is None or packet.time_base is None:
                continue
            base = float(packet.time_base)
            begin, length = packet.pts * base - start, (packet.duration or 0) * base
            if begin + length / 2 > seconds:
                return
            if begin + length / 2 > 0:
                packet.pts -= round(start / base)
                packet.dts = packet.pts
                packet.stream = target
                yield packet

    return packets()


def _encoded(
    source: InputContainer, stream: AudioStream, container: OutputContainer, start: float, seconds: float
) -> Iterator[Packet]:
    import av

    rate = stream.rate if stream.rate in _RATES else _USUAL_RATE
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    target: Any = container.add_stream("aac", rate=rate, layout=layout)

    def packets() -> Iterator[Packet]:
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        for frame in source.decode(stream):
            for part in resampler.resample(frame):
                begin = float((part.pts or 0) * (part.time_base or 0)) - start
                first, last = max(0, round(-begin * rate)), round((seconds - begin) * rate)
                samples = part.to_ndarray()[:, first : max(0, last)]
                if samples.shape[1]:
                    piece = av.AudioFrame.from_ndarray(samples.copy(), format="fltp", layout=layout)
                    piece.rate, piece.time_base = rate, Fraction(1, rate)
                    piece.pts = round(begin * rate) + first
                    yield from target.encode(piece)
                if last <= part.samples:
                    yield from target.encode(None)
                    return
        yield from target.encode(None)

    return packets()
