"""From what a recipe says of its data to the sources themselves."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from stylecrafter.data.batch import BatchSource, TrainingBatch
from stylecrafter.data.loaders import FileSource
from stylecrafter.data.mixing import MixedSource
from stylecrafter.data.prefetch import StepLoader
from stylecrafter.data.records import Found, Problem, Report
from stylecrafter.data.reporting import Fingerprint
from stylecrafter.data.world_source import WorldSource
from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld import splits
from stylecrafter.styleworld.lexicon import MOTION_PHRASES
from stylecrafter.styleworld.wording import vocabulary_words, words_of
from stylecrafter.training.recipe_checks import frame_size
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.source_specs import FilesSpec, MixSpec, SourceSpec, WorldSpec, placed


class ReadAhead:
    """Files, or a mix with files, whose batches worker processes read ahead, for a stage that asks for one batch after
    the other.

    Args:
        source: Where batches come from.
        workers: Processes per share of the batch.
    """

    def __init__(self, source: FileSource | MixedSource, workers: int) -> None:
        self.source, self.workers = source, workers
        self._open: dict[tuple[int, int], tuple[int, Iterator[list[TrainingBatch]]]] = {}

    @property
    def batch_size(self) -> int:
        return self.source.batch_size

    def batch(self, step: int, rows: slice) -> TrainingBatch:
        place = (rows.start, rows.stop)
        coming, batches = self._open.get(place, (None, None))
        if coming != step or batches is None:
            batches = iter(StepLoader(self.source, rows=[rows], num_workers=self.workers, step=step))
        (batch,) = next(batches)
        self._open[place] = step + 1, batches
        return batch

    def fingerprint(self) -> Fingerprint:
        return self.source.fingerprint()

    def report(self) -> Report:
        return self.source.report()

    def drain(self) -> Counter[Problem]:
        return self.source.drain()

    def absorb(self, problems: Counter[Problem]) -> None:
        self.source.absorb(problems)


#: Bytes of an accelerator's memory for every pixel that it draws at once: some 16,000 pictures of 64 x 64 on 139 GiB.
BYTES_PER_PIXEL = 2**11


def pixels_at_once(device: str) -> int:
    """How many pixels a device is to draw together."""
    if not device.startswith("cuda"):
        return 2**22
    return torch.cuda.get_device_properties(device).total_memory // BYTES_PER_PIXEL


class DrawAhead:
    """StyleWorld, the batches of several steps drawn at once, for a stage that asks for one after the other.

    A picture takes some five thousand small kernels, and launching them takes as long for one picture as for
    many: an H100 gave 1,630 pictures of 128 x 128 a second in batches of 256, and hardly more of 64 x 64.

    Args:
        source: What to draw.
        steps: How many steps at once.
    """

    def __init__(self, source: WorldSource, steps: int) -> None:
        self.source, self.steps = source, steps
        self._drawn: dict[tuple[int, int], tuple[int, list[TrainingBatch]]] = {}

    @property
    def batch_size(self) -> int:
        return self.source.batch_size

    def batch(self, step: int, rows: slice) -> TrainingBatch:
        block, place = step // self.steps, (rows.start, rows.stop)
        if place not in self._drawn or self._drawn[place][0] != block:
            self._drawn.pop(place, None)  # before the next ones are there, or memory holds both
            steps = range(block * self.steps, (block + 1) * self.steps)
            self._drawn[place] = block, self.source.batches(steps, rows)
        return self._drawn[place][1][step % self.steps]

    def captions_of(self, step: int, rows: slice) -> list[str]:
        return self.source.captions_of(step, rows)

    def fingerprint(self) -> Fingerprint:
        return self.source.fingerprint()


def make_source(
    spec: SourceSpec,
    folder: Path,
    *,
    size: tuple[int, int],
    seed: int,
    device: str,
    others: Callable[[str], BatchSource],
) -> BatchSource:
    """Build a source.

    Args:
        spec: What the recipe says.
        folder: Where relative paths start.
        size: Height and width where the recipe names none.
        seed: Of order, crops and drawing.
        device: Where StyleWorld is drawn.
        others: Other sources by name, for a mix.

    Raises:
        InvalidInputError: StyleWorld at sizes that are not square, or files of which none can be used.
    """
    if isinstance(spec, WorldSpec):
        side = spec.size or size[0]
        if spec.size is None and size[0] != size[1]:
            raise InvalidInputError(
                f"StyleWorld is square, the model makes {size[1]} x {size[0]}; give 'size'"
            )
        given = spec.model_dump(exclude={"kind", "vocabulary", "size", "motions"})
        vocabulary = splits.find_vocabulary(spec.vocabulary)
        if spec.motions:
            vocabulary = dataclasses.replace(vocabulary, motions=spec.motions)
        world = WorldSource(vocabulary=vocabulary, size=side, seed=seed, device=device, **given)
        if device == "cpu":
            return world
        at_once = pixels_at_once(device) // (spec.batch_size * spec.num_frames * side * side)
        return DrawAhead(world, at_once) if at_once > 1 else world
    if isinstance(spec, FilesSpec):
        source = file_source(spec, placed(folder, spec.path), size=size, seed=seed)
        return ReadAhead(source, spec.workers) if spec.workers else source
    return _mixed_source(spec, others)


def _mixed_source(spec: MixSpec, others: Callable[[str], BatchSource]) -> BatchSource:
    """A mix; where a member wants workers, these load whole batches of the mix, not each its own rows."""
    members = [others(name) for name in spec.of]
    workers = max((member.workers for member in members if isinstance(member, ReadAhead)), default=0)
    if workers:
        members = [_for_workers(member) for member in members]
    mixed = MixedSource(members, list(spec.of.values()), batch_size=spec.batch_size, unit=spec.unit)
    return ReadAhead(mixed, workers) if workers else mixed


def _for_workers(member: BatchSource) -> BatchSource:
    if isinstance(member, ReadAhead | DrawAhead):
        member = member.source
    # Worker processes have no accelerator to draw on.
    return dataclasses.replace(member, device="cpu") if isinstance(member, WorldSource) else member


def file_source(spec: FilesSpec, data: str | Found, *, size: tuple[int, int], seed: int) -> FileSource:
    """The files of a recipe as one source, without processes that read ahead.

    Args:
        spec: What the recipe says.
        data: Their place, or what was found there.
        size: Height and width where the recipe names none.
        seed: Of order and crops.

    Raises:
        InvalidInputError: None of them can be used.
    """
    return FileSource(
        data,
        size=frame_size(spec, size),
        batch_size=spec.batch_size,
        num_frames=spec.num_frames,
        stride=spec.stride,
        fps=spec.fps,
        cleaning=spec.captions,
        missing_captions=spec.missing_captions,
        references=spec.references,
        cross_reference_ratio=spec.cross_reference_ratio,
        style_groups=spec.style_groups,
        seed=seed,
    )


def vocabulary_of(recipe: Recipe) -> dict[str, Any] | None:
    """What a model trained on StyleWorld can be asked for, for `world.json`; None where it saw other data too."""
    worlds = [source for source in recipe.data.values() if isinstance(source, WorldSpec)]
    if not worlds or any(isinstance(source, FilesSpec) for source in recipe.data.values()):
        return None
    vocabulary = splits.find_vocabulary(worlds[0].vocabulary)
    return {
        "objects": vocabulary.objects,
        "scenes": vocabulary.scenes,
        "motions": [MOTION_PHRASES[name][-1] for name in vocabulary.motions],
        "cameras": vocabulary.cameras,
        "styles": vocabulary.styles,
        "words": words_of(vocabulary),
    }


def words_for(recipe: Recipe) -> tuple[str, ...]:
    """The words that the tokenizer of a new model holds: those of all vocabularies of StyleWorld in the recipe."""
    names = {source.vocabulary for source in recipe.data.values() if isinstance(source, WorldSpec)}
    words = set(vocabulary_words())
    for name in names - {"small"}:
        words |= set(words_of(splits.find_vocabulary(name)))
    return tuple(sorted(words))
