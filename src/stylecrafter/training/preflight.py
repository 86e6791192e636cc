"""What can be known of a run before its first step: the data of all its stages, its models, samples and processes.

A recipe is checked in itself when it is read. Here follows what lies outside of it, for all stages together: the data
of the last one would otherwise be met hours later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from stylecrafter.data.captions import CaptionCleaning, clean_caption
from stylecrafter.data.manifest import find_records
from stylecrafter.data.records import Kind, Record
from stylecrafter.data.samples import clip_index, load_whole
from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media.clips import choose_frames
from stylecrafter.media.images import load_picture
from stylecrafter.runtime.faults import Fault, joined
from stylecrafter.runtime.ranks import process_count
from stylecrafter.training.model_checks import model_faults
from stylecrafter.training.recipe_checks import faults_between, sources_of
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.source_specs import FilesSpec, placed
from stylecrafter.training.sources import file_source
from stylecrafter.training.stage_specs import StageSpec
from stylecrafter.training.tracking import TRACKERS, is_installed

logger = logging.getLogger(__name__)

#: Files that are opened, evenly spread, until one can be used: a source gives up after as many too.
_MOST_OPENED = 1000


def check_run(
    recipe: Recipe,
    stages: Sequence[StageSpec],
    *,
    device: torch.device | str = "cpu",
    processes: int | None = None,
) -> None:
    """Refuse a run of which a stage could not be trained; nothing is written, fetched or built.

    Args:
        recipe: The whole of it.
        stages: Those that are still to be trained.
        device: Where.
        processes: How many share a batch; None: as many as the launcher says.

    Raises:
        InvalidInputError: Everything that is wrong, in one line.
    """
    processes = process_count() if processes is None else processes
    faults = list(faults_between(recipe.outline()))
    faults += model_faults(recipe, stages)
    for stage in stages:
        place = ("stages", recipe.stages.index(stage), "train")
        faults += [Fault((*place, key), what) for key, what in _shared(recipe, stage, str(device), processes)]
    faults += _sample_faults(recipe)
    faults += [
        Fault(("trackers",), f"{name} is not installed; pip install {TRACKERS[name]}, or leave it out")
        for name in recipe.trackers
        if not is_installed(name)
    ]
    for name in _shown_sources(recipe, stages):
        spec = recipe.data[name]
        if isinstance(spec, FilesSpec):
            faults += [Fault(("data", name), what) for what in _data_faults(name, spec, recipe)]
    if faults:
        raise InvalidInputError(f"recipe {recipe.name!r}: {joined(faults)}")
    if recipe.samples is None and any(stage.train.sample_every for stage in stages):
        logger.info("no sample sheets are drawn: the recipe has no 'samples'")


def _shown_sources(recipe: Recipe, stages: Sequence[StageSpec]) -> list[str]:
    """The sources of the stages; the latents of later ones are measured on what the autoencoder was shown."""
    shown = list(stages)
    if any(not stage.is_encoder for stage in stages):
        shown += [stage for stage in recipe.stages if stage.stage == "autoencoder"]
    return sources_of(recipe.data, shown)


def _data_faults(name: str, spec: FilesSpec, recipe: Recipe) -> Iterator[str]:
    place = placed(recipe.folder, spec.path)
    try:
        found = find_records(place)
        source = file_source(spec, found, size=(64, 64), seed=recipe.seed)
    except InvalidInputError as error:
        yield f"{str(error).rstrip('.')}; set it by --set data.{name}.path=…"
        return
    for note in found.notes:
        logger.info("data %s: %s", name, note)
    usable = [
        record for record in source.records if spec.missing_captions == "empty" or _is_told(record, spec)
    ]
    if not usable:
        yield (
            f"{place}: the captions of all {len(source.records)} speak of style alone; missing_captions: empty "
            "takes them"
        )
        return
    reason = ""
    for record in usable[:: -(-len(usable) // _MOST_OPENED)]:
        try:
            _open(record, spec)
        except ImageReadError as error:
            reason = reason or str(error)
        else:
            return
    yield f"{place}: none of {len(usable)} can be used, the first: {reason}"


def _is_told(record: Record, spec: FilesSpec) -> bool:
    return bool(clean_caption(record.caption or "", CaptionCleaning(spec.captions)))


def _open(record: Record, spec: FilesSpec) -> None:
    if record.kind is Kind.PICTURE:
        load_whole(record)
    else:
        choose_frames(clip_index(record), spec.num_frames, stride=spec.stride, fps=spec.fps)


def _sample_faults(recipe: Recipe) -> Iterator[Fault]:
    if recipe.samples is None:
        return
    for number, name in enumerate(recipe.samples.styles):
        try:
            load_picture(Path(placed(recipe.folder, name)))
        except ImageReadError as error:
            yield Fault(("samples", "styles", number), str(error))


def _shared(recipe: Recipe, stage: StageSpec, device: str, processes: int) -> Iterator[tuple[str, str]]:
    """What a stage asks of the device, and of the processes that share its batches."""
    config = stage.train
    if config.mixed_precision == "fp16" and device.startswith("cpu"):
        yield "mixed_precision", "fp16 needs an accelerator; on CPUs set it to bf16 or no"
    if config.bf16_compute and processes > 1:
        yield "bf16_compute", f"is for one process, and these are {processes}"
    for name in stage.sources:
        rows = recipe.data[name].batch_size
        if processes > 1 and rows % (processes * config.accumulation):
            yield (
                "accumulation",
                f"a batch of {rows} rows ({name}) cannot be shared equally by {processes} processes of "
                f"{config.accumulation} parts",
            )
