"""Opening a clip with FFmpeg's demuxers: which stream of it is the clip, and nothing read but the file itself.

A path is never handed to FFmpeg, which would take `dawn:1.mp4` for a protocol, `%03d.png` for many files and a playlist
for leave to open what it names: it gets an opened file without a name, and may open nothing else.
"""

from __future__ import annotations

import functools
import io
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from stylecrafter.errors import ImageReadError
from stylecrafter.media.boxes import check_sample_sizes
from stylecrafter.media.documents import shown
from stylecrafter.media.images import MAX_PIXELS
from stylecrafter.media.recognise import HEAD_BYTES, recognise

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

ClipSource = Path | bytes

MAX_SIDE = 1_000_000
"""Of a frame, in pixels: a picture of a hundred million rows takes gigabytes, however narrow it is."""
MAX_FRAMES = 1_000_000
"""Of one clip: 9 hours at 30 frames per second."""
MAX_DECODED_PIXELS = 20_000_000_000
"""In all frames together of a video that is decoded from end to end: 2,400 frames of 4K, 9,600 of 1080p."""

MISSING = "no such file"
"""Why a file cannot be read that is not there: this alone needs no other words around it."""
NO_CLIP = "not a clip that can be read: "
"""How a reason begins that stands alone in a list of problems."""

#: What clips come in, and sound, so that a file of sound is told for what it is. Playlists and scripts are not there.
_FORMATS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v,h263,obu,av1,ivf,flv,live_flv,asf,ogg,mxf,nut,rm,dv,gxf,wtv,"
    "swf,yuv4mpegpipe,mjpeg,apng,mp3,wav,flac,aac,aiff,ac3,amr,caf,w64"
)
_CLIPS = (None, "an MP4 or MOV clip", "a Matroska or WebM clip", "an AVI clip", "an MPEG clip")
#: The first box of an mp4 or mov.
_MOV_BEGINNINGS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
#: Formats that Pillow reads frame by frame.
_ANIMATIONS = ("a GIF", "a PNG image", "a WebP image", "an AVIF image", "a JPEG image")
#: Codecs of pictures: a stream of them beside another is a cover or a thumbnail, whether or not it says so.
_STILL_CODECS = frozenset(("mjpeg", "png", "bmp", "gif", "webp", "tiff"))
#: FFmpeg's own decoders leave out the second picture of these codecs, which holds the transparency.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@contextmanager
def naming(path: str | os.PathLike[str], verdict: str) -> Iterator[None]:
    """Reasons as sentences that name the file and say what it is not: "`path` is `verdict`the reason."

    Raises:
        ImageReadError: Instead of one without a name, and of a lack of memory.
    """
    name = shown(path)
    try:
        yield
    except MemoryError as error:
        raise ImageReadError(f"{name} does not fit into memory.") from error
    except ImageReadError as error:
        if str(error) == MISSING:
            raise ImageReadError(f"{name}: {error}.") from error
        reason = str(error).removeprefix(NO_CLIP).rstrip(".")
        raise ImageReadError(f"{name} is {verdict}{reason}.") from error


