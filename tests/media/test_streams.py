from __future__ import annotations

import io
import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from stylecrafter.errors import ImageReadError
from stylecrafter.media.clips import index_clip, read_clip
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.streams import opened_container
from stylecrafter.media.video import check_frames, read_frames, write_frames
from tests.data_sources.support import clip_frames, write_clip
from tests.media.clip_files import box_content, solid, write_coded

NAMES = (
    "dawn:1.mp4",
    "-i.mp4",
    "file:x.mp4",
    "http://host/x.mp4",
    "concat:a|b.mp4",
    "data:,x.mp4",
    "pipe:0.mp4",
    "|cat.mp4",
    "%03d.mp4",
    "a*[?].mp4",
    "two\nlines.mp4",
    "~nobody.mp4",
    "übung 狐.mp4",
    os.fsdecode(b"latin\xe9.mp4"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frames(clip_frames(3), path, 8, {"made": "with care"})
    assert len(index_clip(path, name).times) == len(read_frames(path)[0]) == check_frames(path) == 3
    assert read_metadata(path) == {"made": "with care"}


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {}\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{}</BaseURL></MPD>',
    "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns={}\r\nm=video 5004 RTP/AVP 96\r\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8"])
def test_no_file_makes_us_read_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)  # where names that are not whole are looked for
    healthy = write_clip(tmp_path / "healthy.mp4", 4)
    path = tmp_path / f"list{suffix}"
    path.write_text(PLAYLISTS[kind].format(healthy.name))
    for read in (read_frames, read_metadata, lambda path: index_clip(path, path.name)):
        with pytest.raises(ImageReadError, match="only names other files"):
            read(path)
    # Where it is not told by its first bytes, FFmpeg may not take it either.
    with open(path, "rb") as file, pytest.raises(ImageReadError), opened_container(file):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").mkdir()
    for name, says in (("a.mp4", "no plain file"), ("b.mp4", "a folder"), ("c.mp4", "no such file")):
        for read in (read_frames, read_metadata, lambda path: index_clip(path, path.name)):
            with pytest.raises(ImageReadError, match=says):
                read(tmp_path / name)


def png_bytes(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(solid(colour, 96, 96)).save(buffer, "PNG")
    return buffer.getvalue()


def write_streams(path: Path, streams: list[tuple[str, int, int, int, bool]]) -> Path:
    """A file of (codec, shade, frames, size, default) streams."""
    with av.open(str(path), "w") as container:
        added: list[Any] = []
        for codec, _, _, size, default in streams:
            stream: Any = container.add_stream(codec, rate=24)
            stream.width = stream.height = size
            stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
            stream.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
            added.append(stream)
        for stream, (_, shade, count, size, _) in zip(added, streams, strict=True):
            for number in range(count):
                frame = av.VideoFrame.from_ndarray(solid((shade,) * 3, size, size), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 24)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "streams", "wanted"),
    [
        ("cover.mp4", [("mjpeg", 40, 1, 96, True), ("libx264", 200, 6, 48, False)], 200),
        ("still.mp4", [("libx264", 40, 1, 96, True), ("libx264", 200, 6, 48, False)], 200),
        ("cover.mkv", [("mjpeg", 40, 1, 96, True), ("libx264", 200, 6, 48, True)], 200),
        ("default.mkv", [("libx264", 40, 6, 96, False), ("libx264", 200, 6, 48, True)], 200),
        ("size.mkv", [("libx264", 40, 6, 48, True), ("libx264", 200, 6, 96, True)], 200),
        ("first.mkv", [("libx264", 200, 6, 48, True), ("libx264", 40, 6, 48, True)], 200),
        ("motion.mov", [("mjpeg", 200, 6, 48, True)], 200),
    ],
)
def test_the_clip_is_the_stream_that_players_show(
    tmp_path: Path, name: str, streams: list[tuple[str, int, int, int, bool]], wanted: int
) -> None:
    path = write_streams(tmp_path / name, streams)
    index = index_clip(path, name)
    frames = read_clip(path, name, index, range(len(index.times)), lambda _, frame: np.asarray(frame))
    assert len(frames) == 6 and all(abs(frame.mean() - wanted) < 4 for frame in frames)
    assert np.array_equal(np.asarray(read_frames(path)[0][5]), frames[5])


