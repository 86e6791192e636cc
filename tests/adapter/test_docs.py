"""docs/adapter.md says what is so: its code runs, and its table of weights is counted."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn

from stylecrafter.adapter.adapter_options import FusionType, ScaleType
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.presets import load_preset
from tests.adapter.conftest import TABLE
from tests.pages import blocks, run_python, text_of

PAGE = "docs/adapter.md"


def test_the_code_runs(tmp_path: Path) -> None:
    assert len(blocks(PAGE, "python")) == 3
    run_python(PAGE, tmp_path)
    assert (tmp_path / "my-adapter" / "config.json").is_file()


@pytest.fixture(scope="module")
def published_unet() -> VideoCrafterUNet:
    with torch.device("meta"):
        return VideoCrafterUNet(**load_preset("published")["unet"])


def test_the_weights_are_counted(published_unet: VideoCrafterUNet) -> None:
    """At the published size, without memory for a single weight."""
    sizes: dict[str, Any] = dict(load_preset("published")["style_adapter"])
    assert sizes.pop("text_dim") == published_unet.config["cross_attention_dim"]
    width = sizes.pop("image_dim")
    rows = []
    for types in itertools.product(TABLE, *map(get_args, (FusionType, ScaleType))):
        options = dict(zip(("extractor_type", "fusion_type", "scale_type"), types, strict=True))
        with torch.device("meta"):
            adapter = StyleAdapter.for_model(published_unet, width, **sizes, **options)
        assert {parameter.device.type for parameter in adapter.parameters()} == {"meta"}
        counts = map(_millions, (adapter.extractor, adapter.scale_predictor, adapter.layers, adapter))
        cells = " | ".join([*(f"`{name}`" for name in types), *counts])
        rows.append(f"| {cells} |")
    assert re.findall(r"^\| `\w+` \| `\w+` \| `\w+` \| \d.*$", text_of(PAGE), re.MULTILINE) == rows


def _millions(module: nn.Module | None) -> str:
    count = 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
    return f"{count / 1e6:.1f}" if count else "0"
