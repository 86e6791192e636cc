from __future__ import annotations

import io
import os
import pickle
import sys
import tarfile
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from stylecrafter.media.recognise import HEAD_BYTES, recognise, recognise_file
from stylecrafter.media.video import write_frames


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, kind)
    return buffer.getvalue()


def saved(value: object, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("a.txt", "a")
    else:
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.txt"))
    return buffer.getvalue()


def clip(container: str, codec: str = "mpeg4") -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=8)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        output.mux([*stream.encode(frame), *stream.encode(None)])
    return buffer.getvalue()


TENSORS = {"a.weight": torch.zeros(2)}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (picture("PNG"), "a PNG image"),
        (picture("JPEG"), "a JPEG image"),
        (picture("WEBP"), "a WebP image"),
        (picture("GIF"), "a GIF"),
        (clip("mp4"), "an MP4 or MOV clip"),
        (clip("mov"), "an MP4 or MOV clip"),
        (clip("avi"), "an AVI clip"),
        (clip("matroska"), "a Matroska or WebM clip"),
        (save(TENSORS), "a safetensors checkpoint"),
        (save({}), "a safetensors checkpoint"),
        (save(TENSORS, metadata={"format": "pt"}), "a safetensors checkpoint"),
        (saved(TENSORS), "a torch checkpoint"),
        (saved(TENSORS, zipped=False), "a Python pickle"),
        (pickle.dumps([1, 2]), "a Python pickle"),
        (archive("zip"), "a zip archive"),
        (archive("tar"), "a tar archive"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"GGUF\x03\0\0\0", "a GGUF checkpoint"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x7fELF\x02\x01", "a program"),
        (b"MZ\x90\0\x03\0\0\0", "a program"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",  # archives hold the time, and differ
)
def test_files_of_many_kinds(data: bytes, words: str) -> None:
    assert recognise(data[:HEAD_BYTES]) == words


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_photos_of_phones_are_told_how_to_be_brought(brand: bytes) -> None:
    words = recognise(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic")
    assert words is not None and words.startswith("a HEIC photo") and "JPEG or PNG" in words


@pytest.mark.parametrize(
    ("text", "begins", "advice"),
    [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a Git LFS pointer",
            "git lfs pull",
        ),
        ("<!DOCTYPE html><html>", "a web page", "login"),
        ("\n\n  <HTML lang='en'>", "a web page", "login"),
        ("\ufeff<!doctype HTML>", "a web page", "login"),
        ("<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG drawing", "PNG or JPEG"),
        ("<?xml version='1.0'?>\n<!-- made by hand -->\n<svg>", "an SVG drawing", "PNG or JPEG"),
    ],
)
def test_text_in_place_of_what_was_wanted(text: str, begins: str, advice: str) -> None:
    words = recognise(text.encode()[:HEAD_BYTES])
    assert words is not None and words.startswith(begins) and advice in words


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x80\x01",
        b"M",
        b"MZ-700, a computer of 1982",
        b"a red fox in the snow",
        b'{"prompt": "a red fox"}',
        b"[1, 2]",
        b"prompt: <html> in the middle",
        "größer".encode("latin-1"),
        bytes(HEAD_BYTES),
        b"RIFF\x04\0\0\0WAV",
    ],
)
def test_what_is_not_known_is_not_guessed(data: bytes) -> None:
    assert recognise(data) is None


@pytest.mark.parametrize("length", range(24))
def test_a_file_cut_anywhere_is_no_error(length: int) -> None:
    for data in (picture("PNG"), picture("WEBP"), clip("mp4"), save(TENSORS), saved(TENSORS), archive("tar")):
        assert isinstance(recognise(data[:length]), (str, type(None)))


def test_files_are_looked_at_by_their_first_bytes_alone(tmp_path: Path) -> None:
    file = write_frames([Image.new("RGB", (16, 16))] * 2, tmp_path / "a.mp4", fps=8)
    named_wrongly = Path(file).rename(tmp_path / "a.gif")
    assert recognise_file(named_wrongly) == "an MP4 or MOV clip"
    with open(named_wrongly, "ab") as end:
        end.truncate(2**33)
    assert recognise_file(named_wrongly) == "an MP4 or MOV clip"


def test_what_cannot_be_looked_at_is_not_known(tmp_path: Path) -> None:
    for name in (tmp_path, tmp_path / "missing", "a\0b", "x" * 5000, ""):
        assert recognise_file(name) is None


@pytest.mark.skipif(sys.platform == "win32", reason="such files are a Unix feature")
def test_pipes_and_devices_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert recognise_file(tmp_path / "pipe") is None  # opening it would wait for ever
    assert recognise_file("/dev/zero") is None
