"""What people share does not say where it was made, and can still be made again there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stylecrafter.generation.record import read_record
from stylecrafter.media.video import read_frames, write_frames
from tests.cli.support import assert_one_line_error, invoke
from tests.tiny import tiny_picture


@pytest.fixture
def home(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with pictures, a model and a cache of its own; the working folder is in it."""
    home = tmp_path / "JANEDOE"
    (home / "pics").mkdir(parents=True)
    (home / "work").mkdir()
    for i in range(2):
        tiny_picture(i).save(home / "pics" / f"{i}.png")
    shutil.copytree(model, home / "models" / "toy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(home / "work")
    return home


def generate(
    output: object, *more: object, style: str = "../pics/0.png", model: str = "../models/toy"
) -> None:
    result = invoke("generate", "a fox", "--style", style, "-o", output, "--model", model, *more)
    assert result.exit_code == 0, result.stderr


def assert_silent(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"JANEDOE" not in path.read_bytes() and b"pics/" not in path.read_bytes(), path


def test_a_clip_names_no_folder_and_is_replayed_where_it_was_made(home: Path, tmp_path: Path) -> None:
    generate(tmp_path / "shared" / "a.mp4")
    assert_silent(tmp_path / "shared")
    record = read_record(tmp_path / "shared" / "a.mp4")
    assert (record.styles[0].name, record.styles[0].path, record.model.name) == ("0.png", None, "toy")
    result = invoke("inspect", tmp_path / "shared" / "a.mp4", "--replay", "b.mp4")
    assert result.exit_code == 0 and "same frames" in result.stdout, result.stderr


def test_without_a_memory_it_is_asked_for_what_is_missing(home: Path, tmp_path: Path) -> None:
    generate(tmp_path / "shared" / "a.mp4")
    shutil.rmtree(tmp_path / "cache")
    source = tmp_path / "shared" / "a.mp4"
    tiny_picture(1).save(tmp_path / "shared" / "0.png")
    assert_one_line_error(
        invoke("inspect", source, "--replay", "b.mp4"), "0.png", "another of that name", "--style"
    )
    (tmp_path / "shared" / "0.png").unlink()
    assert_one_line_error(
        invoke("inspect", source, "--replay", "b.mp4"), "style picture 0.png is missing", "--style"
    )
    shutil.copy(home / "pics" / "0.png", home / "work")  # found by its name from here
    assert_one_line_error(
        invoke("inspect", source, "--replay", "b.mp4"), "model toy", "is missing", "--model"
    )
    (home / "work" / "toy").mkdir()  # of that name, but no model
    assert_one_line_error(invoke("inspect", source, "--replay", "b.mp4"), "toy")
    shutil.copytree(home / "models" / "toy", tmp_path / "shared" / "toy")
    result = invoke("inspect", source, "--replay", "b.mp4")
    assert result.exit_code == 0 and "same frames" in result.stdout, result.stderr


def test_what_moves_with_the_output_is_seen_from_it(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "pics", tmp_path / "shared" / "styles")
    shutil.copytree(home / "models" / "toy", tmp_path / "shared" / "toy")
    there = str(tmp_path / "shared")
    generate(f"{there}/a.mp4", style=f"{there}/styles/1.png", model=f"{there}/toy")
    record = read_record(tmp_path / "shared" / "a.mp4")
    assert (record.styles[0].path, record.model.name) == ("styles/1.png", "./toy")
    assert not (tmp_path / "cache").exists()  # nothing had to be remembered
    (tmp_path / "shared").rename(tmp_path / "moved")
    result = invoke("inspect", tmp_path / "moved" / "a.mp4", "--replay", "b.mp4")
    assert result.exit_code == 0 and "same frames" in result.stdout, result.stderr


def test_a_folder_called_like_an_embedded_model_is_told_by_its_weights(home: Path) -> None:
    (home / "models" / "toy").rename(home / "models" / "mini")
    generate("a.mp4", model="../models/mini")
    assert read_record("a.mp4").model.name == "mini"
    result = invoke("inspect", "a.mp4", "--replay", "b.mp4")
    assert result.exit_code == 0 and "same frames" in result.stdout, result.stderr


def test_files_of_earlier_versions_are_replayed(home: Path, tmp_path: Path) -> None:
    generate("a.png")  # without loss, so that it can be written again as it is
    record = read_record("a.png").model_dump()
    record["styles"][0]["path"], record["model"]["name"] = "../pics/0.png", "../models/toy"
    write_frames(read_frames("a.png")[0], "old.png", metadata=record)
    shutil.rmtree(tmp_path / "cache")
    result = invoke("inspect", "old.png", "--replay", "b.png")
    assert result.exit_code == 0 and "same frames" in result.stdout, result.stderr


def test_no_metadata_leaves_nothing_anywhere(home: Path, tmp_path: Path) -> None:
    generate("a.mp4", "--no-metadata")
    assert not (tmp_path / "cache").exists()


def test_a_batch_names_no_folder(home: Path, tmp_path: Path) -> None:
    styles = [str(home / "pics" / name) for name in ("0.png", "missing.png")]
    asked = [{"prompt": "a fox", "style_path": style} for style in styles]
    (home / "work" / "list.json").write_text(json.dumps(asked))
    out = tmp_path / "shared"
    result = invoke("batch", "list.json", "-o", out, "--model", "../models/toy")
    assert result.exit_code == 2 and "missing.png" in result.stderr
    assert_silent(out)
    failed = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()][1]
    assert failed["styles"] == ["missing.png"] and failed["error"].startswith("missing.png")
    assert (
        invoke(
            "batch", "list.json", "-o", out, "--model", "../models/toy", "--resume", "--limit", 1
        ).exit_code
        == 0
    )
    (clip,) = out.glob("*.mp4")
    assert invoke("inspect", clip, "--replay", "b.mp4").exit_code == 0


def test_an_evaluation_names_no_folder_and_knows_its_pictures(home: Path, tmp_path: Path) -> None:
    asked = [{"prompt": "a fox", "style_path": str(home / "pics" / f"{i}.png")} for i in range(2)]
    testset = home / "list.json"
    testset.write_text(json.dumps(asked))
    common = ("--no-style-vector", "--model", home / "models" / "toy")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, more in ((first, ()), (second, ("--compare", first))):
        result = invoke("evaluate", testset, "-o", folder, *common, *more)
        assert result.exit_code == 0, result.stderr
        assert_silent(folder)
    run = json.loads((first / "runs" / "ours.json").read_text())
    assert [clip["styles"] for clip in run["clips"]] == [["0.png"], ["1.png"]]
    assert (run["title"], run["settings"]["testset"]) == ("toy, ours", "list.json")
    # Both runs show the pictures of their styles, in the sheet and among the best and worst of the first.
    pictures = [(folder / "report.html").read_text().count("data:image/jpeg") for folder in (first, second)]
    assert pictures[1] == pictures[0] + 2


def test_clips_of_another_folder_are_found_again(home: Path, tmp_path: Path) -> None:
    (home / "list.json").write_text(json.dumps([{"prompt": "a fox", "style_path": "pics/0.png"}]))
    assert (
        invoke("batch", home / "list.json", "-o", home / "clips", "--model", "../models/toy").exit_code == 0
    )
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, more in ((first, ()), (second, ("--compare", first))):
        given = ("--clips", home / "clips", "--no-style-vector", *more)
        result = invoke("evaluate", home / "list.json", "-o", folder, *given)
        assert result.exit_code == 0, result.stderr
        assert_silent(folder)
    assert (second / "report.html").read_text().count("<video") > (first / "report.html").read_text().count(
        "<video"
    )
