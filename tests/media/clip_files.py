"""Clips in the containers, codecs and orders that users have, whose frames are told by their shade."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.data_sources.support import HEIGHT, WIDTH, clip_frames

PER_SECOND = 24


def write_coded(
    path: Path,
    codec: str,
    count: int = 24,
    *,
    options: dict[str, str] | None = None,
    kind: str | None = None,
    pixels: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    change: Callable[[av.Packet], None] = lambda packet: None,
    setup: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """Frame k is grey of shade(k), shown at ticks[k] / 24; `change` sees every packet before it is written."""
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec} here")
    times = (
        2 if codec == "libx265" else 1
    )  # x265 writes past its memory where a frame is smaller than 64 pixels
    with av.open(str(path), "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = WIDTH * times, HEIGHT * times, pixels
        stream.options, stream.codec_context.thread_count = options or {}, 1
        setup(stream)
        packets = []
        for array, tick in zip(clip_frames(count), ticks or range(count), strict=True):
            frame = av.VideoFrame.from_ndarray(array.repeat(times, 0).repeat(times, 1), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, PER_SECOND)
            packets.extend(stream.encode(frame))
        for packet in [*packets, *stream.encode(None)]:
            change(packet)
            container.mux(packet)
    return path


def only_decoding_times(packet: av.Packet) -> None:
    """What writers do that know nothing of frames which lie in another order than they are shown in."""
    packet.pts = packet.dts


def cut_by_edit_list(data: bytes, first_tick: int, seconds: float) -> bytes:
    """An mp4 of which only a part is shown; the rest stays in the file."""
    changed = bytearray(data)
    place = data.index(b"elst") + 12
    struct.pack_into(">Ii", changed, place, int(seconds * 1000), first_tick)
    return bytes(changed)


def without_content(data: bytes, numbers: Sequence[int]) -> bytes:
    """An avi whose frames `numbers` hold nothing: the frame before is shown for longer."""
    begin, end = data.index(b"movi") + 4, data.index(b"idx1")
    place, body, table, number = begin, b"", b"", 0
    while place < end and data[place : place + 4] == b"00dc":
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        content = b"" if number in numbers else data[place + 8 : place + 8 + size]
        key = int.from_bytes(data[end + 12 + 16 * number :][:4], "little")
        table += struct.pack("<4sIII", b"00dc", key, len(body) + 4, len(content))
        body += b"00dc" + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        place, number = place + 8 + size + size % 2, number + 1
    whole = data[: begin - 8] + struct.pack("<I", len(body) + 4) + b"movi" + body
    whole += b"idx1" + struct.pack("<I", len(table)) + table
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def box_content(data: bytes, kind: bytes) -> int:
    """Where the content of the first box of this kind begins, behind its version and flags."""
    return data.index(kind) + 8


def solid(colour: tuple[int, int, int], width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)
