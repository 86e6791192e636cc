from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.runtime.memory import available_memory
from stylecrafter.weights.footprint import MemoryEstimate, check_memory, count_parameters, estimate_memory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, channels in (("unet", [320, 640, 1280, 1280]), ("vae", [128, 256, 512, 512])):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps({"block_out_channels": channels}))
        tensors = {"a": torch.zeros(10, 20, dtype=torch.float16), "b": torch.zeros(7)}
        save_file(tensors, tmp_path / part / "model.safetensors")
    return tmp_path


def test_parameters_come_from_the_header(folder: Path) -> None:
    assert count_parameters(folder / "unet" / "model.safetensors") == 207
    (folder / "cut.safetensors").write_bytes((folder / "unet" / "model.safetensors").read_bytes()[:20])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        count_parameters(folder / "cut.safetensors")


def test_estimate_grows_with_the_clip(folder: Path) -> None:
    small = estimate_memory(folder, 16, 128, 128)
    assert small.weights == 2 * 207 * 4
    # The full UNet's peak for 16 frames of 16x16 latents was measured at 1.2 GiB above its weights, per pass.
    assert 2.0 < small.working / 2**30 < 3.2
    assert estimate_memory(folder, 32, 128, 128).working == pytest.approx(2 * small.working, rel=0.01)
    assert estimate_memory(folder, 16, 256, 128).working > 1.9 * small.working
    # In windows, the UNet's share does not grow with the clip; its frames do.
    windowed = estimate_memory(folder, 32, 128, 128, window=16).working
    assert windowed - small.working == 16 * 128 * 128 * 3 * 5
    assert estimate_memory(folder, 16, 128, 128, itemsize=2).weights == small.weights // 2


def test_estimate_knows_the_style_pictures(folder: Path) -> None:
    def working(references: int) -> int:
        return estimate_memory(folder, 1, 64, 64, references=references).working

    assert working(1) == working(0)  # less than the UNet needs
    many = [working(count) for count in (10_000, 20_000)]
    assert many[1] - many[0] == pytest.approx(
        10_000 * 257 * 1280 * 24 * 4
    )  # of ViT-H/14, where nothing is said
    (folder / "image_encoder").mkdir()
    config = {"image_size": 64, "patch_size": 8, "hidden_size": 192}
    (folder / "image_encoder" / "config.json").write_text(json.dumps(config))
    assert working(20_000) - working(10_000) == pytest.approx(10_000 * 65 * 192 * 24 * 4)


def test_check_warns_then_refuses(caplog: pytest.LogCaptureFixture) -> None:
    free = available_memory()
    assert free > 2**20
    with caplog.at_level(logging.WARNING):
        check_memory(MemoryEstimate(1, 1))
        assert not caplog.records
        check_memory(MemoryEstimate(free, free // 2))
    assert "may run out" in caplog.text
    with pytest.raises(InvalidInputError, match="fewer frames"):
        check_memory(MemoryEstimate(free, 3 * free))