def write_sound(path: Path, cover: bool) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        picture: Any = container.add_stream("png", rate=1) if cover else None
        if picture is not None:
            picture.width = picture.height = 96
            picture.pix_fmt = "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if picture is not None:
            packet = av.Packet(png_bytes((255, 0, 0)))
            packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 1)
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("cover", "says"), [(False, "sound and no video"), (True, "sound and a still picture and no")]
)
def test_sound_is_no_clip(tmp_path: Path, cover: bool, says: str) -> None:
    path = write_sound(tmp_path / "a.mp4", cover)
    with pytest.raises(ImageReadError, match=says):
        index_clip(path, "a.mp4")
    with pytest.raises(ImageReadError, match=says):
        read_frames(path)


def wav_bytes() -> bytes:
    form = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    return (
        b"RIFF"
        + struct.pack("<I", 436)
        + b"WAVEfmt "
        + form
        + b"data"
        + struct.pack("<I", 400)
        + b"\x80" * 400
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64), "HEIC photo"),
        (b"\x00\x00\x00\x18ftyphevc\x00\x00\x00\x00msf1hevc" + bytes(64), "HEIC sequence"),
        (b"PK\x03\x04" + bytes(64), "zip archive"),
        (wav_bytes(), "WAV sound"),
        (b"nothing at all " * 9, "no known format"),
    ],
)
def test_what_is_no_clip_is_told_for_what_it_is(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    for read in (read_frames, read_metadata, lambda path: index_clip(path, path.name)):
        with pytest.raises(ImageReadError, match=says):
            read(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_unknown_codec(tmp_path: Path, suffix: str) -> None:
    path = write_coded(tmp_path / f"a{suffix}", "libx264", 3)
    old, new = (
        (b"avc1\x00\x00", b"zzzz\x00\x00") if suffix == ".mp4" else (b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/ZZZ")
    )
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ImageReadError, match="codec is not known here"):
        index_clip(path, path.name)


def test_tags_of_other_encodings_do_not_matter(tmp_path: Path) -> None:
    path = write_frames(clip_frames(3), tmp_path / "a.mp4", 8, {"x": "zzzz"})
    path.write_bytes(path.read_bytes().replace(b"zzzz", b"z\xe9\xff\xfe"))
    assert len(index_clip(path, "a.mp4").times) == 3


@pytest.mark.parametrize("count", [3_000_000, 10**9])
def test_declared_frames_cost_nothing(tmp_path: Path, count: int) -> None:
    data = bytearray(write_clip(tmp_path / "a.mp4", 4).read_bytes())
    struct.pack_into(">II", data, box_content(data, b"stsz"), 1, count)
    for read in (
        lambda data: index_clip(data, "a.mp4"),
        lambda data: opened_container(io.BytesIO(data)).__enter__(),
    ):
        with pytest.raises(ImageReadError, match=f"declares {count:,} samples of 1 bytes"):
            read(bytes(data))


def test_frames_larger_than_their_container_says(tmp_path: Path) -> None:
    path = write_coded(tmp_path / "a.avi", "mjpeg", 3, pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    place = 0
    while (place := data.find(b"\xff\xc0\x00\x11\x08", place)) > 0:  # the header of each frame
        struct.pack_into(">HH", data, place + 5, 30000, 30000)
        place += 5
    path.write_bytes(data)
    with pytest.raises(ImageReadError):
        read_frames(path)
    with pytest.raises(ImageReadError):
        read_clip(path, "a.avi", index_clip(path, "a.avi"), [1], lambda _, frame: frame)
