"""A decoded frame as it is shown: its own colours, over white, of square pixels, turned and mirrored as it was held."""

from __future__ import annotations

import functools
import logging
import struct
from typing import TYPE_CHECKING, Any

from PIL import Image

from stylecrafter.errors import ImageReadError
from stylecrafter.media.images import load_picture
from stylecrafter.media.streams import check_pixels, one_thread

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

#: Curves of high dynamic range, by their numbers in ITU-T H.273.
_HDR_CURVES = {16: "PQ", 18: "HLG"}
#: Matrices and ranges, by their numbers there; what says nothing is taken for BT.601, as FFmpeg does.
_MATRICES = (1, 4, 5, 6, 7, 9)
_BT601, _BT709, _BT2020 = 5, 1, 9
_LIMITED, _FULL = 1, 2
#: Of a display matrix, relative to its largest entry: less is rounding, not a turn by another angle.
_SLIGHT = 0.01


def upright(frame: VideoFrame, stream: VideoStream) -> Image.Image:
    """The RGB picture that a frame of this stream shows.

    Raises:
        ImageReadError: Too many pixels, or pixels that cannot be brought to RGB.
    """
    check_pixels(frame.width, frame.height)
    _say_what_is_lost(stream.codec_context.color_trc, stream.codec_context.color_primaries)
    picture = _to_rgb(frame)
    aspect = float(stream.sample_aspect_ratio or 1)
    if aspect > 0 and abs(aspect - 1) > 1e-3:
        width = max(1, round(picture.width * aspect))
        check_pixels(width, picture.height)
        picture = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
    return _turned(picture, frame)


def _to_rgb(frame: VideoFrame) -> Image.Image:
    import av

    # A palette holds transparency too, without saying so.
    transparent = frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components)
    try:
        array = frame.to_ndarray(format="rgba" if transparent else "rgb24", **_colours(frame), **one_thread())
    except (av.error.FFmpegError, ValueError) as error:
        raise ImageReadError(f"its pixels ({frame.format.name}) cannot be brought to RGB") from error
    picture = Image.fromarray(array)
    # Style pictures are laid over white by the same function.
    return load_picture(picture) if transparent else picture


def _colours(frame: VideoFrame) -> dict[str, Any]:
    """From which colours to those of a screen; not every version of PyAV takes what the frame says of itself."""
    if frame.format.is_rgb or frame.format.name == "pal8":
        return {}
    full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
    matrix = int(frame.colorspace) if frame.colorspace in _MATRICES else _BT601
    return {
        "src_colorspace": matrix,
        # RGB has no matrix, but where both are equal PyAV passes over the ranges too.
        "dst_colorspace": _BT709 if matrix == _BT601 else _BT601,
        "src_color_range": _FULL if full else _LIMITED,
        "dst_color_range": _FULL,
    }


@functools.cache
def _say_what_is_lost(curve: int, primaries: int) -> None:
    if primaries == _BT2020 and curve not in _HDR_CURVES:
        logger.warning(
            "clips in the colours of BT.2020 are read as if they were BT.709 and look pale: convert them first."
        )
    if curve in _HDR_CURVES:
        logger.warning(
            "clips of high dynamic range (%s) are read without tone mapping and look flat: convert them to BT.709.",
            _HDR_CURVES[curve],
        )


def _turned(picture: Image.Image, frame: VideoFrame) -> Image.Image:
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return picture
    # A point (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
    size = max(map(abs, (a, b, c, d)))
    if size == 0:
        return picture
    if max(abs(b), abs(c)) < _SLIGHT * size:
        across, down = a < 0, d < 0
    elif max(abs(a), abs(d)) < _SLIGHT * size:
        picture = picture.transpose(Image.Transpose.TRANSPOSE)
        across, down = c < 0, b < 0
    else:
        return picture.rotate(frame.rotation, expand=True)
    if across:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if down else picture
