"""Make the reports under docs/results again; docs/results/README.md says what they show.

    python scripts/results.py runs/results --testset FOLDER [--dtype bfloat16] [--only held_out] [--at-once 2]

FOLDER holds the published test set (`eval_image_gen_single_ref_half.json` and its like). Everything is made in
runs/results, where a stopped run goes on; tables, figures and pictures of our own outputs are then put into
docs/results/NAME. The style pictures of the published set are not. With `--at-once 2`, two calls are made side by
side, with half of the cores each: small models use two cores better so. StyleWorld's report takes longest, so that the
clips of one of its methods are then made by a call of their own, before the report comes to them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stylecrafter.evaluation.runner import find_clip
from stylecrafter.evaluation.testset import TestSet, read_testset
from stylecrafter.media.images import load_picture
from stylecrafter.media.video import read_frames
from stylecrafter.styleworld.sheets import contact_sheet

RESULTS = Path(__file__).parents[1] / "docs" / "results"
ROWS, COLUMNS, TILE, MILLISECONDS = 10, 6, 72, 125
#: glibc otherwise gives memory back after every layer and asks for it again; other libraries ignore these.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "4000000000"}


@dataclass(frozen=True)
class Report:
    """One call of `stylecrafter evaluate`.

    Attributes:
        name: Of its folder.
        testset: "styleworld", or a file of the published test set.
        methods: What is asked.
        options: More of the call.
        aside: Methods whose clips may be made by a call of their own.
    """

    name: str
    testset: str
    methods: tuple[str, ...]
    options: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()

    @property
    def of_world(self) -> bool:
        return self.testset == "styleworld"


REPORTS = (
    Report(
        "held_out",
        "styleworld",
        ("ours", "text-only", "frame-by-frame", "real", "still", "reference-copy", "noise"),
        aside=("frame-by-frame",),
    ),
    Report(
        "artworks",
        "eval_image_gen_single_ref_half.json",
        ("ours", "text-only", "reference-copy", "noise"),
        ("--format", "png"),
    ),
    Report("artworks_clips", "eval_video_gen_single_ref_half.json", ("ours", "text-only")),
    Report(
        "artworks_several",
        "eval_image_gen_multi_ref_style2.json",
        ("ours", "text-only"),
        ("--format", "png"),
    ),
    Report("artworks_several_clips", "eval_video_gen_multi_ref_style2.json", ("ours", "text-only")),
)


def evaluate(
    report: Report, target: Path, testset: Path, dtype: str, threads: int, aside: bool = False
) -> None:
    """Carry out one call with so many threads, or its part that is made aside, and say how long it took."""
    asked = report.testset if report.of_world else str(testset / report.testset)
    chosen = report.aside if aside else report.methods
    methods = [part for method in chosen for part in ("--method", method)]
    command = [
        "evaluate",
        asked,
        "-o",
        str(target),
        "--seed",
        "0",
        "--dtype",
        dtype,
        *report.options,
        *methods,
        *(["--make-only"] if aside else []),
    ]
    print("stylecrafter", *command, flush=True)
    begun = time.monotonic()
    environment = os.environ | KEEP_MEMORY | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-m", "stylecrafter.cli", *command], check=True, env=environment)
    name = f"{report.name}, {', '.join(report.aside)} aside" if aside else report.name
    print(f"{name}: {(time.monotonic() - begun) / 60:.1f} minutes", flush=True)


def collect(report: Report, target: Path, testset: Path) -> None:
    """Put tables, figures and a sheet of what the method made into docs/results."""
    home = RESULTS / report.name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / "runs").mkdir()
    for source in (target / "report.md", *sorted((target / "runs").glob("*.json"))):
        copy = home / source.relative_to(target)
        copy.write_text(_portable(source.read_text(encoding="utf-8"), target, testset), encoding="utf-8")
    file = target / "testset" / "testset.json" if report.of_world else testset / report.testset
    sheets = _sheets(report, read_testset(file), target / "clips" / "ours")
    first, *others = sheets
    first.save(
        home / "pictures.webp", quality=70, save_all=True, append_images=others, duration=MILLISECONDS, loop=0
    )


def _portable(text: str, target: Path, testset: Path) -> str:
    """Text that names files as they lie in the report's folder or the test set, wherever these are."""
    for folder in (target.resolve(), testset.resolve(), target, testset):
        text = text.replace(f"{folder}/", "")
    return text


def _sheets(report: Report, testset: TestSet, clips: Path) -> list[Image.Image]:
    """One sheet per frame: a row per style, a column per prompt; StyleWorld's references in front."""
    by_style: dict[tuple[str, ...], list[Path]] = {}
    for entry in testset.entries:
        by_style.setdefault(tuple(entry.styles), []).append(find_clip(clips, entry))
    styles = list(by_style)
    chosen = [styles[i * len(styles) // min(ROWS, len(styles))] for i in range(min(ROWS, len(styles)))]
    rows = []
    for style in chosen:
        drawn = [read_frames(path)[0] for path in by_style[style][:COLUMNS]]
        if report.of_world:
            drawn.insert(0, [load_picture(style[0])] * len(drawn[0]))
        rows.append(drawn)
    columns = len(rows[0])
    return [
        contact_sheet([clip[frame] for row in rows for clip in row], [], columns, TILE)
        for frame in range(len(rows[0][-1]))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--testset", type=Path, required=True, help="folder of the published test set")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--only", choices=[report.name for report in REPORTS], action="append")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="calls made side by side")
    args = parser.parse_args()
    if args.at_once < 1:
        parser.error(f"--at-once must be at least 1, got {args.at_once}")
    threads = max((os.cpu_count() or 1) // args.at_once, 1)

    def make(call: tuple[Report, bool]) -> None:
        report, aside = call
        target = args.work / report.name
        evaluate(report, target, args.testset, args.dtype, threads, aside)
        if not aside:
            collect(report, target, args.testset)

    calls: list[tuple[Report, bool]] = []
    for report in REPORTS:
        if not args.only or report.name in args.only:
            calls.append((report, False))
            if report.aside and args.at_once > 1:
                calls.append((report, True))
    begun = time.monotonic()
    with ThreadPoolExecutor(args.at_once) as pool:
        for _ in pool.map(make, calls):
            pass
    print(f"all: {(time.monotonic() - begun) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
