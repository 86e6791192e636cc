"""Two processes compute what one computes on the same global batch, with copies (DDP) and in parts (FSDP)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylecrafter.training.checkpoint import list_checkpoints, load_checkpoint

ROOT = Path(__file__).parents[2]
STAGES = ("joint", "base", "clip")

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
        reason="this torch has no gloo to talk between processes",
    ),
]


def launch(processes: int, *arguments: str) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone",
        "--module", "tests.training.distributed_run", *arguments,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    launch(1, str(folder), "none")
    return folder


def same_training(first: Path, second: Path) -> None:
    for stage in STAGES:
        one, two = (load_checkpoint(list_checkpoints(folder / stage)[-1]) for folder in (first, second))
        assert one["step"] == two["step"] == 4
        for kind in ("weights", "average"):
            assert one[kind].keys() == two[kind].keys()
            for name, value in one[kind].items():
                # Adam divides by the root of squared gradients: where these are rounding, so is the step.
                assert torch.allclose(value, two[kind][name], atol=2e-4), f"{stage} {kind} {name}"
        for folder, state in ((first, one), (second, two)):
            sampled = torch.load(folder / stage / "sampled.pt", weights_only=True)
            assert sampled.keys() == state["average"].keys()
            average, begun = state["average"], state.get("begun_with")
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
def test_two_processes_equal_one(alone: Path, tmp_path: Path, sharding: str) -> None:
    launch(2, str(tmp_path), sharding)
    same_training(alone, tmp_path)


def test_a_run_goes_on_with_another_number_of_processes(alone: Path, tmp_path: Path) -> None:
    launch(2, str(tmp_path), "full", "2")
    launch(1, str(tmp_path), "none")
    for stage in STAGES:
        one, two = (load_checkpoint(list_checkpoints(folder / stage)[-1]) for folder in (alone, tmp_path))
        for name, value in one["weights"].items():
            assert torch.allclose(value, two["weights"][name], atol=2e-4), f"{stage} {name}"
