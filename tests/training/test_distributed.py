"""Two processes compute what one computes on the same global batch, with copies (DDP) and in parts (FSDP)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylecrafter.training.checkpoint import list_checkpoints, load_checkpoint
from tests.training.distributed_run import train

ROOT = Path(__file__).parents[2]
STAGES = ("joint", "base", "clip")

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this torch has no gloo to talk between processes",
)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes, started once for all that they do: `none` and `full` by their sharding, and a run `stopped`."""
    folder = tmp_path_factory.mktemp("together")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone",
        "--module", "tests.training.distributed_run", str(folder),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    train(folder, "none")
    return folder


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
def test_two_processes_equal_one(alone: Path, together: Path, sharding: str) -> None:
    same_training(alone, together / sharding)


def test_a_run_goes_on_with_another_number_of_processes(alone: Path, together: Path, tmp_path: Path) -> None:
    shutil.copytree(together / "stopped", tmp_path, dirs_exist_ok=True)
    train(tmp_path, "none")
    for stage in STAGES:
        one, two = (load_checkpoint(list_checkpoints(folder / stage)[-1]) for folder in (alone, tmp_path))
        for name, value in one["weights"].items():
            assert torch.allclose(value, two["weights"][name], atol=2e-4), f"{stage} {name}"
