"""Two processes compute what one computes on the same global batch, with copies (DDP) and in parts (FSDP)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylecrafter.training.checkpoint import list_checkpoints, load_checkpoint
from tests.conftest import MadeOnce

ROOT = Path(__file__).parents[2]
STAGES = ("joint", "base", "clip")

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
        reason="this torch has no gloo to talk between processes",
    ),
]


def launch(processes: int, folder: Path, *runs: str) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone",
        "--module", "tests.training.distributed_run", str(folder), *runs,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(made_once: MadeOnce) -> Path:
    """A folder for each way of training; `gone_on` was begun by two processes and ended by one."""

    def make(folder: Path) -> None:
        launch(2, folder, "none", "full", "gone_on:full:2")
        launch(1, folder, "alone:none", "gone_on:none")

    return made_once("distributed", make)


def same_training(first: Path, second: Path) -> None:
    for stage in STAGES:
        one, two = (load_checkpoint(list_checkpoints(folder / stage)[-1]) for folder in (first, second))
        assert one["step"] == two["step"] == 4
        for kind in ("weights", "ema"):
            assert one[kind].keys() == two[kind].keys()
            for name, value in one[kind].items():
                # Adam divides by the root of squared gradients: where these are rounding, so is the step.
                assert torch.allclose(value, two[kind][name], atol=2e-4), f"{stage} {kind} {name}"
        for folder, state in ((first, one), (second, two)):
            sampled = torch.load(folder / stage / "sampled.pt", weights_only=True)
            assert sampled.keys() == state["ema"].keys()
            average, begun = state["ema"], state.get("start")
            assert (begun is not None) == (stage == "joint")
            for name, value in sampled.items():
                left = average[name] if begun is None else begun[name].lerp(average[name], 0.5)
                assert torch.equal(value, left), f"{stage} {name} in samples"
        losses = [(folder / stage / "losses.csv").read_text().splitlines() for folder in (first, second)]
        for row, other in zip(*losses, strict=True):
            if row.startswith("step"):
                continue
            assert float(row.split(",")[1]) == pytest.approx(float(other.split(",")[1]), rel=1e-3)


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_two_processes_equal_one(runs: Path, sharding: str) -> None:
    same_training(runs / "alone", runs / sharding)


def test_a_run_goes_on_with_another_number_of_processes(runs: Path) -> None:
    alone, gone_on = runs / "alone", runs / "gone_on"
    for stage in STAGES:
        one, two = (load_checkpoint(list_checkpoints(folder / stage)[-1]) for folder in (alone, gone_on))
        for name, value in one["weights"].items():
            assert torch.allclose(value, two["weights"][name], atol=2e-4), f"{stage} {name}"
