from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stylecrafter.media.metadata import read_record
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


def test_later_versions_are_warned_of(clip: Path, tmp_path: Path) -> None:
    from stylecrafter.media.video import read_frames

    record = read_record(clip)
    old = record.model_copy(update={"versions": {**record.versions, "torch": "1.0"}})
    frames, fps = read_frames(clip)
    write_frames(frames, clip, fps, old.model_dump())
    result = invoke("inspect", clip, "--replay", tmp_path / "b.mp4")
    assert "warning: made with torch 1.0 (now" in result.stderr
