from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stylecrafter import StyleCrafterPipeline
from stylecrafter.media.video import read_frames
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipe_run import RecipeRun
from tests.cli.support import assert_one_line_error, invoke
from tests.golden.support import checkpoint, temporal_checkpoint
from tests.tiny import tiny_picture

HEADS = (
    *("--attention-head-dim", 16, "--num-frames", 4, "--adapter-num-heads", 4),
    *("--clip-text-num-heads", 4, "--clip-vision-num-heads", 4),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The published layout at toy size, in the published kinds of file."""
    folder = tmp_path_factory.mktemp("published")
    torch.save({"state_dict": checkpoint("tiny", "model")}, folder / "model.ckpt")
    torch.save(checkpoint("tiny", "adapter"), folder / "adapter_v1.pth")
    torch.save(temporal_checkpoint("tiny"), folder / "temporal_v1_1.pth")
    save_file(checkpoint("tiny", "openclip"), folder / "open_clip.safetensors")
    return {
        "--videocrafter": folder / "model.ckpt",
        "--adapter": folder / "adapter_v1.pth",
        "--temporal": folder / "temporal_v1_1.pth",
        "--openclip": folder / "open_clip.safetensors",
    }


def flat(files: dict[str, Path]) -> list[object]:
    return [part for pair in files.items() for part in pair]


def test_converted_model_generates(files: dict[str, Path], tmp_path: Path) -> None:
    result = invoke("convert", *flat(files), "-o", tmp_path / "new" / "model", *HEADS)
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]
    assert StyleCrafterPipeline.from_pretrained(tmp_path / "new" / "model").config.default_frames == 4
    tiny_picture().save(tmp_path / "s.png")
    made = invoke(
        *("generate", "a fox", "--style", tmp_path / "s.png", "-o", tmp_path / "a.mp4", "--steps", 2),
        *("--model", tmp_path / "new" / "model", "--size", "64x64", "--frames", 2),
    )
    assert made.exit_code == 0, made.stderr
    assert len(read_frames(tmp_path / "a.mp4")[0]) == 2


def test_a_base_without_an_adapter_is_what_training_begins_with(
    files: dict[str, Path], tmp_path: Path
) -> None:
    some = {name: path for name, path in files.items() if name in ("--videocrafter", "--openclip")}
    result = invoke("convert", *flat(some), "-o", tmp_path / "base", *HEADS)
    assert result.exit_code == 0, result.stderr
    assert "takes no style" in result.stderr
    changes = [
        f"model.pretrained={tmp_path / 'base'}", "adapter.num_style_tokens=2", "adapter.extractor_heads=4",
        "adapter.scale_heads=4", "data.art={kind: styleworld, batch_size: 2, references: crop, size: 32}",
        "stages.adapter.train={steps: 1, learning_rate: 1e-4}",
    ]  # fmt: skip
    recipe = load_recipe("paper", changes)
    run = RecipeRun(recipe.model_copy(update={"samples": None, "trackers": []}), tmp_path / "run")
    assert run.run(until="adapter")
    pipe = StyleCrafterPipeline.from_pretrained(tmp_path / "run" / "model_adapter")
    assert pipe.style_adapter.config.num_style_tokens == 2


def test_without_openclip_there_is_a_note(files: dict[str, Path], tmp_path: Path) -> None:
    some = {name: path for name, path in files.items() if name in ("--videocrafter", "--adapter")}
    result = invoke("convert", *flat(some), "-o", tmp_path / "model", *HEADS)
    assert result.exit_code == 0, result.stderr
    assert "cannot read style pictures" in result.stderr


def test_bad_input(files: dict[str, Path], tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("precious")
    assert_one_line_error(invoke("convert", *flat(files), "-o", full, *HEADS), "is not empty")
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    assert_one_line_error(invoke("convert", *flat(files), "-o", full / "mine.txt", *HEADS), "is a file")
    missing = {**files, "--adapter": tmp_path / "nowhere.pth"}
    assert_one_line_error(invoke("convert", *flat(missing), "-o", tmp_path / "new", *HEADS), "nowhere.pth")
    (tmp_path / "text.pth").write_text("text")
    text = {**files, "--adapter": tmp_path / "text.pth"}
    assert_one_line_error(invoke("convert", *flat(text), "-o", tmp_path / "new", *HEADS), "text.pth")
    swapped = {**files, "--adapter": files["--videocrafter"]}
    assert_one_line_error(invoke("convert", *flat(swapped), "-o", tmp_path / "new", *HEADS))
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))
