from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stylecrafter.errors import CheckpointError, ImageReadError, InvalidInputError
from stylecrafter.generation.models import look_up_model
from stylecrafter.generation.settings import (
    GenerationSettings,
    StyleInput,
    prepare,
)
from tests.tiny import tiny_picture


def test_styles_may_be_a_list() -> None:
    style = StyleInput(path=Path("a.png"))
    assert GenerationSettings(prompt="a", styles=[style]).styles == (style,)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n"}, "prompt is empty"),
        ({"prompt": 3}, "prompt must be a text, not 3"),
        ({"prompt": "a" * 50_001}, "the prompt may have up to 50,000 characters, not 50,001"),
        ({"prompt": "caf\ud800"}, "the prompt holds bytes that are no text"),
        ({"steps": 0}, "^steps must be a whole number between 1 and 999, not 0.$"),
        ({"device": "gpu"}, "unknown device"),
        ({"dtype": "int8"}, "unknown dtype"),
        ({"styles": [(Path("a"), -1.0)]}, "weight of a"),
        ({"styles": [(Path("a"), 1.0)] * 65}, "up to 64 style pictures, not 65"),
        ({"styles": [(Path("a"), 1.0)] * 1000}, "up to 64 style pictures, not 1,000"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, Any], says: str) -> None:
    styles = tuple(StyleInput(path=path, weight=weight) for path, weight in changes.pop("styles", ()))
    with pytest.raises(InvalidInputError, match=says):
        prepare(GenerationSettings(**{"prompt": "a fox", "styles": styles, **changes}), ".mp4")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"steps": 0},
            "of the defaults in its model_index.json, steps must be a whole number between 1 and 999, not 0",
        ),
        ({"fps": 1e9}, "fps must be a number above 0 and at most 240"),
        ({"frames": 100_000}, "frames must be a whole number between"),
        ({"width": 2**20}, "width must be a whole number between 1 and 16384"),
        ({"guidance_stop": 5}, "guidance stop must be a number between 0 and 1, not 5"),
        ({"style_corners": "yes"}, "style corners must be True or False, not 'yes'"),
        ({"shared_noise": "x"}, "shared noise must be a number between 0 and 1, not 'x'"),
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
    made_with = job.settings
    assert (made_with.guidance_stop, made_with.shared_noise, made_with.style_corners) == (1.0, 0.0, False)
    assert job.frames == 1
    without = replace(mini, defaults={k: v for k, v in mini.defaults.items() if k != "default_steps"})
    with pytest.raises(CheckpointError, match="defaults in its model_index.json, default_steps is missing"):
        prepare(GenerationSettings(prompt="a cat"), ".png", without)


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


def test_checks_need_no_torch() -> None:
    code = "import sys; from stylecrafter.generation import batch, replay; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
