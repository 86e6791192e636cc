"""Train the probes that the package holds, for the words and the size of `mini`, and say what they reach.

    python scripts/probes.py [FOLDER]

writes them into FOLDER, by default where the package has them, in float16. On one CPU core the four take about half an
hour; the same seed gives the same probes up to the rounding of the processor.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch
from safetensors.torch import save

from stylecrafter.evaluation.truth import trained_probes
from stylecrafter.evaluation.truth.probes import QUESTIONS, train_probe
from stylecrafter.evaluation.truth.style_probe import train_style_probe
from stylecrafter.evaluation.truth.world_metric import FRESH_RENDERS, accuracy_on_renders
from stylecrafter.evaluation.truth.world_set import WorldSetSpec
from stylecrafter.media.files import write_atomic
from stylecrafter.styleworld import splits

VOCABULARY, SIZE = "medium", 64


def main() -> None:
    """Train, write and measure."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else trained_probes.PACKAGED
    words = splits.find_vocabulary(VOCABULARY)
    probes: dict[str, torch.nn.Module] = {
        q: train_probe(q, words, size=SIZE, steps=trained_probes.steps_of(q)) for q in QUESTIONS
    }
    steps = trained_probes.steps_of(trained_probes.STYLE)
    probes[trained_probes.STYLE] = train_style_probe(words, size=SIZE, steps=steps)
    for name, probe in probes.items():
        write_probe(probe, folder / trained_probes.packaged_file(name, VOCABULARY, SIZE).name)
    spec = WorldSetSpec(vocabulary=VOCABULARY, size=SIZE)
    for name, rate in accuracy_on_renders(
        trained_probes.world_probes(VOCABULARY, SIZE), spec, FRESH_RENDERS
    ).items():
        print(f"{name:<24} {rate:.3f}")


def write_probe(probe: torch.nn.Module, file: Path) -> None:
    """Write its weights in float16; counters stay whole numbers."""
    state = probe.state_dict()
    write_atomic(file, save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}))


if __name__ == "__main__":
    main()
