"""The clip of `mini` now and at an earlier revision, each in processes that import their own tree."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import ROOT, git
from benchmarks.measure import Cost, psnr
from benchmarks.processes import GENERATE, environment, process_cost
from benchmarks.results import Comparison, Result, Skipped
from benchmarks.settings import Settings

WORKER = Path(__file__).parent / "worker.py"
BEFORE, NOW = "before", "now"


def run(settings: Settings) -> list[Result]:
    """The same model and settings in both; what comes with each at its own settings; and whole processes."""
    with tree_of(settings.before) as old, tempfile.TemporaryDirectory() as name:
        trees = {BEFORE: old, NOW: ROOT}
        mini = old / "src" / "stylecrafter" / "weights" / "mini"
        folder = Path(name)
        knobs = {} if settings.full else {"num_inference_steps": 2, "num_frames": 2}
        results: list[Result] = []
        for title, models in (
            ("mini of before", dict.fromkeys(trees, str(mini))),
            ("mini as it comes", dict.fromkeys(trees, "mini")),
        ):
            with ExitStack() as stack:
                workers = {
                    kind: stack.enter_context(Worker(tree, models[kind], settings, folder / f"{kind}.npy"))
                    for kind, tree in trees.items()
                }
                for part, output in (("denoising", "latent"), ("end to end", "np")):
                    asked = {**knobs, "output_type": output}
                    results.append(_compared(title, part, workers, asked, settings.repeats))
        results.append(_processes(trees, settings, folder))
    return results


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """The files of a revision, in a folder that is there as long as this lasts.

    Raises:
        Skipped: There is no git history, or no such revision in it.
    """
    if git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise Skipped(
            f"no revision {revision} here: it takes a clone with its history (--before names another)"
        )
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name, "tree")
        if git("worktree", "add", "--detach", str(tree), revision) is None:
            raise Skipped(f"git worktree add {revision} failed")
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


class Worker:
    """A process that makes clips when told to.

    Args:
        tree: Whose library it imports.
        model: Name or folder.
        settings: Device and picture.
        frames: File that it leaves its last frames in.
    """

    def __init__(self, tree: Path, model: str, settings: Settings, frames: Path) -> None:
        self.frames = frames
        command = [
            sys.executable,
            str(WORKER),
            model,
            str(settings.device),
            str(settings.picture),
            str(frames),
        ]
        self._process = subprocess.Popen(
            command, env=environment(tree), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()

    def make(self, knobs: dict[str, Any]) -> Cost:
        """One clip; `frames` holds what came out.

        Raises:
            RuntimeError: The process has ended.
        """
        sent, answers = self._process.stdin, self._process.stdout
        assert sent is not None and answers is not None
        sent.write(json.dumps(knobs) + "\n")
        sent.flush()
        for line in answers:
            if line.startswith("{"):
                return Cost(**json.loads(line))
        raise RuntimeError(f"a worker ended with {self._process.wait()}; what it said is above")


def _compared(
    title: str, part: str, workers: dict[str, Worker], knobs: dict[str, Any], repeats: int
) -> Comparison:
    for worker in workers.values():
        worker.make(knobs)
    costs: dict[str, list[Cost]] = {kind: [] for kind in workers}
    for turn in range(repeats):
        for kind in workers if turn % 2 == 0 else reversed(workers):
            costs[kind].append(workers[kind].make(knobs))
    old, new = (np.load(workers[kind].frames) for kind in (BEFORE, NOW))
    same = old.shape == new.shape
    quality = {NOW: f"{psnr(new, old):.1f} dB to before" if same else f"{new.shape} for {old.shape}"}
    return Comparison(title, part, costs, quality if part == "end to end" else {})


def _processes(trees: dict[str, Path], settings: Settings, folder: Path) -> Comparison:
    """`stylecrafter generate` as a user runs it, start and loading included."""
    small = [] if settings.full else ["--steps", "2", "--frames", "2"]
    costs: dict[str, list[Cost]] = {kind: [] for kind in trees}
    for turn in range(settings.repeats + 1):  # the first fills the caches of the files
        for kind in trees if turn % 2 == 0 else reversed(trees):
            options = [
                "--style",
                str(settings.picture),
                "-o",
                str(folder / f"{kind}.mp4"),
                "--seed",
                "7",
                *small,
            ]
            cost = process_cost([*GENERATE, *options], trees[kind])
            if turn:
                costs[kind].append(cost)
    return Comparison("The process of `stylecrafter generate`", "end to end", costs)
