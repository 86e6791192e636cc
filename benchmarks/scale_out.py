"""Does a batch get done sooner by several workers, and does one that is killed cost anything?

    python benchmarks/scale_out.py [--entries 40] [--workers 2] [--threads 1] [--model mini] [--steps N] [--ray]
        [--output result.json]

The same batch is made by this process, by one worker and by several, each with the same number of threads, and once
more by several of which one is killed (SIGKILL) in the middle. Wall time counts the whole batch, with starting the
workers and loading a model in each. All outputs are compared byte for byte with those of this process.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from stylecrafter.generation.batch import Progress, run_batch
from stylecrafter.generation.settings import GenerationSettings
from stylecrafter.generation.spread import Spread

STYLE = Path(__file__).parents[1] / "examples" / "style.jpg"


def kill_a_worker() -> None:
    """The newest of this process's workers."""
    ours = [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
    os.kill(max(ours, key=psutil.Process.create_time).pid, signal.SIGKILL)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.mp4"))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--ray", action="store_true", help="workers on a local Ray cluster as well")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(args.threads)
    settings = GenerationSettings(prompt="-", model=args.model, seed=1, steps=args.steps, device="cpu")

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = folder / "batch.json"
        motions = ("running left", "running right", "jumping up and down", "resting")
        entries = [
            {"prompt": f"a dog {motions[i % 4]} in a meadow", "style_path": str(STYLE)}
            for i in range(args.entries)
        ]
        file.write_text(json.dumps(entries))

        def made(name: str, spread: Spread | None, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
            started = time.perf_counter()
            report = run_batch(file, folder / name, settings, spread=spread, on_progress=on_progress)
            seconds = time.perf_counter() - started
            assert not report.failed, report.failed
            found = contents(folder / name)
            return {
                "seconds": round(seconds, 1),
                "files": len(found),
                "bytes as alone": found == contents(folder / "alone"),
                "told done": len(report.done),
            }

        def quiet(progress: Progress) -> None:
            pass

        def killing(progress: Progress) -> None:
            if len(list((folder / "killed").glob("*.mp4"))) == args.entries // 2:
                kill_a_worker()

        one, several = (Spread(workers=n, threads=args.threads) for n in (1, args.workers))
        table = {"this process": made("alone", None, quiet)}
        table["1 worker"] = made("one", one, quiet)
        table[f"{args.workers} workers"] = made("several", several, quiet)
        table[f"{args.workers} workers, one killed"] = made("killed", several, killing)
        if args.ray:
            spread = Spread(workers=args.workers, threads=args.threads, ray="local")
            table[f"{args.workers} Ray workers"] = made("ray", spread, quiet)
    base = table["1 worker"]["seconds"]
    for name, row in table.items():
        row["of one worker"] = round(row["seconds"] / base, 2)
        print(f"{name:<24}", *(f"{key} {value}" for key, value in row.items()), sep="  ")
    if args.output:
        args.output.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
