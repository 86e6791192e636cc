"""python -m benchmarks [NAME ...]: what a clip costs here, beside what a user would run instead.

    python -m benchmarks                         all that compare, on the CPU; minutes to hours by --size
    python -m benchmarks one_pass linear         some of them
    python -m benchmarks gpu                     one GPU, in under eight minutes
    python -m benchmarks style_masks --clips 40  a script of benchmarks/, with its own options

Writes results.json and results.md to --out. Run it from the root of the repository, on a machine that does nothing
else.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from pathlib import Path

from stylecrafter.runtime.environment import let_threads_sleep

#: What runs without names; `gpu` is a command of its own.
COMPARING = ("one_pass", "whole_clip", "animatediff", "before", "linear", "startup")
SUITE = (*COMPARING, "gpu")
SCRIPTS = (
    "busy_neighbour",
    "fast_sampling",
    "own_colours",
    "real_artworks",
    "scale_out",
    "stored_weights",
    "style_and_content",
    "style_blends",
    "style_masks",
    "styleworld_speed",
    "video_to_video",
)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(SUITE)}; or a script: {', '.join(SCRIPTS)}"
    )
    made.add_argument("--only", action="append", default=[], metavar="NAME", help="as NAME")
    made.add_argument("--device", help="cpu or cuda (default: cpu; of gpu: cuda)")
    made.add_argument(
        "--size", choices=("tiny", "full"), default="full", help="tiny: see that it runs, in seconds"
    )
    made.add_argument("--repeats", type=int, default=5, help="runs of each, after one that does not count")
    made.add_argument("--threads", type=int, help="of the processor (default: as torch chooses)")
    made.add_argument(
        "--before", default="32d60b7", metavar="REV", help="revision that `before` compares with"
    )
    made.add_argument("--out", type=Path, default=Path("out/benchmarks"), metavar="FOLDER")
    return made


def main(arguments: list[str]) -> None:
    """Run what is named, or all that compare."""
    if arguments and arguments[0] in SCRIPTS:
        sys.argv = arguments
        importlib.import_module(f"benchmarks.{arguments[0]}").main()
        return
    options = parser()
    args = options.parse_args(arguments)
    names = [*args.names, *args.only] or list(COMPARING)
    if unknown := [name for name in names if name not in SUITE]:
        options.error(
            f"there is no {unknown[0]!r}, but {', '.join(SUITE)}; scripts stand first: {', '.join(SCRIPTS)}"
        )
    if args.repeats < 1 or (args.threads is not None and args.threads < 1):
        options.error("--repeats and --threads are at least 1")
    device = args.device or ("cuda" if names == ["gpu"] else "cpu")
    if args.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(args.threads)  # of the processes that are started, too

    import torch

    from benchmarks.machine import machine_facts
    from benchmarks.results import Result, Skipped, write_report
    from benchmarks.settings import Settings

    try:
        place = torch.device(device)
    except RuntimeError:
        options.error(f"--device is cpu or cuda, not {device!r}")
    if place.type == "cuda" and not torch.cuda.is_available():
        options.error("there is no GPU here; --device cpu --size tiny rehearses it")
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    settings = Settings(place, args.size, args.repeats, args.before)
    machine = {**machine_facts(place, arguments), "size": args.size}
    results: list[Result] = []
    skipped: dict[str, str] = {}
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            found = importlib.import_module(f"benchmarks.suite.{name}").run(settings)
        except Skipped as reason:
            skipped[name] = str(reason)
            print(f"{name}: skipped, {reason}", file=sys.stderr, flush=True)
            continue
        for result in found:
            print("\n".join(result.lines()), flush=True)
        results += found
        # After each, so that what is measured is kept whatever comes of the next.
        write_report(args.out, machine, results, skipped)
    write_report(args.out, machine, results, skipped)
    print(args.out / "results.md")


if __name__ == "__main__":
    let_threads_sleep()
    logging.basicConfig(level=logging.WARNING)
    main(sys.argv[1:])
