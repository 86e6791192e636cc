"""Damaged and absurd input at every boundary, for as long as one likes.

    python scripts/fuzz.py --minutes 20 [--only "model folder" …] [--seed N]

Continuous integration tries the same few hundred inputs every time (tests/fuzz); this tries new ones, round after
round, prints how many each boundary was given and what it let through, and exits with 1 if it let through anything.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["HF_HUB_OFFLINE"] = "1"


def main() -> int:
    from tests.fuzz.attempt import try_boundary
    from tests.fuzz.boundaries import BOUNDARIES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument(
        "--only", nargs="*", choices=[b.name for b in BOUNDARIES], help="Only these boundaries."
    )
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    chosen = [b for b in BOUNDARIES if not options.only or b.name in options.only]
    ends, seed = time.monotonic() + 60 * options.minutes, options.seed
    inputs, refused = ({boundary.name: 0 for boundary in chosen} for _ in range(2))
    failures: list[str] = []
    while time.monotonic() < ends:
        for boundary in chosen:
            try:
                tried = try_boundary(boundary, boundary.examples, seed)
            except Exception:
                failures.append(f"{boundary.name}, seed {seed}")
                print(f"--- {failures[-1]}\n{traceback.format_exc()[-4000:]}", flush=True)
            else:
                inputs[boundary.name] += tried.inputs
                refused[boundary.name] += tried.refused
            if time.monotonic() > ends:
                break
        seed += 1
    print("| boundary | inputs | refused |\n| --- | ---: | ---: |")
    for name, count in inputs.items():
        print(f"| {name} | {count:,} | {refused[name]:,} |")
    print(
        f"{sum(inputs.values()):,} inputs from seed {options.seed} on; {len(failures)} rounds found a fault"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
