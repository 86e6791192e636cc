from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stylecrafter.generation.record import read_record
from stylecrafter.media.video import write_frames
from tests.cli.support import assert_one_line_error, invoke, run
from tests.tiny import tiny_picture, tiny_pipeline


@pytest.fixture
def clip(model: Path, tmp_path: Path) -> Path:
    for i in range(2):
        tiny_picture(i).save(tmp_path / f"{i}.png")
    path = tmp_path / "out" / "a.mp4"
    result = invoke(
        *("generate", "a red fox", "--style", tmp_path / "0.png", "--style", tmp_path / "1.png", "-o", path),
        *("--model", model, "--scheduler", "dpm++", "--steps", 4, "--negative", "blurry", "--size", "16x16"),
        *("--guidance-stop", 0.5, "--shared-noise", 0.7, "--style-corners"),
    )
    assert result.exit_code == 0, result.stderr
    return path


def test_settings_are_shown(clip: Path) -> None:
    result = invoke("inspect", clip)
    assert result.exit_code == 0
    for words in ("a red fox", "blurry", "dpm++", "0.png", "1.png", "seed", "torch"):
        assert words in result.stdout
    assert "/" not in "".join(
        line for line in result.stdout.splitlines() if line.startswith(("style ", "model"))
    )
    assert read_record(clip).shared_noise == 0.7 and read_record(clip).style_corners is True
    assert json.loads(invoke("inspect", clip, "--json").stdout) == read_record(clip).model_dump()


def test_replay_gives_the_same_file(clip: Path, tmp_path: Path) -> None:
    result = invoke("inspect", clip, "--replay", tmp_path / "out" / "b.mp4")
    assert result.exit_code == 0, result.stderr
    assert "same frames" in result.stdout
    assert (tmp_path / "out" / "b.mp4").read_bytes() == clip.read_bytes()


@pytest.mark.process
def test_replay_in_a_fresh_process_and_another_place(clip: Path, tmp_path: Path) -> None:
    result = run("inspect", clip, "--replay", tmp_path / "else" / "where" / "b.mp4", "--json", cwd=Path("/"))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["identical"] is True


def test_replay_into_another_format(clip: Path, tmp_path: Path) -> None:
    result = invoke("inspect", clip, "--replay", tmp_path / "b.webp", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["identical"] is None
    assert_one_line_error(
        invoke("inspect", clip, "--replay", tmp_path / "b.png"), "one picture, not 3 frames"
    )


def test_changed_and_missing_pictures(clip: Path, tmp_path: Path) -> None:
    again = tmp_path / "b.mp4"
    (tmp_path / "moved").mkdir()
    (tmp_path / "1.png").rename(tmp_path / "moved" / "other name.png")
    assert_one_line_error(invoke("inspect", clip, "--replay", again), "1.png is missing", "--style")
    tiny_picture(5).save(tmp_path / "1.png")
    assert_one_line_error(invoke("inspect", clip, "--replay", again), "1.png", "contents changed", "--style")
    pictures = ["--style", tmp_path / "0.png", "--style", tmp_path / "moved" / "other name.png"]
    assert_one_line_error(invoke("inspect", clip, "--replay", again, *pictures[:2]), "2 style pictures")
    assert_one_line_error(
        invoke("inspect", clip, "--replay", again, *pictures[2:], *pictures[:2]), "contents changed"
    )
    assert not again.exists()
    result = invoke("inspect", clip, "--replay", again, *pictures)
    assert result.exit_code == 0 and "same frames" in result.stdout


def test_another_or_missing_model(clip: Path, model: Path, tmp_path: Path) -> None:
    tiny_pipeline(seed=1).save_pretrained(tmp_path / "other")
    again = tmp_path / "b.mp4"
    assert_one_line_error(
        invoke("inspect", clip, "--replay", again, "--model", tmp_path / "other"), "other weights"
    )
    shutil.copytree(model, tmp_path / "same")
    assert invoke("inspect", clip, "--replay", again, "--model", tmp_path / "same").exit_code == 0
    config = tmp_path / "same" / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "beta_end": 0.02}))
    assert_one_line_error(
        invoke("inspect", clip, "--replay", again, "--model", tmp_path / "same"), "other settings"
    )


