"""Checkpoints are whole or not there."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from stylecrafter.errors import CheckpointError, OutputError
from stylecrafter.training.checkpoint import (
    checkpoint_path,
    keep_last,
    list_checkpoints,
    load_checkpoint,
    refuse_foreign,
    save_checkpoint,
    save_intervals,
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path / "new", 3)
    save_checkpoint({"step": 3, "weights": {"a": torch.arange(3)}}, path)
    state = load_checkpoint(path)
    assert state["step"] == 3 and torch.equal(state["weights"]["a"], torch.arange(3))


def test_unreadable_ones_are_refused(tmp_path: Path) -> None:
    torn = checkpoint_path(tmp_path, 1)
    torn.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="checkpoint-00000001.pt"):
        load_checkpoint(torn)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


@pytest.mark.process
def test_a_killed_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    script = (
        "import sys, torch; from pathlib import Path\n"
        "from stylecrafter.training.checkpoint import save_checkpoint\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1; save_checkpoint({'n': n, 'data': torch.full((2_000_000,), float(n))}, Path(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], env={**os.environ})
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = load_checkpoint(path)
    assert (state["data"] == state["n"]).all()


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint({"n": 1}, path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        save_checkpoint({"n": 2}, path)
    assert load_checkpoint(path) == {"n": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("numbers", [3, 2_000_000])
def test_a_disk_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    """torch itself says "unexpected pos" of it: see that the cause is shown, wherever writing fails."""
    path = tmp_path / "checkpoint.pt"
    save_checkpoint({"n": 1}, path)
    monkeypatch.setattr("stylecrafter.media.files.open", lambda *_: open("/dev/full", "wb"), raising=False)
    with pytest.raises(
        OutputError, match=r"checkpoint\.pt: the disk is full \(No space left .*--resume"
    ) as caught:
        save_checkpoint({"weights": torch.zeros(numbers)}, path)
    assert "enforce fail" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.process
def test_other_failures_of_the_system_are_shown_as_it_names_them(tmp_path: Path) -> None:
    script = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from stylecrafter.training.checkpoint import save_checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "save_checkpoint({'data': torch.zeros(200_000)}, Path(sys.argv[1]))\n"
    )
    path = tmp_path / "checkpoint.pt"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.stderr.strip().endswith(f"cannot write the checkpoint {path}: [Errno 27] File too large")
    assert not list(tmp_path.iterdir())


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 100, 20):
        save_checkpoint({"step": step}, checkpoint_path(tmp_path, step))
    (tmp_path / "losses.csv").write_text("step\n")
    keep_last(tmp_path, 2)
    assert list_checkpoints(tmp_path) == [checkpoint_path(tmp_path, 20), checkpoint_path(tmp_path, 100)]
    assert len(list(tmp_path.iterdir())) == 3 and (tmp_path / "losses.csv").exists()
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_a_damaged_one_never_outlives_a_good_one(tmp_path: Path) -> None:
    for step in (3, 4, 9):
        checkpoint_path(tmp_path, step).write_bytes(b"")
    # Gone on with from 3, as 9 could not be read.
    keep_last(tmp_path, 1, step=4)
    assert list_checkpoints(tmp_path) == [checkpoint_path(tmp_path, 4), checkpoint_path(tmp_path, 9)]


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(5.0, [20, 40, 80, 160, 300, 300]), (0.5, [20, 30, 30]), (0.0, [0, 0])]
)
def test_the_first_is_saved_early(minutes: float, seconds: list[float]) -> None:
    assert list(itertools.islice(save_intervals(minutes), len(seconds))) == seconds


@pytest.mark.parametrize("content", [[1, 2], {"stage": "adapter", "weights": {}, "step": 1}])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: object) -> None:
    path = checkpoint_path(tmp_path, 1)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"holds a list|has no 'data'"):
        refuse_foreign(path, load_checkpoint(path), "adapter", [])


def test_one_that_cannot_be_deleted_is_told(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint_path(tmp_path, step).mkdir()
    with pytest.raises(OutputError, match="cannot delete .*00000001"):
        keep_last(tmp_path, 1)
