"""Do the lower bounds that pyproject.toml declares hold?

    make check-bounds          # or: .venv/bin/python scripts/check_bounds.py [--keep FOLDER]

Installs the package into a fresh environment with everything that pyproject.toml names, the extras too, at exactly its
lower bound, then uses it: what it draws, writes, reads and trains there has to be what it is in the environment that
runs this script. A bound that is too low seldom ends in an error. With transformers 5.5 the model lost half of its
weights, and with av 16 clips had other colours, both without a word.

torch comes from constraints.txt and from nowhere else, so its bound has to be the version that is named there.
Some minutes; the first run also downloads some 250 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
STYLE = ROOT / "examples" / "style.jpg"
EXTRAS = ("train", "eval", "quantize", "ray", "dev")
CLIPS = ("mp4", "gif", "webp")
"""Formats of the clip; a picture is drawn as png."""

SAME, LOSSY = 50.0, 24.0
"""Decibels (peak signal to noise) that drawings have to agree in, lossy where a gif or webp is compared with the mp4.
Rounding and dithering leave more than 28, weights that are lost leave 10."""

# A recipe of every kind of stage that the embedded model's parts go through.
RECIPE = """
name: bounds
model: {preset: mini}
trackers: [csv, tensorboard]
data:
  pictures: {kind: styleworld, batch_size: 2, styled_ratio: 0.65, captions: full, references: crop}
  styled: {kind: styleworld, batch_size: 2, references: crop}
  clips: {kind: styleworld, batch_size: 1, num_frames: 2, styled_ratio: 0.0}
stages:
  - {stage: autoencoder, pictures: pictures, train: &few {steps: 2, learning_rate: 1.0e-3, warmup_steps: 1}}
  - {stage: clip, pictures: pictures, train: *few}
  - {stage: base, pictures: pictures, clips: clips, options: {clip_ratio: 0.5}, train: *few}
  - {stage: adapter, pictures: styled, train: {<<: *few, sample_every: 2}}
  - {stage: temporal, pictures: styled, clips: clips, options: {clip_ratio: 0.5}, train: *few}
samples: {prompts: ["a red car"], num_frames: 2, steps: 2}
"""

TESTS = (
    "tests/media",
    "tests/evaluation/metrics/test_flow.py",
    "tests/studies/test_result.py",
    "tests/evaluation/test_lora.py",
)
"""Tests of what rests on av, pillow, scikit-image, matplotlib and peft, which commands show too little of."""

# Frames of files as the package itself reads them, each file's into FOLDER/NAME.npy.
READ = """
import sys
from pathlib import Path
import numpy as np
from stylecrafter.media.video import read_frames
for file in map(Path, sys.argv[2:]):
    frames, _ = read_frames(file)
    np.save(Path(sys.argv[1], file.name), np.stack([np.asarray(frame) for frame in frames]))
"""


class Failed(Exception):
    """A bound that does not hold, or that cannot be tried."""


def lower_bounds(requirements: list[str]) -> dict[str, str]:
    """Requirements to the lowest version that each allows.

    Raises:
        Failed: A requirement allows any old version, or is written in a way that this does not know.
    """
    bounds: dict[str, str] = {}
    for requirement in requirements:
        found = re.fullmatch(r"([\w.-]+)\s*([^;\[\]]*)", requirement.strip())
        lowest = re.search(r"(?:>=|==|~=)\s*([\w.]+)", found.group(2)) if found else None
        if found is None or lowest is None:
            raise Failed(f"pyproject.toml: {requirement!r} has no lower bound that can be tried.")
        name = found.group(1).lower().replace("_", "-")
        if bounds.setdefault(name, lowest.group(1)) != lowest.group(1):
            raise Failed(f"pyproject.toml: {name} is bounded by {bounds[name]} and by {lowest.group(1)}.")
    return bounds


def declared() -> tuple[dict[str, str], dict[str, str]]:
    """The lower bounds of the package with its extras, and of what builds it."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        content = tomllib.load(file)
    project = content["project"]
    unknown = set(project["optional-dependencies"]) - set(EXTRAS)
    if unknown:
        raise Failed(f"pyproject.toml: nothing here tries the extras {sorted(unknown)}.")
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return lower_bounds([*project["dependencies"], *extras]), lower_bounds(
        content["build-system"]["requires"]
    )


