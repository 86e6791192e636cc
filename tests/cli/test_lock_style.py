"""`batch --lock-style`: one style, read once, and one noise for all prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPVisionModel

from stylecrafter.generation.record import read_record
from stylecrafter.references.style_library import FOLDER_VARIABLE
from tests.cli.support import assert_one_line_error, invoke
from tests.tiny import tiny_picture


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "styles"))
    for i in range(2):
        tiny_picture(i).save(tmp_path / f"{i}.png")
    file = tmp_path / "list.json"
    file.write_text(
        json.dumps(
            [
                {"prompt": "a red fox", "style_path": "0.png"},
                {"prompt": "a boat on a lake", "style_path": "1.png"},
                {"prompt": "a fox running", "strength": "light"},
                {"prompt": "a boat", "seed": 3},
            ]
        )
    )
    return file


def batch(model: Path, file: Path, folder: Path, *more: object):  # type: ignore[no-untyped-def]
    return invoke("batch", file, "-o", folder, "--model", model, "--seed", 7, "--format", "gif", *more)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each pass of the image encoder has read."""
    passes: list[int] = []
    forward = CLIPVisionModel.forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        passes.append(kwargs["pixel_values"].shape[0])
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(CLIPVisionModel, "forward", counted)
    return passes


def test_one_look(model: Path, entries: Path, tmp_path: Path, read: list[int]) -> None:
    result = batch(model, entries, tmp_path / "out", "--lock-style")
    assert result.exit_code == 0, result.stderr
    assert (
        "warning: the style is locked to 0.png: the style_path of 1 entries, entry 1 the first"
        in result.stderr
    )
    assert read == [1]
    made = sorted((tmp_path / "out").glob("*.gif"))
    records = [read_record(path) for path in made]
    assert [record.seed for record in records] == [7, 7, 7, 3]
    assert {style.sha256 for record in records for style in record.styles} == {records[0].styles[0].sha256}
    for path, record in zip(made, records, strict=True):
        alone = tmp_path / "out" / "alone.gif"
        more = ["--strength", record.strength] if record.strength else []
        invoke("generate", record.prompt, "--style", tmp_path / "0.png", "-o", alone, "--model", model,
               "--seed", record.seed, *more)  # fmt: skip
        assert alone.read_bytes() == path.read_bytes()


def test_the_style_of_the_command(model: Path, entries: Path, tmp_path: Path, read: list[int]) -> None:
    assert invoke("style", "save", "ink", "--style", tmp_path / "1.png", "--model", model).exit_code == 0
    folder = tmp_path / "out"
    locked = ("--lock-style", "--style", "ink")
    assert batch(model, entries, folder, *locked, "--limit", 2).exit_code == 0
    assert read == [1]  # when it was saved
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*.gif")}
    assert len(times) == 2
    assert_one_line_error(batch(model, entries, folder, "--resume"), "entry 2 needs a style_path")
    for other in (["--lock-style"], ["--lock-style", "--style", tmp_path / "1.png"]):
        result = batch(model, entries, folder, "--resume", *other)
        assert result.exit_code == 2 and "was started with locked style" in result.stderr.splitlines()[-1]
    result = batch(model, entries, folder, "--resume", *locked)
    assert result.stdout.splitlines()[-1] == "2 made, 2 finished before, 0 failed"
    assert {path: path.stat().st_mtime_ns for path in times} == times
    names = {style.name for path in folder.glob("*.gif") for style in read_record(path).styles}
    assert names == {"ink.safetensors"}


def test_refusals(model: Path, entries: Path, tmp_path: Path) -> None:
    result = batch(model, entries, tmp_path / "out", "--style", tmp_path / "0.png")
    assert_one_line_error(result, "--style goes with --lock-style")
    entries.write_text('[{"prompt": "a fox"}]')
    assert_one_line_error(
        batch(model, entries, tmp_path / "out", "--lock-style"), "entry 0 has no style_path"
    )
    assert not (tmp_path / "out").exists()
