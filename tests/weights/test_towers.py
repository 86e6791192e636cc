"""CLIP's towers that are filled here are what transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPVisionModel

from stylecrafter.pipelines.loading import load_pipeline
from stylecrafter.weights.locate import resolve_model
from stylecrafter.weights.strict import examine
from stylecrafter.weights.towers import dtype_alone, filled_tower


@pytest.mark.parametrize(
    ("part", "kind", "dtype"),
    [("text_encoder", CLIPTextModel, torch.float32), ("image_encoder", CLIPVisionModel, torch.bfloat16)],
)
def test_a_filled_tower_is_the_one_that_transformers_loads(
    part: str, kind: Any, dtype: torch.dtype, tmp_path: Path
) -> None:
    folder = Path(resolve_model("mini"), part)
    held = examine(folder, kind)
    assert not held.renamed
    ours, theirs = (
        filled_tower(kind, folder, held.tensors, dtype),
        kind.from_pretrained(folder, dtype=dtype),
    )
    assert ours.config.to_dict() == theirs.config.to_dict()
    assert ours.name_or_path == theirs.name_or_path and ours.training == theirs.training
    tensors = [dict([*model.named_parameters(), *model.named_buffers()]) for model in (ours, theirs)]
    assert list(tensors[0]) == list(tensors[1])
    for name, own in tensors[0].items():
        other = tensors[1][name]
        assert torch.equal(own, other) and own.dtype == other.dtype, name
        assert own.requires_grad == other.requires_grad and own.stride() == other.stride(), name
    for model, name in ((ours, "ours"), (theirs, "theirs")):
        model.save_pretrained(tmp_path / name)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes()


def test_files_with_names_of_their_own_are_told_apart(tmp_path: Path) -> None:
    folder = Path(resolve_model("mini"), "text_encoder")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {f"text_model.{name}": value for name, value in tensors.items()}, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert examine(tmp_path, CLIPTextModel).renamed


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({"dtype": torch.float16}, torch.float16),
        ({"torch_dtype": torch.float32, "unet": None}, torch.float32),
        ({}, None),
        ({"dtype": "auto"}, None),
        ({"dtype": torch.float32, "device_map": "balanced"}, None),
        ({"dtype": torch.float32, "variant": "fp16"}, None),
    ],
)
def test_options_beside_the_dtype_are_left_to_the_libraries(
    options: dict[str, Any], dtype: torch.dtype | None
) -> None:
    assert dtype_alone(options) is dtype


def test_loading_a_pipeline_fills_both_towers_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("loaded by transformers")

    for kind in (CLIPTextModel, CLIPVisionModel):
        monkeypatch.setattr(kind, "from_pretrained", refuse)
    pipe = load_pipeline(Path(resolve_model("mini")), torch.float32)
    assert pipe.text_encoder.dtype == pipe.image_encoder.dtype == torch.float32
