from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stylecrafter.errors import CheckpointError, ImageReadError, InvalidInputError, UnknownNameError
from stylecrafter.generation.settings import (
    SCHEDULERS,
    GenerationSettings,
    StyleInput,
    check_settings,
    look_up_model,
    parse_size,
    prepare,
)
from tests.tiny import tiny_picture


@pytest.mark.parametrize(
    ("text", "size"),
    [("128x96", (128, 96)), (" 64X64 ", (64, 64)), ("512×320", (512, 320)), ("8 x 8", (8, 8))],
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "128",
        "128x",
        "axb",
        "0x64",
        "-64x64",
        "64.5x64",
        "64x64x64",
        "99999x64",
        "9" * 100 + "x64",
        "9" * 5000,
    ]
    + ["64x" + "9" * 5000, "0" * 5000 + "x64", "²x64", "64x64\x00", " " * 5000],
)
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(InvalidInputError, match="WIDTHxHEIGHT"):
        parse_size(text)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n"}, "prompt is empty"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"steps": 0}, "steps must lie between 1 and"),
        ({"steps": 1000}, "999"),
        ({"frames": 0}, "frames"),
        ({"frames": 10**9}, "frames"),
        ({"fps": 0.0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"style_scale": float("inf")}, "style scale"),
        ({"text_guidance": float("nan")}, "text guidance"),
        ({"style_guidance": 1e9}, "style guidance"),
        ({"guidance_stop": 1.1}, "guidance stop must lie between 0 and 1, not 1.1"),
        ({"guidance_stop": float("nan")}, "guidance stop"),
        ({"shared_noise": 2}, "shared noise must lie between 0 and 1, not 2"),
        ({"scheduler": "dpm"}, r"Did you mean 'd.*'\? Known: .*ddim"),
        ({"device": "gpu"}, "unknown device"),
        ({"dtype": "int8"}, "unknown dtype"),
        ({"styles": (StyleInput(path=Path("a"), weight=-1.0),)}, "weight of a"),
        ({"styles": (StyleInput(path=Path("a")),) * 65}, "up to 64 style pictures, not 65"),
        ({"styles": (StyleInput(path=Path("a")),) * 1000}, "up to 64 style pictures, not 1,000"),
        ({"prompt": "a" * 50_001}, "the prompt may have up to 50,000 characters, not 50,001"),
        ({"negative_prompt": "a" * 10**6}, "the negative prompt may have up to 50,000"),
        ({"seed": 10**30}, "seed"),
        ({"size": (10**400, 64)}, "sides must lie between 1 and 16384"),
        ({"size": (64, 0)}, "not 64x0"),
        ({"fps": float("inf")}, "fps"),
        ({"eta": float("-inf")}, "eta"),
        ({"shared_noise": float("nan")}, "shared noise"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, Any], says: str) -> None:
    settings = GenerationSettings(**{"prompt": "a fox", **changes})
    with pytest.raises(InvalidInputError, match=says):
        check_settings(settings)


def test_right_values() -> None:
    check_settings(GenerationSettings(prompt="a fox"))
    for name in SCHEDULERS:
        check_settings(
            GenerationSettings(prompt="word " * 5000, scheduler=name, seed=2**63 - 1, style_scale=0)
        )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": 0}, "of the defaults in its model_index.json, steps must lie between 1 and 999, not 0"),
        ({"fps": 1e9}, "fps must lie above 0"),
        ({"frames": 100_000}, "frames must lie between"),
        ({"width": 2**20}, "sides must lie between"),
        ({"guidance_stop": 5}, "guidance stop must lie between 0 and 1"),
        ({"style_corners": "yes"}, "no number default_style_corners"),
        ({"shared_noise": "x"}, "no number default_shared_noise"),
    ],
)
def test_what_a_model_says_of_itself_has_the_same_bounds(changes: dict[str, Any], says: str) -> None:
    mini = look_up_model("mini")
    odd = replace(
        mini, defaults=mini.defaults | {f"default_{name}": value for name, value in changes.items()}
    )
    with pytest.raises(CheckpointError, match=says):
        prepare(GenerationSettings(prompt="a cat"), ".mp4", odd)


def test_models_saved_before_there_were_all_of_the_settings() -> None:
    mini = look_up_model("mini")
    newer = ("default_guidance_stop", "default_shared_noise", "default_style_corners")
    older = replace(mini, defaults={k: v for k, v in mini.defaults.items() if k not in newer})
    job = prepare(GenerationSettings(prompt="a cat"), ".png", older)
    assert (job.guidance_stop, job.shared_noise, job.style_corners, job.frames) == (1.0, 0.0, False, 1)


def test_style_pictures_are_counted_by_their_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylecrafter.generation.settings.MAX_STYLE_PIXELS", 700)
    tiny_picture().save(tmp_path / "a.png")  # 20 x 16
    styles = (StyleInput(path=tmp_path / "a.png"),)
    assert len(prepare(GenerationSettings(prompt="a fox", styles=styles * 2), ".mp4").pictures) == 2
    with pytest.raises(ImageReadError, match=r"more than 700 pixels together \(the first 3 have 960\)"):
        prepare(GenerationSettings(prompt="a fox", styles=styles * 3), ".mp4")


@pytest.mark.parametrize("name", ["~no-such-user.png", "~$draft.png", "~"])
def test_a_style_whose_name_begins_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_picture().save(tmp_path / name, "PNG")
    (picture,) = prepare(
        GenerationSettings(prompt="a fox", styles=(StyleInput(path=Path(name)),)), ".mp4"
    ).pictures
    assert picture.name == name


def test_the_home_folder_of_styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tiny_picture().save(tmp_path / "a.png")
    job = prepare(GenerationSettings(prompt="a fox", styles=(StyleInput(path=Path("~/a.png")),)), ".mp4")
    assert job.settings.styles[0].path == tmp_path / "a.png"


def test_unknown_scheduler_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError):
        check_settings(GenerationSettings(prompt="a", scheduler="magic"))


def test_checks_need_no_torch() -> None:
    code = "import sys, stylecrafter.generation.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_scheduler_name_is_a_class_of_diffusers() -> None:
    import diffusers

    for class_name, _ in SCHEDULERS.values():
        assert hasattr(diffusers, class_name)


@pytest.mark.parametrize(
    ("suffix", "changes", "says"),
    [
        (".gif", {"fps": 0.001}, "at least 0.00153 frames per second"),
        (".gif", {"fps": 60.0}, "at most 50 frames per second"),
        (".webp", {"size": (16_384, 64)}, "16,383 pixels a side"),
        (".webp", {"fps": 0.002, "frames": 10_000}, "lasts at most"),
        (".mp4", {"fps": 0.0001}, "at least 0.001 frames per second"),
        (".png", {"frames": 2}, "one picture"),
    ],
)
def test_what_a_format_cannot_hold_is_found_before_a_model_is_loaded(
    suffix: str, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        prepare(GenerationSettings(prompt="a fox", **changes), suffix)