class Environment:
    """A Python with the package; commands run in `work`, with nothing of the checkout on the path."""

    def __init__(self, python: Path, work: Path) -> None:
        self.python, self.work = python, work
        work.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments: str | Path, cwd: Path | None = None) -> None:
        command = [str(self.python), *map(str, arguments)]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        started = time.monotonic()
        done = subprocess.run(
            command,
            cwd=cwd or self.work,
            env=kept,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        shown = " ".join(part if len(part) < 60 else "…" for part in command[1:])
        print(f"{time.monotonic() - started:6.1f} s  {shown[:150]}", flush=True)
        if done.returncode:
            raise Failed(f"exit code {done.returncode}: {' '.join(command)}\n{done.stdout[-6000:]}")

    def stylecrafter(self, *arguments: str | Path) -> None:
        self.run("-m", "stylecrafter.cli", *arguments)

    def generate(self, file: str, *, frames: int) -> None:
        options = ("--seed", "7", "--steps", "2", "--frames", str(frames))
        self.stylecrafter("generate", "a red car", "--style", STYLE, "-o", file, *options)

    def read(self, *files: str) -> None:
        """Leave the frames of each file in the folder `read`, as this environment reads them."""
        (self.work / "read").mkdir(exist_ok=True)
        self.run("-c", READ, self.work / "read", *files)


def install(folder: Path, bounds: dict[str, str], build: dict[str, str]) -> Environment:
    """The package at the lower bounds; without its extras, which `add_extras` adds."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder / "venv")], check=True)
    python = next(path for path in (folder / "venv").glob("*/python*") if path.stem == "python")
    for name, pins in (("bounds", bounds), ("build", build)):
        lines = "".join(f"{package}=={version}\n" for package, version in pins.items())
        (folder / f"{name}.txt").write_text(lines)
    made = Environment(python, folder / "work")
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    made.run(*pip, "--upgrade", "pip")
    made.run(*pip, "-r", CONSTRAINTS)  # first, so that nothing else brings another torch
    made.run(*pip, *_pins(folder), ROOT)
    made.run("-m", "pip", "check")
    return made


def add_extras(made: Environment, folder: Path) -> None:
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    made.run(*pip, *_pins(folder), f"{ROOT}[{','.join(EXTRAS)}]")
    made.run("-m", "pip", "check")


def _pins(folder: Path) -> tuple[str | Path, ...]:
    bounds, build = folder / "bounds.txt", folder / "build.txt"
    return ("-c", CONSTRAINTS, "-c", bounds, "--build-constraint", build)


def draw(made: Environment, here: Environment) -> None:
    """Every format is written and read alike in both."""
    for suffix in CLIPS:
        made.generate(f"clip.{suffix}", frames=2)
    made.stylecrafter("inspect", "clip.mp4", "--replay", "again.mp4")
    here.generate("clip.mp4", frames=2)
    made.read("again.mp4", *(f"clip.{suffix}" for suffix in CLIPS))
    here.read("clip.mp4")
    for name in ("clip.mp4", "again.mp4"):
        compare(made, here, name, "clip.mp4", SAME)
    for name in ("clip.gif", "clip.webp"):
        compare(made, here, name, "clip.mp4", LOSSY)


def draw_with_extras(made: Environment, here: Environment) -> None:
    """Again where the extras are, which libraries below us import once they find them."""
    for each in (made, here):
        each.generate("picture.png", frames=1)
        each.read("picture.png")
    compare(made, here, "picture.png", "picture.png", SAME)


def compare(made: Environment, here: Environment, theirs: str, ours: str, least: float) -> None:
    import numpy as np

    first = np.load(made.work / "read" / f"{theirs}.npy").astype(float)
    second = np.load(here.work / "read" / f"{ours}.npy").astype(float)
    if first.shape != second.shape:
        raise Failed(f"{theirs} holds {first.shape} at the lower bounds, {ours} holds {second.shape} here.")
    decibels = 10 * np.log10(255.0**2 / max(float(((first - second) ** 2).mean()), 1e-6))
    print(
        f"          {theirs} agrees with {ours} here in {decibels:.1f} dB (at least {least:.0f})", flush=True
    )
    if decibels < least:
        raise Failed(
            f"{theirs} as drawn, written and read at the lower bounds agrees with {ours} here in {decibels:.1f} dB "
            f"only, not {least:.0f}: one of the bounds is too low."
        )


def use_extras(made: Environment) -> None:
    """A training run of every kind of stage, an evaluation that needs each library, and the tests of the rest."""
    (made.work / "recipe.yaml").write_text(RECIPE)
    made.stylecrafter("train", "recipe.yaml", "-o", "run", "--device", "cpu")
    entries = [{"prompt": "a red car", "style_path": str(STYLE)}]
    (made.work / "testset.json").write_text(json.dumps(entries))
    methods = [part for name in ("ours", "frame-transfer") for part in ("--method", name)]
    options = ("--frames", "2", "--steps", "2", "--seed", "7")
    made.stylecrafter("evaluate", "testset.json", "-o", "evaluation", *methods, *options)
    # What old versions warn of is not what ours do.
    made.run("-m", "pytest", "-n", "2", "-q", "-W", "default", "-p", "no:cacheprovider", *TESTS, cwd=ROOT)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave everything")
    args = parser.parse_args()
    started = time.monotonic()
    try:
        bounds, build = declared()
        print(" ".join(f"{name}=={version}" for name, version in bounds.items()))
        with tempfile.TemporaryDirectory(prefix="check_bounds_") as temporary:
            folder = (args.keep or Path(temporary)).resolve()
            if folder.exists() and any(folder.iterdir()):
                raise Failed(f"--keep {args.keep} is there already; name a folder that is not.")
            made = install(folder, bounds, build)
            here = Environment(Path(sys.executable), folder / "here")
            made.stylecrafter("doctor")
            draw(made, here)
            add_extras(made, folder)
            draw_with_extras(made, here)
            use_extras(made)
    except Failed as error:
        sys.exit(f"FAILED: {error}")
    print(f"the lower bounds hold ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
