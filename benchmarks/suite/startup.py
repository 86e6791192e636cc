"""What starting costs: the package, the help, a loaded model, a whole `generate`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.measure import Spread
from benchmarks.processes import GENERATE, process_cost
from benchmarks.results import Facts, shown
from benchmarks.settings import Settings

#: As `generate` does it, up to the first step.
LOADED = """
from stylecrafter.runtime.environment import let_threads_sleep
let_threads_sleep()
import stylecrafter.cli.main
from stylecrafter.generation.engine import Engine
from stylecrafter.generation.models import look_up_model
from stylecrafter.runtime.collecting import nothing_collected
with nothing_collected():
    import stylecrafter.pipelines.loading
Engine(look_up_model("mini")).pipe
"""
#: What of it is the libraries' own.
LIBRARIES = """
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, ModelMixin
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModel
"""


def run(settings: Settings) -> list[Facts]:
    """Processes in turns, the first of each not counted."""
    small = [] if settings.full else ["--steps", "2", "--frames", "2"]
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder, "clip.mp4"))
        commands = {
            "import stylecrafter": ["-c", "import stylecrafter"],
            "stylecrafter --help": ["-m", "stylecrafter.cli", "--help"],
            "import torch": ["-c", "import torch"],
            "import of all three libraries": ["-c", LIBRARIES],
            "mini is loaded": ["-c", LOADED],
            "stylecrafter generate": [
                *GENERATE,
                "--style",
                str(settings.picture),
                "-o",
                output,
                "--seed",
                "7",
                *small,
            ],
        }
        costs = {
            name: [process_cost(command, ROOT) for _ in range(settings.repeats + 1)][1:]
            for name, command in commands.items()
        }
    numbers = {}
    for name, runs in costs.items():
        wall, cpu = (Spread.of([getattr(run, of) for run in runs]) for of in ("wall", "cpu"))
        peaks = [run.peak for run in runs if run.peak is not None]
        peak = f", {max(peaks) / 2**30:.2f} GiB" if peaks else ""
        numbers[name] = f"{shown(wall)} s, {shown(cpu)} s of the processor{peak}"
    notes = [
        "from the start of the process to its end; on the CPU, whatever the device of the other benchmarks"
    ]
    return [Facts("Start-up", numbers, notes)]