@contextmanager
def opened_file(source: ClipSource) -> Iterator[IO[bytes]]:
    """A plain file, or bytes, for reading.

    Raises:
        ImageReadError: Missing, unreadable, empty, or no plain file: a pipe would wait for ever.
    """
    if isinstance(source, bytes):
        if not source:
            raise ImageReadError("empty (0 bytes)")
        yield io.BytesIO(source)
        return
    try:
        found = os.stat(source)
        if not stat.S_ISREG(found.st_mode):
            raise ImageReadError("a folder" if stat.S_ISDIR(found.st_mode) else "no plain file")
        if found.st_size == 0:
            raise ImageReadError("empty (0 bytes)")
        file = open(source, "rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise ImageReadError(MISSING) from error
    except (OSError, ValueError) as error:
        if isinstance(error, ImageReadError):
            raise
        raise ImageReadError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    with file:
        yield file


def is_animation(file: IO[bytes]) -> bool:
    """Whether an opened file is for Pillow, not for FFmpeg, by its first bytes; its name may say anything.

    Raises:
        ImageReadError: It is known to be something else than a clip.
    """
    found = recognise(file.read(HEAD_BYTES))
    file.seek(0)
    if found in _ANIMATIONS:
        return True
    if found not in _CLIPS:
        raise ImageReadError(f"{NO_CLIP}it is {found}")
    return False


@contextmanager
def opened_container(file: IO[bytes], *, ignore_edits: bool = False) -> Iterator[InputContainer]:
    """An opened file as a container of streams; with `ignore_edits`, what an edit list cuts away comes too.

    Raises:
        ImageReadError: No container that FFmpeg knows, or one that is damaged.
    """
    import av

    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
    if ignore_edits:
        options["ignore_editlist"] = "1"
    # Without it, a header of a few bytes makes FFmpeg take gigabytes while it looks for what is in there.
    more: dict[str, Any] = {"options": {"max_pixels": str(2 * MAX_PIXELS)}}
    if int(av.__version__.partition(".")[0]) < 19:  # from then on, what is not UTF-8 is no error
        more["metadata_errors"] = "replace"
    file.seek(4)
    if file.read(4) in _MOV_BEGINNINGS:
        check_sample_sizes(file)
    file.seek(0)
    try:
        container = av.open(_Nameless(file), "r", container_options=options, **more)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        # PyAV names its own errors; what a demuxer stumbles over is of no use to anyone.
        raise ImageReadError(f"{NO_CLIP}in no known format, or damaged at its beginning") from error
    with container:
        yield container


@contextmanager
def opened_stream(
    file: IO[bytes], *, ignore_edits: bool = False
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """An opened file as its container and the stream that is the clip.

    Raises:
        ImageReadError: As `opened_container`, and where there is no clip inside, or none that can be decoded.
    """
    with opened_container(file, ignore_edits=ignore_edits) as container:
        stream = best_stream(container)
        context = stream.codec_context
        check_pixels(context.width, context.height)
        # Loaders run a process per core; the decoder's own threads would only get into their way.
        context.thread_count = 1
        context.options = {"max_pixels": str(2 * MAX_PIXELS)}
        yield container, stream


def best_stream(container: InputContainer) -> VideoStream:
    """The stream that players would show: no cover art, no thumbnails; the default one, then the largest.

    Raises:
        ImageReadError: There is none, or its codec is not known here.
    """
    streams = container.streams.video
    moving = [stream for stream in streams if not _is_picture(stream)]
    if not moving:
        others = ["sound"] * bool(container.streams.audio) + ["a still picture"] * bool(streams)
        raise ImageReadError(f"it holds {' and '.join([*others, 'no video frames'])}")
    known = [stream for stream in moving if stream.codec_context is not None]
    if not known:
        raise ImageReadError("its codec is not known here; convert it to H.264 first")
    return max(known, key=_rank)


def _is_picture(stream: VideoStream) -> bool:
    disposition = type(stream.disposition)
    pictures = disposition.attached_pic | disposition.timed_thumbnails | disposition.still_image
    return bool(stream.disposition & pictures)


def _rank(stream: VideoStream) -> tuple[bool, bool, bool, int, int, int]:
    context, disposition = stream.codec_context, stream.disposition
    return (
        stream.frames != 1,
        context.name not in _STILL_CODECS,
        bool(disposition & type(disposition).default),
        context.width * context.height,
        stream.frames,
        -stream.index,
    )


def decoded(
    container: InputContainer, stream: VideoStream, damaged: list[int | None] | None = None
) -> Iterator[VideoFrame]:
    """The frames of a stream in the order they are shown in.

    Args:
        damaged: Takes the times of packets that cannot be decoded (None where they have none), which are passed over.

    Raises:
        ImageReadError: A packet cannot be decoded, and there is no `damaged`.
    """
    import av

    decoder = _alpha_decoder(stream) or stream.codec_context
    for packet in itertools.chain(packets(container, stream), (None,)):
        try:
            frames = decoder.decode(packet)
        except av.error.FFmpegError as error:
            if damaged is None:
                raise ImageReadError("damaged: a part of it cannot be decoded") from error
            damaged.append(None if packet is None else packet.pts)
            continue
        yield from frames


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """The compressed frames of a stream in the order they lie in.

    Raises:
        ImageReadError: The file cannot be read to its end.
    """
    import av

    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError) as error:
            raise ImageReadError("damaged: it cannot be read to its end") from error
        # A decoder takes an empty packet for the end; one in the midst is a frame that is shown for longer.
        if packet.size > 0:
            yield packet


def _alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    import av

    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) != "1":
        return None
    if name not in av.codecs_available:
        raise ImageReadError(f"it is transparent, and this build of PyAV has no {name} to read that with")
    decoder: VideoCodecContext = av.CodecContext.create(name, "r")  # type: ignore[assignment]
    decoder.thread_count = 1
    decoder.options = dict(stream.codec_context.options)
    return decoder


@functools.cache
def one_thread() -> dict[str, Any]:
    """What keeps PyAV from starting threads to convert a frame.

    A frame holds them until it is collected. Where that happens in a worker that was forked meanwhile, which has no
    such threads, it waits for them for ever.
    """
    from av.video.reformatter import VideoReformatter

    # Versions that do not know the word start none.
    return {"threads": 1} if "threads" in (VideoReformatter.reformat.__doc__ or "") else {}


def check_pixels(width: int, height: int) -> None:
    """Refuse frames that are too large to be decoded.

    Raises:
        ImageReadError: More than `MAX_PIXELS` pixels, or a side longer than `MAX_SIDE`.
    """
    if max(width, height) > MAX_SIDE:
        raise ImageReadError(
            f"too large: frames of {width}x{height} pixels; the limit is {MAX_SIDE:,} pixels a side"
        )
    if width * height > MAX_PIXELS:
        raise ImageReadError(
            f"too large: frames of {width}x{height} pixels; the limit is {MAX_PIXELS:,} pixels"
        )


class _Nameless:
    """An opened file whose name FFmpeg cannot see, neither to guess from nor to open others beside it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
