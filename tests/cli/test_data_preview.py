from __future__ import annotations

from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from stylecrafter.cli.console import CommandGroup
from stylecrafter.cli.data_preview import preview
from tests.cli.support import assert_one_line_error

app = typer.Typer(cls=CommandGroup)
app.command()(preview)
app.callback()(lambda: None)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["preview", *map(str, arguments)])


def test_a_sheet_of_the_world(tmp_path: Path) -> None:
    options = ("--vocabulary", "small", "--style", "poster", "--style", "neon", "--columns", 3, "--size", 32)
    result = run(*options, "-o", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(str(tmp_path / "sheet.png")) and result.stdout.count("\n") == 1
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 3 * 36 + 4


@pytest.mark.parametrize("name", ["clips.webp", "clips.mp4", "strip.png"])
def test_clips(tmp_path: Path, name: str) -> None:
    result = run("--vocabulary", "held-out", "--split", "held-out", "--style", "spiral", "--columns", 2,
                 "--frames", 3, "--size", 32, "-o", tmp_path / name)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert ("1 sheet of" if name == "strip.png" else "3 sheets of") in result.stdout
    assert (tmp_path / name).stat().st_size > 500


def test_a_folder_with_a_broken_file(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (50, 30), "red").save(folder / "a.png")
    (folder / "a.txt").write_text("a red thing\n")
    Image.new("RGB", (30, 50), "blue").save(folder / "deep" / "b.jpg")
    (folder / "c.png").write_bytes(b"not a picture")
    result = run(folder, "--size", 32, "-o", tmp_path / "sheet.png")
    assert result.exit_code == 0
    assert result.stderr.startswith("skipped: ") and "c.png" in result.stderr
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 2 * 36 + 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--vocabulary", "smal"), "Did you mean 'small'?"),
        (("--style", "poter"), "Did you mean 'poster'?"),
        (("--split", "test"), "held-out, train"),
        (("--columns", 0), "0 columns"),
        (("nowhere",), "nowhere is not a folder"),
    ],
)
def test_refusals(tmp_path: Path, arguments: tuple[object, ...], says: str) -> None:
    assert_one_line_error(run(*arguments, "-o", tmp_path / "x.png"), says)


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert_one_line_error(run(tmp_path / "none", "-o", tmp_path / "x.png"), "holds no picture")
