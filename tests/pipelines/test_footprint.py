"""What is said of memory before loading, and what a process then takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylecrafter import StyleCrafterPipeline
from stylecrafter.pipelines.footprint import Workload, estimate_peak, stage_peaks, weights_of
from stylecrafter.pipelines.skeleton import outline
from stylecrafter.runtime.live_memory import LiveMemory
from tests.pipelines.peak_run import BASES, WORK
from tests.tiny import tiny_image_encoder, tiny_sd_pipeline

ROOT = Path(__file__).parents[2]


def test_live_memory_counts_what_is_held_and_forgets_what_is_not() -> None:
    x = torch.empty(1024, device="meta")
    with LiveMemory() as memory:
        y = x + 1
        z = y.view(32, 32)
        assert memory.now == 4096  # a view is no memory
        y = x * 2
        assert memory.now == 8192  # that of z is still held
        del z
        assert memory.now == 4096
        torch.nn.functional.scaled_dot_product_attention(*(x.view(1, 1, 256, 4) for _ in "qkv"))
        assert memory.now == 4096
    assert memory.peak == 8192
    one, nine = (torch.empty(1, 1, side, side, device="meta") for side in (1, 3))
    with LiveMemory() as memory:
        torch.nn.functional.conv2d(x.view(1, 1, 32, 32), one)
    assert memory.peak == 4096 + 4096 + 4  # with the copy that a convolution works on
    with LiveMemory() as memory:
        torch.nn.functional.conv2d(x.view(1, 1, 32, 32), nine)
    assert memory.peak == (1 + 9) * 30 * 30 * 4  # or with its columns


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny_sd_pipeline().save_pretrained(folder)
    tiny_image_encoder().save_pretrained(folder / "beside")
    return folder


def test_an_outline_has_the_sizes_of_the_pipeline_and_no_memory(folder: Path) -> None:
    bare, real = outline(folder), StyleCrafterPipeline.from_base(folder)
    assert {p.device.type for p in bare.unet.parameters()} == {"meta"}
    assert weights_of(bare) == weights_of(real)
    assert dict(bare.config)["default_height"] == real.config.default_height
    assert bare.size_multiple == real.size_multiple and bare.backbone.label == real.backbone.label
    half = outline(folder, torch.bfloat16)
    assert half.dtype == torch.bfloat16 and weights_of(half) < 0.6 * weights_of(bare)


def test_the_weights_need_not_be_there(folder: Path) -> None:
    before = estimate_peak(outline(folder), Workload(1, 16, 16))
    hidden = [file.rename(file.with_suffix(".hidden")) for file in folder.glob("*/*.safetensors")]
    try:
        assert estimate_peak(outline(folder), Workload(1, 16, 16)) == before
    finally:
        for file in hidden:
            file.rename(file.with_suffix(".safetensors"))


def test_more_pixels_take_more(folder: Path) -> None:
    pipe = outline(folder, image_encoder=folder / "beside")
    small, large = (dict(stage_peaks(pipe, Workload(1, side, side))) for side in (64, 128))
    assert large["denoising"] > 2 * small["denoising"] and large["decoding"] > 2 * small["decoding"]
    assert large["text"] == small["text"]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("asked", ["tiny", "middle", "tiny low"])
@pytest.mark.parametrize("base", BASES)
def test_what_is_said_is_what_is_taken(base: str, asked: str) -> None:
    size = asked.split()[0]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    command = [sys.executable, "-m", "tests.pipelines.peak_run", base, *asked.split()]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=600, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["measured"] > 60 and size in WORK[base], found  # more than the noise of a process
    assert found["estimated"] == pytest.approx(found["measured"], rel=0.15), found
