"""No command replaces a file that it was given to read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.support import assert_one_line_error, invoke
from tests.cli.test_data_preview import run as preview
from tests.tiny import tiny_picture


@pytest.fixture
def here(picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder with style.png, and the same file under other names."""
    (tmp_path / "link.png").symlink_to("style.png")
    os.link(picture, tmp_path / "hard.png")
    (tmp_path / "folder").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("style", "output"),
    [
        ("style.png", "style.png"),
        ("style.png", "./style.png"),
        ("style.png", "folder/style.png"),
        ("style.png", "link.png"),
        ("link.png", "style.png"),
        ("style.png", "hard.png"),
        ("folder/link.png", "hard.png"),
    ],
)
def test_generate_keeps_its_style(model: Path, here: Path, style: str, output: str) -> None:
    before = contents(here)
    result = invoke("generate", "a fox", "--style", style, "-o", output, "--model", model)
    assert_one_line_error(result, "cannot write", "which is read for it; name another file")
    assert contents(here) == before


def test_generate_keeps_its_model(model: Path, here: Path) -> None:
    own = here / "own"
    shutil.copytree(model, own)
    tiny_picture().save(own / "sample.png")
    (here / "out.png").symlink_to("own/unet/diffusion_pytorch_model.safetensors")
    before = contents(own)
    for output in ("own/sample.png", "out.png"):
        result = invoke("generate", "a fox", "--style", "style.png", "-o", output, "--model", own)
        assert_one_line_error(result, "which is read for it")
    assert contents(own) == before
    # What is not there yet is nobody's.
    new = invoke("generate", "a fox", "--style", "style.png", "-o", "own/new.png", "--model", own)
    assert new.exit_code == 0, new.stderr


def test_replay_keeps_what_it_replays(model: Path, here: Path) -> None:
    made = invoke("generate", "a fox", "--style", "style.png", "-o", "a.png", "--model", model)
    assert made.exit_code == 0, made.stderr
    (here / "b.png").symlink_to("a.png")
    before = contents(here)
    for source, output in (
        ("a.png", "a.png"),
        ("a.png", "b.png"),
        ("b.png", "./a.png"),
        ("a.png", "style.png"),
    ):
        assert_one_line_error(invoke("inspect", source, "--replay", output), "which is read for it")
    assert contents(here) == before


@pytest.mark.parametrize(
    ("name", "style"), [("0000_a-fox_style.png", "out/0000_a-fox_style.png"), ("results.jsonl", "style.png")]
)
def test_a_batch_keeps_its_pictures_and_its_list(model: Path, here: Path, name: str, style: str) -> None:
    (here / "out").mkdir()
    asked = [{"prompt": "a fox", "style_path": "style.png"}, {"prompt": "a cat", "style_path": style}]
    (here / "list.json").write_text(json.dumps(asked))
    first = invoke("batch", "list.json", "-o", "out", "--model", model, "--format", "png", "--limit", 1)
    assert first.exit_code == 0, first.stderr
    (here / "out" / name).unlink()
    os.link(here / ("list.json" if name == "results.jsonl" else "style.png"), here / "out" / name)
    before = contents(here)
    again = invoke("batch", "list.json", "-o", "out", "--model", model, "--format", "png", "--resume")
    assert_one_line_error(again, f"out/{name}", "which is read for it")
    assert contents(here) == before


def test_a_sheet_keeps_the_pictures_it_shows(here: Path) -> None:
    before = contents(here)
    for output in ("style.png", "link.png", "hard.png"):
        assert_one_line_error(preview(here, "-o", output), "which is read for it")
    assert contents(here) == before


def test_an_evaluation_keeps_its_files(model: Path, here: Path) -> None:
    (here / "out" / "runs").mkdir(parents=True)
    asked = json.dumps([{"prompt": "a fox", "style_path": str(here / "style.png")}])
    (here / "out" / "report.md").write_text(asked)
    result = invoke("evaluate", "out/report.md", "-o", "out", "--model", model, "--no-style-vector")
    assert_one_line_error(result, "out/report.md", "which is read for it")
    assert (here / "out" / "report.md").read_text() == asked
