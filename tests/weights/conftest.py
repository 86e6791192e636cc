"""A tiny model folder, and copies of it to break."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]
PARTS = ("unet", "vae", "text_encoder", "image_encoder", "style_adapter")


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def weights_of(part: Path) -> Path:
    """The weights file of a part."""
    return next(part.glob("*.safetensors"))


def change(part: Path, edit: Callable[[Tensors], Tensors]) -> None:
    """Rewrite the weights of a part."""
    file = weights_of(part)
    save_file(edit({name: value.clone() for name, value in load_file(file).items()}), file, {"format": "pt"})
