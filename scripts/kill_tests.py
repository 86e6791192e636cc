"""Kill a command with SIGKILL at many moments, run it again, and see that nothing was lost and nothing was left.

    python scripts/kill_tests.py generate|batch|train --kills 50 [--seed N] [--fast] [--keep DIR] [--json FILE]

The command first runs unbroken. Then it is started again and again, each time in a new folder, and its whole group of
processes is killed: a quarter of the times at any moment from its start to after its end, a quarter late, where files
are written, and half right after a file came or went in the folder. After every kill

- whatever lies under a final name opens: pictures, clips, JSON, YAML, weights, checkpoints, whole lines of tables;
- the same command, or the one that goes on, ends with exit code 0;
- the folder then holds the same files as the unbroken one, byte for byte but for how long things took.

`--fast` forks the command from a process that has imported everything, which saves most of the time; without it every
command is a process of its own. Moments are drawn from the seed; what a process does then depends on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0", "HF_HUB_OFFLINE": "1"}
TIMEOUT = 900.0
POLL_SECONDS = 0.002
_PART = re.compile(r"\..*\.[0-9a-f]{8}\.part", re.DOTALL)

RECIPE = """
name: killed
model: {preset: mini}
data:
  pictures: {kind: styleworld, batch_size: 2, captions: keep, references: crop}
stages:
  - stage: autoencoder
    pictures: pictures
    train: {steps: 5, learning_rate: 1.0e-3, ema_decay: 0.9, log_every: 3, checkpoint_minutes: 0}
  - {stage: clip, pictures: pictures, train: {steps: 5, learning_rate: 1.0e-3, ema_decay: 0.9, log_every: 3}}
  - stage: base
    pictures: pictures
    options: {clip_ratio: 0.0}
    train: {steps: 4, learning_rate: 1.0e-3, log_every: 3, sample_every: 3, checkpoint_minutes: 0.005}
samples: {prompts: [a dog in a meadow], num_frames: 1, steps: 1}
"""


@dataclass(frozen=True)
class Outcome:
    """What came of one kill."""

    number: int
    moment: str
    when: str
    """Before its first file, at work, or after its end."""
    again: str
    """How it went on."""
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A command that writes into a folder.

    Attributes:
        start: Its arguments for a folder.
        again: Its arguments, and what they are called, for the folder of a killed one.
        is_over: Whether going on is refused, as everything was done.
    """

    start: Callable[[Path], list[str]]
    again: Callable[[Path, random.Random], tuple[str, list[str]]]
    is_over: Callable[[Path], bool] = lambda folder: False


def generate(work: Path) -> Subject:
    """A seeded clip of two frames."""
    Image.radial_gradient("L").resize((96, 96)).convert("RGB").save(work / "style.png")

    def start(folder: Path) -> list[str]:
        return [
            "generate", "a dog in a meadow", "--style", str(work / "style.png"), "--seed", "5", "--steps", "2",
            "--frames", "2", "-o", str(folder / "clip.mp4"),
        ]  # fmt: skip

    return Subject(start, lambda folder, chance: ("the same", start(folder)))


def batch(work: Path) -> Subject:
    """Three entries of two frames."""
    Image.radial_gradient("L").resize((96, 96)).convert("RGB").save(work / "style.png")
    prompts = ("a dog in a meadow", "a sailboat at sunset", "a house in the snow")
    entries = [{"prompt": prompt, "style_path": "style.png"} for prompt in prompts]
    (work / "prompts.json").write_text(json.dumps(entries))

    def start(folder: Path) -> list[str]:
        options = ["--seed", "5", "--steps", "2", "--frames", "2", "-o", str(folder)]
        return ["batch", str(work / "prompts.json"), *options]

    return Subject(start, lambda folder, chance: ("--resume", [*start(folder), "--resume"]))


def train(work: Path) -> Subject:
    """Two encoders and a base, a few steps each, with sample sheets, checkpoints and the export."""
    recipe = work / "killed.yaml"
    recipe.write_text(RECIPE)

    def start(folder: Path) -> list[str]:
        return ["train", str(recipe), "-o", str(folder)]

    def again(folder: Path, chance: random.Random) -> tuple[str, list[str]]:
        trained = any(folder.glob("*/checkpoint-*.pt")) or any(folder.glob("*/weights.safetensors"))
        if not (folder / "recipe.yaml").is_file() or (not trained and chance.random() < 0.5):
            return "the same", start(folder)
        return "--resume", ["train", "-o", str(folder), "--resume"]

    def is_over(folder: Path) -> bool:
        return (folder / "model" / "model_index.json").is_file()

    return Subject(start, again, is_over)


SUBJECTS = {"generate": generate, "batch": batch, "train": train}


