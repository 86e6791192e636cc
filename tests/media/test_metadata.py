from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media.metadata import (
    GenerationRecord,
    ModelReference,
    StyleReference,
    read_metadata,
    read_record,
)
from stylecrafter.media.video import SUFFIXES, write_frames

MORE_DEEP = "[" * 500 + "]" * 500
FRAMES = np.zeros((1, 16, 16, 3), np.uint8)


def record(prompt: str = 'a “red” fox\nrunning; "quoted" \\ 狐狸 🦊') -> GenerationRecord:
    return GenerationRecord(
        kind="video",
        prompt=prompt,
        negative_prompt="blurry",
        styles=[StyleReference(name="a.jpg", sha256="0" * 64, weight=0.5, path="../a.jpg")],
        seed=2**63 - 1,
        frames=16,
        width=64,
        height=64,
        fps=8.0,
        steps=25,
        scheduler="dpm++",
        eta=0.0,
        text_guidance=7.5,
        style_guidance=3.25,
        published_guidance=True,
        guidance_stop=0.6,
        shared_noise=0.8,
        style_corners=True,
        style_scale=1.0,
        device="cpu",
        dtype="float32",
        model=ModelReference(name="mini", sha256="1" * 64),
        versions={"torch": "2"},
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("prompt", ["a fox", 'a “red” fox\nrunning; "quoted" \\ 狐狸 🦊', "word " * 5000])
def test_round_trip_in_every_format(tmp_path: Path, suffix: str, prompt: str) -> None:
    wanted = record(prompt)
    path = write_frames(FRAMES, tmp_path / f"a{suffix}", metadata=wanted.model_dump())
    assert read_record(path) == wanted


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


def test_incomplete_settings_are_named(tmp_path: Path) -> None:
    path = write_frames(FRAMES, tmp_path / "a.mp4", metadata={"prompt": "a fox"})
    with pytest.raises(InvalidInputError, match="kind"):
        read_record(path)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="no such file"):
        read_record(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises(ImageReadError, match="neither a picture nor a clip"):
        read_record(tmp_path / "a.mp4")


def test_json() -> None:
    wanted = record()
    assert GenerationRecord.from_json(wanted.to_json()) == wanted
    assert "\n" not in wanted.to_json()
    with pytest.raises(InvalidInputError):
        GenerationRecord.from_json("{}")
    later = wanted.to_json()[:-1] + ', "motion": 3}'
    assert '"motion": 3' in GenerationRecord.from_json(later).to_json()


def write_remark(path: Path, text: str) -> Path:
    Image.new("RGB", (4, 4)).save(path, comment=text.encode())
    return path


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"frames": 0}, "frames"),
        ({"frames": -16}, "frames"),
        ({"frames": 10**400}, "frames"),
        ({"frames": 1.5}, "frames"),
        ({"width": 0}, "width"),
        ({"height": 10**9}, "height"),
        ({"fps": 0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"fps": float("inf")}, "fps"),
        ({"fps": 10**400}, "fps"),
        ({"steps": 0}, "steps"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"text_guidance": float("nan")}, "text_guidance"),
        ({"style_scale": float("-inf")}, "style_scale"),
        ({"eta": "much"}, "eta"),
        ({"kind": "opera"}, "kind"),
        ({"prompt": None}, "prompt"),
        ({"styles": [{"name": "a", "sha256": "0", "weight": float("nan")}]}, "styles.0.weight"),
        ({"styles": {}}, "styles"),
        ({"model": []}, "model"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, values: dict[str, object], says: str) -> None:
    text = json.dumps({"stylecrafter": {**record().model_dump(), **values}})
    with pytest.raises(InvalidInputError, match=f"no StyleCrafter settings: {says}") as caught:
        read_record(write_remark(tmp_path / "a.gif", text))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


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


def test_what_earlier_versions_wrote_is_read(tmp_path: Path) -> None:
    values = record().model_dump()
    for later in ("guidance_stop", "shared_noise", "style_corners", "versions", "format"):
        del values[later]
    for extreme in (
        {},
        {"seed": 0, "frames": 10_000, "width": 16_384, "fps": 240.0, "eta": -1000.0, "steps": 999},
    ):
        text = json.dumps({"stylecrafter": values | extreme})
        assert read_record(write_remark(tmp_path / "a.gif", text)).frames == (values | extreme)["frames"]


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
