"""Masks, a negative style and strengths by layer, frame and step on the command line: a clip, its replay, a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stylecrafter.generation.record import read_record
from stylecrafter.media.video import same_frames
from tests.cli.support import assert_one_line_error, invoke
from tests.tiny import tiny_picture


@pytest.fixture
def masks(tmp_path: Path) -> tuple[Path, Path]:
    left = np.zeros((16, 24), np.uint8)
    left[:, :12] = 255
    paths = tmp_path / "left.png", tmp_path / "right.png"
    for path, mask in zip(paths, (left, 255 - left), strict=True):
        Image.fromarray(mask).save(path)
    return paths


@pytest.fixture
def other(tmp_path: Path) -> Path:
    tiny_picture(1, 16, 30).save(tmp_path / "other.png")
    return tmp_path / "other.png"


def generate(model: Path, picture: Path, output: Path, *more: object) -> Any:
    few = ("--model", model, "--seed", 1, "--steps", 2, "--lossless")
    return invoke("generate", "a red fox", "--style", picture, "-o", output, *few, *more)


def test_everything_is_recorded_and_replayed(
    model: Path, picture: Path, other: Path, masks: tuple[Path, Path], tmp_path: Path
) -> None:
    out, again = tmp_path / "a.webp", tmp_path / "b.webp"
    pictures = (
        "--style",
        other,
        "--style-mask",
        masks[0],
        "--style-mask",
        masks[1],
        "--negative-style",
        other,
    )
    strengths = (
        "--style-layers",
        "down=0.5,up=1",
        "--style-frames",
        "0:0,1:1",
        "--style-steps",
        "window(0,0.6)",
    )
    result = generate(model, picture, out, *pictures, *strengths, "--negative-scale", 0.5)
    assert result.exit_code == 0, result.stderr
    record = read_record(out)
    assert [mask.path for mask in record.style_masks] == ["left.png", "right.png"]
    assert [negative.path for negative in record.negative_styles] == ["other.png"]
    assert (record.style_layers, record.style_frames, record.style_steps) == (
        "down=0.5,up=1",
        "0:0,1:1",
        "window(0,0.6)",
    )
    assert record.negative_style_scale == 0.5
    shown = " ".join(invoke("inspect", out).stdout.split())
    assert "right.png sha256" in shown and "negative style other.png" in shown
    replayed = invoke("inspect", out, "--replay", again)
    assert replayed.exit_code == 0 and "same frames" in replayed.stdout, replayed.stderr
    # Every one of them counts.
    assert generate(model, picture, tmp_path / "c.webp", *pictures).exit_code == 0
    assert not same_frames(out, tmp_path / "c.webp")


def test_a_changed_or_missing_mask_is_not_replayed(
    model: Path, picture: Path, masks: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "a.webp"
    assert generate(model, picture, out, "--style-mask", masks[0]).exit_code == 0
    moved = masks[0].rename(tmp_path / "moved.png")
    replay = ("inspect", out, "--replay", tmp_path / "b.webp")
    assert_one_line_error(invoke(*replay), "style mask", "left.png", "--style-mask")
    assert invoke(*replay, "--style-mask", moved).exit_code == 0
    assert_one_line_error(
        invoke(*replay, "--style-mask", masks[1]), "not the picture that was used", "--style-mask"
    )
    assert_one_line_error(
        invoke(*replay, "--style-mask", moved, "--negative-style", moved), "0 negative style pictures"
    )


def test_a_white_mask_is_none_and_a_black_one_the_text_alone(
    model: Path, picture: Path, tmp_path: Path
) -> None:
    clips = {
        "white": ("--style-mask", tmp_path / "white.png"),
        "style": (),
        "black": ("--style-mask", tmp_path / "black.png"),
        "text": ("--style-scale", 0),
    }
    Image.new("L", (24, 16), 255).save(tmp_path / "white.png")
    Image.new("L", (24, 16), 0).save(tmp_path / "black.png")
    for name, more in clips.items():
        assert generate(model, picture, tmp_path / f"{name}.webp", *more).exit_code == 0
    for one, other, same in (("white", "style", True), ("black", "text", True), ("white", "black", False)):
        assert same_frames(tmp_path / f"{one}.webp", tmp_path / f"{other}.webp") is same


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--style-layers", "down"), "NAME=NUMBER"),
        (("--style-layers", "sideways=1"), "group of layers or layer 'sideways'"),
        (("--style-frames", "1:0,0:1"), "rising"),
        (("--style-steps", "slowly"), "a style schedule is a number"),
        (("--negative-scale", "-1"), "negative style scale must be"),
        (("--negative-style", "none.png"), "none.png"),
        (("--style-mask", "left.png", "--style-mask", "right.png"), "2 masks for 1 pictures"),
        (("--style-mask", "left.png", "--size", "16x16"), "left.png: a style mask of 24x16 does not fit"),
    ],
)
def test_bad_steering(
    model: Path,
    picture: Path,
    masks: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line_error(generate(model, picture, tmp_path / "a.webp", *more), says)
    assert not (tmp_path / "a.webp").exists()


def test_a_mask_is_never_replaced(model: Path, picture: Path, masks: tuple[Path, Path]) -> None:
    before = masks[0].read_bytes()
    result = invoke(
        "generate", "a fox", "--style", picture, "--style-mask", masks[0], "-o", masks[0], "--model", model
    )
    assert_one_line_error(result, "left.png")
    assert masks[0].read_bytes() == before


def test_entries_of_a_batch(
    model: Path, picture: Path, other: Path, masks: tuple[Path, Path], tmp_path: Path
) -> None:
    entries = [
        {"prompt": "a red fox", "style_path": picture.name, "style_mask_path": "left.png", "seed": 1},
        {
            "prompt": "a red fox",
            "style_path": [picture.name, "other.png"],
            "style_mask_path": ["left.png", "right.png"],
            "negative_style_path": "other.png",
            "style_layers": "up=0.5",
            "frame_style_scales": "0:0,1:1",
        },
    ]
    (tmp_path / "list.json").write_text(json.dumps(entries))
    folder = tmp_path / "out"
    command = (
        "batch",
        tmp_path / "list.json",
        "-o",
        folder,
        "--model",
        model,
        "--steps",
        2,
        "--format",
        "webp",
    )
    result = invoke(*command, "--lossless")
    assert result.exit_code == 0, result.stderr
    first, second = sorted(folder.glob("*.webp"))
    assert generate(model, picture, tmp_path / "one.webp", "--style-mask", masks[0]).exit_code == 0
    assert same_frames(first, tmp_path / "one.webp")
    record = read_record(second)
    assert (len(record.style_masks), len(record.negative_styles)) == (2, 1)
    assert (record.style_layers, record.style_frames) == ("up=0.5", "0:0,1:1")
    assert "2 finished before" in invoke(*command, "--lossless", "--resume").stdout
    masks[1].write_bytes(masks[0].read_bytes())
    assert "1 made, 1 finished before" in invoke(*command, "--lossless", "--resume").stdout


@pytest.mark.parametrize("key", ["style_mask_path", "negative_style_path"])
def test_entries_that_name_no_pictures(model: Path, picture: Path, tmp_path: Path, key: str) -> None:
    (tmp_path / "list.json").write_text(json.dumps([{"prompt": "a", "style_path": picture.name, key: 3}]))
    result = invoke("batch", tmp_path / "list.json", "-o", tmp_path / "out", "--model", model)
    assert_one_line_error(result, f"entry 0 needs a {key} that is one path, or a list of them")


def test_what_changes_nothing_is_said(model: Path, picture: Path, other: Path, tmp_path: Path) -> None:
    result = generate(
        model, picture, tmp_path / "a.png", "--style-frames", "0:0,1:1", "--negative-scale", 0.5
    )
    assert result.exit_code == 0
    assert "no effect on a single frame" in result.stderr and "no negative style was given" in result.stderr
    assert generate(model, picture, tmp_path / "v.webp", "--frames", 2).exit_code == 0
    video = ("--video", tmp_path / "v.webp")
    said = generate(model, picture, tmp_path / "b.webp", *video, "--denoise", 0.6).stderr
    assert "nothing is left of the video" in said
    assert (
        "nothing is left"
        not in generate(model, picture, tmp_path / "c.webp", *video, "--denoise", 0.5).stderr
    )
