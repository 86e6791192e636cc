"""Probes that have learned: from the package where it has them, from a folder that keeps them, or trained now.

The package holds those for the words and the size of `mini` (`probe_weights/`), so that its scores are of the same
judges everywhere; `scripts/probes.py` trains them. For other words and sizes they are trained when they are first
asked for, in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors.torch import save
from torch import nn

from stylecrafter.evaluation.metrics.digest import weights_digest
from stylecrafter.evaluation.truth.probes import QUESTIONS, Probe, Question, make_probe, train_probe
from stylecrafter.evaluation.truth.style_probe import StyleProbe, train_style_probe
from stylecrafter.media.files import write_atomic
from stylecrafter.styleworld import splits
from stylecrafter.weights.formats.checkpoint_files import fill
from stylecrafter.weights.tensor_files import read_file, tensors_only, unwrapped

logger = logging.getLogger(__name__)

PACKAGED = Path(__file__).parent / "probe_weights"
STYLE = "style"
#: Steps of training. After 400 the probes of object and style were the weaker judges: see docs/evaluation.md.
STEPS = 1600
#: Motions are told apart without error after so many.
MOTION_STEPS = 400
#: Changed whenever probes are built or trained otherwise, so that kept ones are made again.
VERSION = 3

SomeProbe = TypeVar("SomeProbe", bound=nn.Module)


@dataclass(frozen=True)
class WorldProbes:
    """All probes of a vocabulary and size, in evaluation mode."""

    content: dict[Question, Probe]
    style: StyleProbe

    @property
    def digest(self) -> str:
        """What tells these probes from others: scores are kept by it."""
        return " ".join(weights_digest(probe) for probe in (*self.content.values(), self.style))


def world_probes(vocabulary: str, size: int, folder: Path | None = None) -> WorldProbes:
    """All probes for the vocabulary of that name and renders of `size` x `size`.

    Args:
        vocabulary: See `splits.VOCABULARIES`.
        size: Height and width in pixels.
        folder: Keeps probes that have to be trained.

    Raises:
        UnknownNameError: There is no such vocabulary.
        CheckpointError: A file that the folder keeps is broken.
        OutputError: The folder cannot be written.
    """
    content = {question: content_probe(question, vocabulary, size, folder) for question in QUESTIONS}
    words = splits.find_vocabulary(vocabulary)
    style = _found_or_trained(
        STYLE,
        vocabulary,
        size,
        folder,
        lambda: StyleProbe(len(words.styles)),
        lambda steps: train_style_probe(words, size=size, steps=steps),
    )
    return WorldProbes(content, style)


def content_probe(question: Question, vocabulary: str, size: int, folder: Path | None = None) -> Probe:
    """The probe for one question; see `world_probes`."""
    words = splits.find_vocabulary(vocabulary)
    return _found_or_trained(
        question,
        vocabulary,
        size,
        folder,
        lambda: make_probe(question, words),
        lambda steps: train_probe(question, words, size=size, steps=steps),
    )


def packaged_file(name: str, vocabulary: str, size: int) -> Path:
    """Where the package has the probe of that question, or of the style, if it has it."""
    return PACKAGED / f"{name}_{vocabulary}_{size}.safetensors"


def steps_of(name: str) -> int:
    """Steps of training of the probe of that question, or of the style."""
    return min(STEPS, MOTION_STEPS) if name == "motion" else STEPS


def _found_or_trained(
    name: str,
    vocabulary: str,
    size: int,
    folder: Path | None,
    make: Callable[[], SomeProbe],
    train: Callable[[int], SomeProbe],
) -> SomeProbe:
    steps = steps_of(name)
    kept = None if folder is None else folder / f"{name}_{vocabulary}_{size}_{steps}_v{VERSION}.safetensors"
    for file in (packaged_file(name, vocabulary, size), kept):
        if file is not None and file.is_file():
            return _loaded(file, make())
    logger.info(
        "probe of the %s: none for the words %r at %d pixels; it learns now, %d steps",
        name,
        vocabulary,
        size,
        steps,
    )
    probe = train(steps)
    if kept is not None:
        write_atomic(kept, save({key: value.contiguous() for key, value in probe.state_dict().items()}))
    return probe


def _loaded(file: Path, probe: SomeProbe) -> SomeProbe:
    what = f"probe {file.name} (delete it, and it is made again)"
    state = tensors_only(unwrapped(read_file(file, what), what), what)
    fill(probe, state, f"{what} in {file.parent}", copy=True)
    return probe.eval()
