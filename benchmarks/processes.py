"""What a process of its own costs, from its start to its end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Cost

#: The command that a user runs, but for its options.
GENERATE = ("-m", "stylecrafter.cli", "generate", "a dog in a meadow")


def environment(tree: Path) -> dict[str, str]:
    """Variables of a process that imports the library of a tree."""
    return {**os.environ, "PYTHONPATH": str(tree / "src")}


def process_cost(arguments: Sequence[str], tree: Path) -> Cost:
    """Time and memory of `python ARGUMENTS` with the library of a tree.

    Raises:
        RuntimeError: It failed; the message has what it said.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment(tree), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read()
    # Of this child alone; getrusage would add others.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {said.decode()}")
    # A process begins with the peak of the one that started it.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = used.ru_maxrss * 1024 if used.ru_maxrss > own else None
    return Cost(time.perf_counter() - started, used.ru_utime + used.ru_stime, peak)
