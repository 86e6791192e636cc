"""Loading what the golden tests compare with, and building our models on the regenerated weights."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.golden import regenerate

DATA = Path(__file__).parents[1] / "data" / "golden"

# What shapes cannot tell, per size of the model.
HEADS = {
    "full": {"attention_head_dim": 64, "adapter_num_heads": 8, "clip_text_num_heads": 16},
    "tiny": {"attention_head_dim": 16, "adapter_num_heads": 4, "clip_text_num_heads": 4},
}
CLIP_VISION_HEADS = {"full": 16, "tiny": 4}
FRAMES = {"full": 16, "tiny": 4}


@functools.cache
def key_lists() -> dict[str, Any]:
    """All key lists: size -> checkpoint -> {key: shape}."""
    return json.loads(gzip.decompress((DATA / "keys.json.gz").read_bytes()))


def expected(name: str) -> dict[str, Tensor]:
    """The stored outputs `tiny/vae`, `full/adapter`, ..."""
    return load_file(DATA / f"{name}.safetensors")


def draw(name: str, *shape: int) -> Tensor:
    """The input tensor `input.<name>`."""
    return torch.from_numpy(regenerate.normal(f"input.{name}", shape))


def checkpoint(size: str, part: str, prefix: str = "") -> dict[str, Tensor]:
    """The regenerated tensors of a checkpoint whose names start with `prefix` (schedule tables left out)."""
    shapes = key_lists()[size][part]
    wanted = {key: shape for key, shape in shapes.items() if key.startswith(prefix)}
    if part == "model":
        wanted = {key: shape for key, shape in wanted.items() if "." in key}
    return {key: torch.from_numpy(values) for key, values in regenerate.weights(wanted).items()}


def temporal_checkpoint(size: str) -> dict[str, dict[str, Tensor]]:
    """The regenerated nested temporal checkpoint."""
    return {
        module: {
            key: torch.from_numpy(values)
            for key, values in regenerate.weights(shapes, f"temporal.{module}.").items()
        }
        for module, shapes in key_lists()[size]["temporal"].items()
    }


def error(actual: Tensor, wanted: Tensor) -> float:
    """Relative L2 error; infinite for another shape."""
    if actual.shape != wanted.shape:
        return float("inf")
    difference = actual.double() - wanted.double()
    return float(difference.norm() / wanted.double().norm())


class Comparison:
    """Collects relative errors, prints them (pytest -rP shows them) and fails on the ones over the limit."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.errors: dict[str, float] = {}

    def add(self, name: str, actual: Tensor, wanted: Tensor) -> None:
        """Compare one output."""
        self.errors[name] = error(actual.detach(), wanted)

    def add_all(self, actual: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
        """Compare every stored output, none left out."""
        for name, value in wanted.items():
            self.add(name, actual[name], value)

    def check(self) -> None:
        """Fail with the list of errors over the limit."""
        for name, value in self.errors.items():
            print(f"{name}: relative L2 error {value:.1e}")
        over = {name: value for name, value in self.errors.items() if not value <= self.limit}
        assert self.errors and not over, f"over {self.limit}: {over}"
