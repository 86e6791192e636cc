"""Real commands, killed at random moments and run again (`scripts/kill_tests.py` does so for as long as one likes)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("subject", ["generate", "batch", "train"])
def test_nothing_is_lost_and_nothing_is_left(subject: str, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "kill_tests.py", subject, "--kills", "4", "--fast"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])}
    done = subprocess.run(
        [*command, "--keep", tmp_path], env=environment, capture_output=True, text=True, timeout=890
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{subject}: 4 kills, 0 with problems" in done.stdout
