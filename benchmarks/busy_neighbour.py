"""What does another busy process cost a clip, in processor time?

    python benchmarks/busy_neighbour.py [--pairs 5] [--cores 2] [--neighbours 1] [-- OPTION ...]

Runs `stylecrafter generate` on two cores, alone and beside a process that counts for ever, in pairs of alternating
order, and compares the user time of the two: the work is the same, so more is what threads burn while they wait for
each other.
Prints one JSON object; the exit code is 1 where the median beside a neighbour is over 1.3 times the median alone.
What follows `--` goes to `generate`.

A variable that says how OpenMP's threads wait is used where it is set, so that

    GOMP_SPINCOUNT=300000 python benchmarks/busy_neighbour.py

shows what GNU's OpenMP does by itself.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stylecrafter.runtime.environment import IDLE_THREADS

STYLE = Path(__file__).parents[1] / "examples" / "style.jpg"
LIMIT = 1.3


def user_seconds(options: list[str], folder: Path) -> float:
    """User time of one `generate` with all its threads."""
    output = folder / "clip.mp4"
    command = [
        sys.executable,
        "-m",
        "stylecrafter.cli",
        "generate",
        "a sailboat moving to the right at sunset",
    ]
    command += ["--style", str(STYLE), "-o", str(output), "--seed", "7", *options]
    with open(folder / "said.txt", "wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        # Of this child alone; getrusage would add the neighbours.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{(folder / 'said.txt').read_text()}")
    return used.ru_utime


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that take all they get of the same cores."""
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=count_for_ever, daemon=True) for _ in range(count)]
    try:
        for process in running:
            process.start()
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def count_for_ever() -> None:
    number = 0
    while True:
        number += 1


def measure(args: argparse.Namespace) -> dict[str, object]:
    alone: list[float] = []
    beside: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for pair in range(args.pairs):
            for busy in (False, True) if pair % 2 == 0 else (True, False):
                with neighbours(args.neighbours if busy else 0):
                    (beside if busy else alone).append(round(user_seconds(args.options, folder), 2))
    medians = statistics.median(alone), statistics.median(beside)
    return {
        "cores": args.cores,
        "neighbours": args.neighbours,
        "chosen": {key: os.environ[key] for key in IDLE_THREADS if key in os.environ},
        "user_seconds_alone": alone,
        "user_seconds_beside": beside,
        "median_alone": medians[0],
        "median_beside": medians[1],
        "ratio": round(medians[1] / medians[0], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2, help="that everything shares (Linux)")
    parser.add_argument("--neighbours", type=int, default=1)
    parser.add_argument("options", nargs="*", help="of generate")
    args = parser.parse_args()
    if args.pairs < 1 or args.cores < 1 or args.neighbours < 1:
        parser.error("--pairs, --cores and --neighbours are at least 1")
    if not hasattr(os, "wait4"):
        parser.error("user time of a process is asked for as only Unix answers")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    result = measure(args)
    print(json.dumps(result))
    if float(str(result["ratio"])) > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