class Runner:
    """Starts commands of the program, each in a group of its own."""

    def __init__(self, work: Path, fast: bool) -> None:
        self.work, self.fast = work, fast
        if fast:
            for name in ("torch", "diffusers", "transformers", "av", "stylecrafter.cli.main"):
                importlib.import_module(name)
            for name in ("training.recipe_run", "generation.batch", "cli.progress"):
                importlib.import_module(f"stylecrafter.{name}")

    def begin(self, arguments: list[str], log: Path) -> Process:
        """Start a command; what it says goes to a file."""
        with log.open("ab") as out:
            if not self.fast:
                command = [sys.executable, "-m", "stylecrafter.cli", *arguments]
                started = subprocess.Popen(
                    command, stdout=out, stderr=out, start_new_session=True, env={**os.environ, **ENVIRONMENT}
                )
                return Process(started.pid)
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                _become(arguments, out.fileno())
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the child does so too: whoever comes first
        return Process(pid)


def _become(arguments: list[str], out: int) -> None:
    """In a child: run a command of the program, and nothing else ever."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = ["stylecrafter", *arguments]
        importlib.import_module("stylecrafter.cli.__main__").main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


class Process:
    """A process that is its group's leader."""

    def __init__(self, pid: int) -> None:
        self.pid, self.started = pid, time.monotonic()
        self.code: int | None = None

    def is_over(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, seconds: float = TIMEOUT) -> int:
        """Its exit code; negative where a signal ended it."""
        until = time.monotonic() + seconds
        while not self.is_over():
            if time.monotonic() > until:
                self.kill()
                raise TimeoutError(f"no end after {seconds:.0f} s")
            time.sleep(POLL_SECONDS)
        assert self.code is not None
        return self.code

    def kill(self) -> None:
        """SIGKILL for the group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        while not self.is_over():
            time.sleep(POLL_SECONDS)


def names(folder: Path) -> frozenset[str]:
    """Everything in a folder, by relative path; `os.walk` passes over folders that go away while it looks."""
    paths = (
        os.path.join(root, name) for root, *inside in os.walk(folder) for part in inside for name in part
    )
    return frozenset(os.path.relpath(path, folder) for path in paths)


def unbroken(runner: Runner, subject: Subject, folder: Path) -> tuple[float, int]:
    """Run a command to its end; returns how long it took, and how often its files changed."""
    process = runner.begin(subject.start(folder), folder.with_suffix(".log"))
    before, events = names(folder), 0
    while not process.is_over():
        now = names(folder)
        events += now != before
        before = now
        time.sleep(POLL_SECONDS)
    if process.wait() != 0:
        raise SystemExit(f"the unbroken run failed:\n{folder.with_suffix('.log').read_text()}")
    return time.monotonic() - process.started, events + (names(folder) != before)


def kill_at(process: Process, folder: Path, moment: str, value: float) -> None:
    """Wait for a moment and kill: so many seconds after the start, or so many changes of the folder."""
    if moment != "file":
        while time.monotonic() - process.started < value and not process.is_over():
            time.sleep(POLL_SECONDS)
    else:
        before, left = names(folder), int(value)
        while not process.is_over():
            now = names(folder)
            left -= now != before
            before = now
            if left <= 0:
                time.sleep((value % 1) * 0.02)
                break
            time.sleep(POLL_SECONDS / 4)
    process.kill()


def draw_moment(number: int, seconds: float, events: int, chance: random.Random) -> tuple[str, float]:
    """When to kill: any time, late, or at a change of files and up to 20 ms after it."""
    if number % 4 == 0:
        return "any time", chance.uniform(0, 1.1 * seconds)
    if number % 4 == 1:
        return "late", chance.uniform(0.7 * seconds, 1.05 * seconds)
    return "file", chance.randint(1, max(1, events)) + chance.random()


def torn(folder: Path) -> list[str]:
    """Files under their final names that cannot be read to their end."""
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if not path.is_file() or any(_PART.fullmatch(part) for part in inside):
            continue
        try:
            _open(path)
        except Exception as error:
            found.append(f"torn: {path.relative_to(folder)}: {type(error).__name__}: {error}")
    return found


def _open(path: Path) -> None:
    match path.suffix:
        case ".json":
            json.loads(path.read_text())
        case ".jsonl":
            for line in path.read_text().splitlines():
                json.loads(line)
        case ".yaml":
            import yaml

            if not isinstance(yaml.safe_load(path.read_text()), dict):
                raise ValueError("no mapping")
        case ".csv":
            rows = list(csv.reader(path.read_text().splitlines()))
            if len({len(row) for row in rows}) != 1:
                raise ValueError("rows of different lengths")
        case ".png":
            with Image.open(path) as picture:
                picture.load()
        case ".mp4":
            import av

            with av.open(path) as container:
                if sum(1 for _ in container.decode(video=0)) != 2:
                    raise ValueError("not two frames")
        case ".safetensors":
            data = path.read_bytes()
            length = int.from_bytes(data[:8], "little")
            ends = [v["data_offsets"][1] for v in json.loads(data[8 : 8 + length]).values() if "dtype" in v]
            if 8 + length + max(ends) != len(data):
                raise ValueError("not as long as its header says")
        case ".pt":
            with zipfile.ZipFile(path) as archive:
                archive.testzip()


def differences(folder: Path, whole: Path) -> list[str]:
    """What is missing, left over, or not as in the unbroken folder."""
    here, wanted = names(folder), names(whole)
    found = [f"missing: {name}" for name in sorted(wanted - here)]
    found += [f"left over: {name}" for name in sorted(here - wanted)]
    for name in sorted(here & wanted):
        if (whole / name).is_file() and _content(folder / name) != _content(whole / name):
            found.append(f"other content: {name}")
    return found


def _content(path: Path) -> object:
    """What must be the same in two runs: everything but how long it took."""
    if path.name == "results.jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    if path.name == "losses.csv":
        return [row[:-1] for row in csv.reader(path.read_text().splitlines())]
    if path.suffix == ".pt":
        import torch

        # Equal contents are pickled in more than one way: texts that were read stand for themselves once each.
        return _plain(torch.load(path, weights_only=True))
    return path.read_bytes()


def _plain(value: Any) -> object:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return (
        (str(value.dtype), tuple(value.shape), value.numpy().tobytes()) if hasattr(value, "dtype") else value
    )


def one_kill(
    number: int,
    runner: Runner,
    subject: Subject,
    whole: Path,
    spans: tuple[float, int],
    chance: random.Random,
) -> Outcome:
    """Kill a command once, look, run it again, compare."""
    folder = runner.work / f"kill-{number:03d}"
    log = folder.with_suffix(".log")
    moment, value = draw_moment(number, *spans, chance)
    process = runner.begin(subject.start(folder), log)
    kill_at(process, folder, moment, value)
    ended = process.code == 0
    when = "after its end" if ended else "at work" if names(folder) else "before its first file"
    problems = torn(folder)
    over = subject.is_over(folder)
    how, arguments = subject.again(folder, chance)
    try:
        code = runner.begin(arguments, log).wait()
    except TimeoutError as error:
        problems.append(str(error))
    else:
        if code != (2 if over else 0):
            last = log.read_text(errors="replace").splitlines()[-1:]
            problems.append(f"{how}: exit code {code}: {''.join(last)}")
    problems += torn(folder) + differences(folder, whole)
    if not problems:
        shutil.rmtree(folder)
        log.unlink()
    return Outcome(number, f"{moment} {value:.3f}", when, "finished" if over else how, tuple(problems))


def report(subject: str, outcomes: list[Outcome]) -> str:
    """Counts as a table, and every problem."""
    lines = [f"{subject}: {len(outcomes)} kills, {sum(bool(o.problems) for o in outcomes)} with problems"]
    columns: dict[str, Callable[[Outcome], str]] = {
        "killed": lambda outcome: outcome.when,
        "drawn": lambda outcome: outcome.moment.rsplit(" ", 1)[0],
        "then": lambda outcome: outcome.again,
    }
    for title, of in columns.items():
        counts = Counter(of(outcome) for outcome in outcomes)
        lines += [f"  {title:<7} {name:<22} {count:>4}" for name, count in sorted(counts.items())]
    for outcome in outcomes:
        lines += [f"  {outcome.number:03d} ({outcome.moment}): {problem}" for problem in outcome.problems]
    return "\n".join(lines)


def main() -> None:
    """Run one subject; exit code 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first kill, to go on with a series"
    )
    parser.add_argument(
        "--fast", action="store_true", help="fork commands from a process with everything imported"
    )
    parser.add_argument("--keep", type=Path, help="folder to work in, which stays with all that had problems")
    parser.add_argument("--json", type=Path, help="file for the outcomes")
    args = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    work = Path(tempfile.mkdtemp(prefix="kills-")) if args.keep is None else args.keep.absolute()
    work.mkdir(parents=True, exist_ok=True)
    runner, subject = Runner(work, args.fast), SUBJECTS[args.subject](work)
    whole = work / "whole"
    unbroken(runner, subject, whole)
    # Once more: the first one reads everything from the disk, and two must be equal before anything is compared.
    spans = unbroken(runner, subject, work / "second")
    if found := differences(work / "second", whole):
        raise SystemExit("two unbroken runs differ:\n" + "\n".join(found))
    shutil.rmtree(work / "second")
    print(f"unbroken: {spans[0]:.1f} s, {spans[1]} changes of files", flush=True)
    outcomes = []
    for number in range(args.first, args.first + args.kills):
        chance = random.Random(f"{args.seed} {args.subject} {number}")
        outcomes.append(one_kill(number, runner, subject, whole, spans, chance))
        print(json.dumps(asdict(outcomes[-1])), flush=True)
    print(report(args.subject, outcomes))
    if args.json is not None:
        content = {"subject": args.subject, "seed": args.seed, "outcomes": [asdict(o) for o in outcomes]}
        args.json.write_text(json.dumps(content, indent=1) + "\n")
    if args.keep is None:
        shutil.rmtree(work)
    raise SystemExit(any(outcome.problems for outcome in outcomes))


if __name__ == "__main__":
    main()
