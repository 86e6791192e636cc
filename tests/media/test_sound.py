from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.sound import Sound
from stylecrafter.media.video import same_frames, write_frames
from tests.data_sources.support import clip_frames

RATE = 44_100


def write_tone(path: Path, video: str, audio: str, seconds: float = 1.0, rate: int = RATE) -> Path:
    """Grey pictures, and a tone of 440 Hz that becomes one of 1760 Hz in the second half."""
    with av.open(str(path), "w") as container:
        pictures, sound = (
            container.add_stream(video, rate=8),
            container.add_stream(audio, rate=rate, layout="stereo"),
        )
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        for k in range(int(seconds * 8)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * k, np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 8)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        t = np.arange(int(seconds * rate)) / rate
        tone = np.sin(2 * np.pi * np.where(t < seconds / 2, 440, 1760) * t).astype(np.float32) / 3
        heard = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
        heard.rate, heard.pts, heard.time_base = rate, 0, Fraction(1, rate)
        container.mux(sound.encode(heard))
        container.mux(sound.encode(None))
    return path


def heard(path: Path) -> tuple[str, float, float]:
    """Codec, seconds and the strongest frequency of a file's sound."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [frame.to_ndarray().astype(np.float64) for frame in container.decode(stream)]
        samples = np.concatenate(parts, axis=-1)[0]
        spectrum = np.abs(np.fft.rfft(samples))
        return (
            stream.codec_context.name,
            len(samples) / stream.rate,
            float(spectrum.argmax() * stream.rate / len(samples)),
        )


@pytest.mark.parametrize(
    ("name", "video", "audio", "kept"),
    [
        ("a.mp4", "libx264", "aac", "aac"),
        ("a.mkv", "libx264", "libmp3lame", "mp3"),
        ("a.avi", "mpeg4", "pcm_s16le", "aac"),
        ("a.ts", "libx264", "aac", "aac"),
        ("a.mkv", "mpeg4", "mp2", "aac"),
    ],
)
@pytest.mark.parametrize("half", [None, 0, 1])
def test_sound_goes_with_the_frames(
    tmp_path: Path, name: str, video: str, audio: str, kept: str, half: int | None
) -> None:
    if not {video, audio} <= av.codecs_available:
        pytest.skip(f"PyAV has no {video} or {audio} here")
    source = write_tone(tmp_path / name, video, audio)
    with av.open(str(source)) as container:
        begin = float((container.streams.video[0].start_time or 0) * container.streams.video[0].time_base)
    seconds = 1.0 if half is None else 0.5
    frames = clip_frames(int(8 * seconds))
    silent = write_frames(frames, tmp_path / "silent.mp4", 8, {"a": 1})
    sound = Sound(source, begin + (0.5 if half == 1 else 0.0))
    out = write_frames(frames, tmp_path / "out.mp4", 8, {"a": 1}, sound=sound)
    codec, length, tone = heard(out)
    assert codec.startswith(kept) and length == pytest.approx(seconds, abs=0.06)
    if half is not None:
        assert tone == pytest.approx((440, 1760)[half], rel=0.02)
    assert same_frames(out, silent) and read_metadata(out) == {"a": 1}
    again = write_frames(frames, tmp_path / "again.mp4", 8, {"a": 1}, sound=sound)
    assert again.read_bytes() == out.read_bytes()


def test_other_formats_say_that_it_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = write_tone(tmp_path / "a.mp4", "libx264", "aac")
    with caplog.at_level(logging.WARNING):
        write_frames(clip_frames(4), tmp_path / "a.gif", 8, sound=Sound(source))
    assert "a .gif has no sound" in caplog.text


def test_sound_that_cannot_be_read_is_said_and_the_pictures_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_frames(clip_frames(4), tmp_path / "mute.mp4", 8)
    with caplog.at_level(logging.WARNING):
        out = write_frames(clip_frames(4), tmp_path / "out.mp4", 8, sound=Sound(source))
    assert "mute.mp4 cannot be read and is left out: no sound" in caplog.text
    assert out.read_bytes() == source.read_bytes()
