"""Frames as the bytes of an mp4, gif, webp or png."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from stylecrafter.media.metadata import EXIF_DESCRIPTION, METADATA_KEY
from stylecrafter.media.streams import one_thread

logger = logging.getLogger(__name__)

# Centiseconds and milliseconds are what the two formats count in.
_GIF_TICKS, _WEBP_TICKS = 100, 1000
GIF_LONGEST_TICKS = 65_535
"""Of one frame, in hundredths of a second."""
_PALETTE_PIXELS = 1_000_000
_BT709 = 1
_TV_RANGE = 1


def _encode_mp4(arrays: list[NDArray[np.uint8]], fps: float, comment: str | None) -> bytes:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    height, width = arrays[0].shape[:2]
    pixel_format = "yuv420p" if height % 2 == 0 and width % 2 == 0 else "yuv444p"
    buffer = BytesIO()
    # faststart (playing while loading) moves the index to the front in a second pass, which reads it all again.
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(
        buffer, "w", format="mp4", options=options, io_open=lambda *_: BytesIO(buffer.getvalue())
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
                format=pixel_format,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                **one_thread(),
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _encode_gif(arrays: list[NDArray[np.uint8]], fps: float, comment: str | None) -> bytes:
    palette = _shared_palette(arrays)
    images = [
        Image.fromarray(a).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for a in arrays
    ]
    extra: dict[str, Any] = {} if comment is None else {"comment": comment.encode("ascii")}
    ticks = _within_runs(images, _delays(len(arrays), fps, _GIF_TICKS))
    durations = [10 * count for count in ticks]
    return _save(images, "GIF", durations, loop=0, optimize=False, **extra)


def _within_runs(images: list[Image.Image], ticks: list[int]) -> list[int]:
    """The delays, cut where equal frames, which become one, would be shown for longer than a frame can be."""
    total, cut = 0, list(ticks)
    for number, count in enumerate(ticks):
        equal = number > 0 and images[number].tobytes() == images[number - 1].tobytes()
        left = GIF_LONGEST_TICKS - total if equal else GIF_LONGEST_TICKS
        cut[number] = min(count, left)
        total = (total if equal else 0) + cut[number]
    if cut != ticks:
        logger.warning(
            "a .gif shows one frame for at most %.2f s: frames that are equal for longer are shown for that long.",
            GIF_LONGEST_TICKS / _GIF_TICKS,
        )
    return cut


def _shared_palette(arrays: list[NDArray[np.uint8]]) -> Image.Image:
    """One palette for the whole clip (a palette per frame flickers), from an even sample of its pixels."""
    pixels = np.concatenate([a.reshape(-1, 3) for a in arrays])
    pixels = pixels[:: -(-len(pixels) // _PALETTE_PIXELS)]
    return Image.fromarray(pixels[None]).quantize(256, method=Image.Quantize.MEDIANCUT)


def _encode_webp(arrays: list[NDArray[np.uint8]], fps: float, comment: str | None) -> bytes:
    return _webp(arrays, fps, comment, quality=90, method=4)


def encode_lossless_webp(arrays: list[NDArray[np.uint8]], fps: float, comment: str | None) -> bytes:
    """As the others, but every pixel comes back as it was."""
    return _webp(arrays, fps, comment, lossless=True)


def _webp(arrays: list[NDArray[np.uint8]], fps: float, comment: str | None, **coding: Any) -> bytes:
    extra: dict[str, Any] = {}
    if comment is not None:
        exif = Image.Exif()
        exif[EXIF_DESCRIPTION] = comment
        extra["exif"] = exif
    durations = _delays(len(arrays), fps, _WEBP_TICKS)
    images = [Image.fromarray(a) for a in arrays]
    return _save(images, "WEBP", durations, loop=0, **coding, **extra)


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


ENCODERS: dict[str, Callable[[list[NDArray[np.uint8]], float, str | None], bytes]] = {
    ".mp4": _encode_mp4,
    ".gif": _encode_gif,
    ".webp": _encode_webp,
    ".png": _encode_png,
}
"""By suffix: from arrays (h, w, 3) of one size, frames per second and a remark."""
