from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.generation.record import read_record
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.video import SUFFIXES, write_frames

MORE_DEEP = "[" * 500 + "]" * 500
FRAMES = np.zeros((1, 16, 16, 3), np.uint8)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_without_settings(tmp_path: Path, suffix: str) -> None:
    path = write_frames(FRAMES, tmp_path / f"a{suffix}")
    assert read_metadata(path) is None
    with pytest.raises(InvalidInputError, match="holds no StyleCrafter settings"):
        read_record(path)


def test_remarks_of_other_programs_are_not_ours(tmp_path: Path) -> None:
    for remark in (b"made by hand", b"[1, 2]", b'{"other": {}}', b'{"stylecrafter": 3}', b"\xff\xfe"):
        Image.new("RGB", (4, 4)).save(tmp_path / "a.gif", comment=remark)
        assert read_metadata(tmp_path / "a.gif") is None


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="no such file"):
        read_record(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises(ImageReadError, match="neither a picture nor a clip"):
        read_record(tmp_path / "a.mp4")


def write_remark(path: Path, text: str) -> Path:
    Image.new("RGB", (4, 4)).save(path, comment=text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"stylecrafter": ' + MORE_DEEP + "}", "nested too deeply"),
        ('{"stylecrafter": ' + "[" * 200_000, "nested too deeply"),
        ('{"stylecrafter": {"seed": ' + "9" * 5000 + "}}", "thousands of digits"),
        ('{"stylecrafter": {"prompt": "a fox', "not JSON"),
    ],
)
def test_absurd_remarks_are_told(tmp_path: Path, text: str, says: str) -> None:
    path = write_remark(tmp_path / "a.gif", text)
    for read in (read_metadata, read_record):
        with pytest.raises(ImageReadError, match=says) as caught:
            read(path)
        assert len(str(caught.value)) < 500


def test_too_long_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_frames(FRAMES, tmp_path / "a.png", metadata={"prompt": "x" * 2000})
    monkeypatch.setattr("stylecrafter.media.metadata.MAX_BYTES", 1000)
    with pytest.raises(ImageReadError, match="more than 1,000 characters"):
        read_metadata(path)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "JPEG"])
def test_pictures_of_other_kinds_hold_no_settings(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.mp4", kind)
    assert read_metadata(tmp_path / "a.mp4") is None


def test_settings_beside_odd_texts_are_read_and_damaged_ones_refused(tmp_path: Path) -> None:
    path = write_frames(FRAMES, tmp_path / "a.png", metadata={"seed": 7})
    data = path.read_bytes()
    text = b"k\0\0" + zlib.compress(bytes(2_000_000))
    odd = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    path.write_bytes(data[:33] + odd + data[33:])
    assert read_metadata(path) == {"seed": 7}
    path.write_bytes(data.replace(b'"seed": 7', b'"seed": 8'))
    with pytest.raises(ImageReadError, match="a checksum is wrong"):
        read_metadata(path)


def test_exif_of_others_is_not_looked_at(tmp_path: Path) -> None:
    Image.fromarray(FRAMES[0]).save(tmp_path / "a.webp", exif=b"Exif\0\0garbage")
    assert read_metadata(tmp_path / "a.webp") is None
