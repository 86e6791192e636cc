"""The fast mode and the options it sets, on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stylecrafter.backbones.videocrafter_fast import VIDEOCRAFTER_FAST
from stylecrafter.generation.record import read_record
from tests.cli.support import assert_one_line_error, invoke


@pytest.fixture(scope="module")
def own(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a fast mode of its own."""
    folder = tmp_path_factory.mktemp("own") / "model"
    shutil.copytree(model, folder)
    _write_fast(folder, {"steps": 2, "guidance_every": 2, "guidance_stop": 0.9})
    return folder


def _write_fast(folder: Path, fast: object) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "fast": fast}))


def test_the_record_says_what_it_set_and_replays(own: Path, picture: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "a.webp", tmp_path / "b.webp"
    asked = (
        "a red fox",
        "--style",
        picture,
        "--model",
        own,
        "--seed",
        "1",
        "-o",
        out,
        "--guidance-stop",
        "1",
    )
    result = invoke("generate", *asked, "--fast")
    assert result.exit_code == 0, result.stderr
    record = read_record(out)
    assert (record.fast, record.steps, record.guidance_every, record.guidance_stop) == (True, 2, 2, 1.0)
    assert record.model_dump()["fast_knobs"] == ["steps", "guidance_every"]
    assert invoke("inspect", out, "--replay", again).exit_code == 0
    assert read_record(again) == record


def test_what_it_sets_is_shown(own: Path, model: Path) -> None:
    assert "steps 2, guidance every 2, guidance stop 0.9" in invoke("models", own).stdout
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in VIDEOCRAFTER_FAST.items())
    assert shown in invoke("models", model).stdout
    assert "steps 2, guidance every 2" in invoke("doctor", "--model", own).stdout


@pytest.mark.parametrize(
    ("fast", "says"), [({"seed": 3}, "cannot set seed"), ({"steps": 0}, "steps must be"), ([1], "a mapping")]
)
def test_one_that_cannot_be(own: Path, picture: Path, tmp_path: Path, fast: object, says: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(own, folder)
    _write_fast(folder, fast)
    asked = ("a red fox", "--style", picture, "--model", folder, "-o", tmp_path / "a.webp", "--fast")
    assert_one_line_error(invoke("generate", *asked), says, "model_index.json")


def test_what_the_base_does_not_have_is_refused(model: Path, picture: Path, tmp_path: Path) -> None:
    asked = ("a red fox", "--style", picture, "--model", model, "-o", tmp_path / "a.webp")
    assert_one_line_error(
        invoke("generate", *asked, "--skip-threshold", "0.1"), "no transformer", "--reuse-every"
    )
    assert_one_line_error(
        invoke("generate", *asked, "--reuse-every", "2", "--reuse-depth", "9"),
        "reuse_depth must be from 1 to",
    )