def test_files_without_settings(clip: Path, tmp_path: Path) -> None:
    import numpy as np

    plain = write_frames(np.zeros((2, 16, 16, 3), np.uint8), tmp_path / "plain.mp4")
    assert_one_line_error(invoke("inspect", plain), "holds no StyleCrafter settings")
    assert_one_line_error(
        invoke("inspect", plain, "--replay", tmp_path / "b.mp4"), "no StyleCrafter settings"
    )
    assert_one_line_error(invoke("inspect", tmp_path / "missing.mp4"), "no such file")
    (tmp_path / "text.mp4").write_text("text")
    assert_one_line_error(invoke("inspect", tmp_path / "text.mp4"), "neither a picture nor a clip")


def test_what_a_file_says_does_not_reach_the_terminal_as_it_is(clip: Path, tmp_path: Path) -> None:
    record = read_record(clip).model_dump()
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r\n"
    record |= {"prompt": f"fox {evil}", "scheduler": evil, "versions": {evil: evil}, "extra": [evil], evil: 1}
    record["styles"][0]["sha256"] = "0" * 64
    record["styles"][0]["name"] = record["styles"][0]["path"] = record["model"]["name"] = evil
    odd = write_frames([tiny_picture()], tmp_path / "\x1b[31mred.png", metadata=record)
    result = invoke("inspect", odd)
    assert result.exit_code == 0, result.stderr
    assert not set("\x1b\x07\x9b\r\u202e") & set(result.stdout)
    assert "fox \\x1b]0;owned\\x07" in result.stdout
    assert json.loads(invoke("inspect", odd, "--json").stdout)["prompt"] == record["prompt"]
    again = invoke("inspect", odd, "--replay", tmp_path / "b.png")
    assert_one_line_error(again, "--style")
    assert "\x1b" not in again.stderr


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"styles": [{"name": "a.png", "sha256": "0" * 64}] * 1000}, "up to 64 style pictures, not 1,000"),
        ({"styles": [{"name": "x" * 5000, "sha256": "0" * 64}]}, "is missing"),
        ({"styles": [{"name": "a\0b", "sha256": "0" * 64, "path": "\0"}]}, "is missing"),
        ({"styles": [{"name": "a", "sha256": "0" * 64, "path": "/dev/zero"}]}, "is missing"),
        ({"styles": [{"name": "", "sha256": "", "path": ""}]}, "is missing"),
        ({"styles": [], "model": {"name": "x" * 5000, "sha256": None}}, "is missing: say where it is now"),
        ({"styles": [], "model": {"name": "", "sha256": None}}, ""),
        ({"styles": [], "model": {"name": "../\0", "sha256": "1"}}, "is missing: say where it is now"),
        ({"styles": [], "prompt": "x" * 60_000}, "up to 50,000 characters"),
        ({"styles": [], "prompt": ""}, "prompt is empty"),
        (
            {"styles": [], "width": 60_000, "height": 60_000},
            "width must be a whole number between 1 and 16384",
        ),
        (
            {"styles": [], "frames": 10_000, "width": 16_000, "height": 16_000},
            "use fewer frames or a smaller size",
        ),
        ({"styles": [], "frames": 20_000}, "frames must be a whole number between 1 and 10000"),
        ({"styles": [], "steps": 5000}, "steps must be a whole number between"),
        ({"styles": [], "style_scale": 1e30}, "style_scale"),
        ({"styles": [], "scheduler": "NextScheduler"}, "made with the scheduler NextScheduler, but model"),
        ({"styles": [], "device": "\x1b", "dtype": "?"}, "unknown device"),
    ],
)
def test_absurd_records_are_one_line(model: Path, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    record = {
        "kind": "image", "prompt": "a fox", "styles": [], "seed": 1, "frames": 2, "width": 16, "height": 16, "fps": 4,
        "steps": 1, "scheduler": "ddim", "eta": 0, "text_guidance": 1, "style_guidance": 1, "style_scale": 1,
        "published_guidance": False, "device": "cpu", "dtype": "float32", "model": {"name": str(model)},
    }  # fmt: skip
    source = write_frames([tiny_picture()], tmp_path / "a.png", metadata={**record, **changes})
    result = invoke("inspect", source, "--replay", tmp_path / "b.gif")
    assert_one_line_error(result, says)
    assert not (tmp_path / "b.gif").exists()


def test_later_versions_are_warned_of(clip: Path, tmp_path: Path) -> None:
    from stylecrafter.media.video import read_frames

    record = read_record(clip)
    old = record.model_copy(update={"versions": {**record.versions, "torch": "1.0"}})
    frames, fps = read_frames(clip)
    write_frames(frames, clip, fps, old.model_dump())
    result = invoke("inspect", clip, "--replay", tmp_path / "b.mp4")
    assert "warning: made with torch 1.0 (now" in result.stderr
