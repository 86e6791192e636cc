from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecrafter.errors import InvalidInputError
from stylecrafter.generation.record import GenerationRecord, ModelReference, StyleReference, read_record
from stylecrafter.media.video import SUFFIXES, write_frames

FRAMES = np.zeros((1, 16, 16, 3), np.uint8)


def write_remark(path: Path, text: str) -> Path:
    Image.new("RGB", (4, 4)).save(path, comment=text.encode())
    return path


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


def test_incomplete_settings_are_named(tmp_path: Path) -> None:
    path = write_frames(FRAMES, tmp_path / "a.mp4", metadata={"prompt": "a fox"})
    with pytest.raises(InvalidInputError, match="kind"):
        read_record(path)


def test_json() -> None:
    wanted = record()
    assert GenerationRecord.from_json(wanted.to_json()) == wanted
    assert "\n" not in wanted.to_json()
    with pytest.raises(InvalidInputError):
        GenerationRecord.from_json("{}")
    later = wanted.to_json()[:-1] + ', "motion": 3}'
    assert '"motion": 3' in GenerationRecord.from_json(later).to_json()


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
        ({"steps": None}, "steps is missing"),
        ({"steps": True}, "steps must be a whole number"),
        ({"fps": "8"}, "fps must be a number above 0 and at most 240, not '8'"),
        ({"kind": "opera"}, "kind"),
        ({"prompt": None}, "prompt"),
        ({"styles": [{"name": "a", "sha256": "0", "weight": float("nan")}]}, "styles.0.weight"),
        ({"styles": {}}, "styles"),
        ({"model": []}, "model"),
        ({"versions": 5}, "versions cannot be 5: Input should be a valid dictionary"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, values: dict[str, object], says: str) -> None:
    text = json.dumps({"stylecrafter": {**record().model_dump(), **values}})
    with pytest.raises(InvalidInputError, match=f"no StyleCrafter settings: {says}") as caught:
        read_record(write_remark(tmp_path / "a.gif", text))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_every_knob_has_to_be_said(tmp_path: Path) -> None:
    values = record().model_dump()
    del values["text_guidance"]
    text = json.dumps({"stylecrafter": values})
    with pytest.raises(InvalidInputError, match="no StyleCrafter settings: text_guidance is missing"):
        read_record(write_remark(tmp_path / "a.gif", text))
    with pytest.raises(InvalidInputError, match="no StyleCrafter settings, but a list"):
        GenerationRecord.from_values([])


def test_what_earlier_versions_wrote_is_read(tmp_path: Path) -> None:
    values = record().model_dump()
    for later in ("guidance_stop", "shared_noise", "style_corners", "guidance_rescale", "versions", "format"):
        del values[later]
    for extreme in (
        {},
        {"seed": 0, "frames": 10_000, "width": 16_384, "fps": 240.0, "eta": 1.0, "steps": 999},
    ):
        text = json.dumps({"stylecrafter": values | extreme})
        assert read_record(write_remark(tmp_path / "a.gif", text)).frames == (values | extreme)["frames"]
