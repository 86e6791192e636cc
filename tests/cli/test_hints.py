"""`generate` says what a model knows where the prompt names none of it, and generates all the same."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from stylecrafter.generation.engine import generate_file
from stylecrafter.generation.settings import GenerationSettings
from tests.cli.support import invoke


@pytest.fixture
def knowing(model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "knowing"
    shutil.copytree(model, folder)
    world = {
        "objects": ["dog", "cat", "car"],
        "scenes": ["beach"],
        "words": ["dog", "cat", "car", "beach", "hound"],
    }
    (folder / "world.json").write_text(json.dumps(world))
    return folder


def generate(model: Path, picture: Path, prompt: str) -> tuple[str, Path]:
    output = picture.with_name("out.png")
    result = invoke(
        "generate", prompt, "--style", picture, "-o", output, "--model", model, "--steps", 1, "--frames", 1
    )
    assert result.exit_code == 0, result.stderr
    assert output.is_file()
    return result.stderr, output


def test_an_unknown_object_gets_a_hint_and_a_picture(knowing: Path, picture: Path) -> None:
    said, _ = generate(knowing, picture, "a kitten on the beach")
    assert said.count("\n") == 1 and "none of the 3 objects" in said and "nearest: cat" in said


def test_known_objects_and_models_without_a_world_are_left_alone(
    knowing: Path, model: Path, picture: Path
) -> None:
    assert generate(knowing, picture, "two dogs on the beach")[0] == ""
    assert generate(knowing, picture, "a hound on the beach")[0] == ""
    assert generate(model, picture, "a kitten on the beach")[0] == ""


def test_models_lists_names_and_counts_words(knowing: Path) -> None:
    shown = invoke("models", knowing).stdout
    assert "dog, cat, car" in shown and "5 in captions" in shown and "hound" not in shown


def test_models_without_a_world_load_none(
    model: Path, knowing: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stylecrafter.styleworld.prompts", None)  # importing it fails
    assert generate(model, picture, "a kitten on the beach")[0] == ""
    with pytest.raises(ModuleNotFoundError):
        generate_file(
            GenerationSettings(prompt="a kitten", model=str(knowing), steps=1), picture.with_name("b.png")
        )
