"""Settings in, frames and their record out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from stylecrafter import __version__
from stylecrafter.generation.models import ModelFacts
from stylecrafter.generation.paths import portable_path, readable
from stylecrafter.generation.places import remember
from stylecrafter.generation.record import GenerationRecord, ModelReference, PartReference, StyleReference
from stylecrafter.generation.settings import GenerationSettings, Job, prepare
from stylecrafter.generation.styles import StyleEncoder
from stylecrafter.media.documents import expand_home, is_file, is_folder
from stylecrafter.media.files import check_writable
from stylecrafter.media.overwriting import refuse_overwriting
from stylecrafter.media.video import check_lossless, check_suffix, write_frames
from stylecrafter.pipelines.memory_options import MemoryOptions, Workload
from stylecrafter.pipelines.sampling_params import check_video_knobs
from stylecrafter.pipelines.schedulers import make_scheduler
from stylecrafter.runtime.collecting import nothing_collected
from stylecrafter.runtime.seeding import draw_seed
from stylecrafter.weights.card import WORLD_NAME, read_world
from stylecrafter.weights.locate import list_models, same_weights, settings_hash, weights_hash

if TYPE_CHECKING:
    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

logger = logging.getLogger(__name__)

OnStep = Callable[[int, int], None]
"""Told after every denoising step: how many are done, and how many there are."""

_RECORDED_PACKAGES = ("torch", "diffusers", "transformers", "av", "pillow")


@dataclass(frozen=True)
class Made:
    """A file that was made.

    Attributes:
        seconds: The whole run, with loading the model where it was loaded for it.
    """

    path: Path
    record: GenerationRecord
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For json: where, how long, and every setting."""
        return {"path": str(self.path), "seconds": round(self.seconds, 3), **self.record.model_dump()}


class Engine:
    """A model that works off jobs; loaded when the first one comes.

    Args:
        model: Which model.
        device: "auto" or a device of this machine.
        dtype: "auto" or a number format.
        on_step: Told after every step, instead of the bar that a terminal is shown.
        memory: How memory is saved.

    Raises:
        InvalidInputError: The device or the number format is not to be had here, or nothing to offload to.
        MissingDependencyError: What stores weights so is not installed.
    """

    def __init__(
        self,
        model: ModelFacts,
        device: str = "auto",
        dtype: str = "auto",
        on_step: OnStep | None = None,
        memory: MemoryOptions = MemoryOptions(),  # noqa: B008  # frozen
    ) -> None:
        from stylecrafter.runtime.devices import resolve_device, resolve_dtype

        self.model = model
        self._styles = StyleEncoder()
        self.device = resolve_device(device)
        self.dtype = resolve_dtype(dtype, self.device)
        self.on_step = on_step
        self.memory = memory.checked(self.device.type)

    @cached_property
    def weights(self) -> str:
        """Hash of the model's weights."""
        return weights_hash(self.model.weights)

    @cached_property
    def settings(self) -> str:
        """Hash of all else that decides what the model draws."""
        return settings_hash(self.model.folder)

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of all that the model is: its weights, its configs, and what stands beside it."""
        return {"weights": self.weights, "configs": self.settings, **self.model.part_hashes}

    def made(self, reference: ModelReference) -> bool:
        """Whether this is the model of a record; one without a hash says nothing."""
        return (
            reference.sha256 is not None
            and (reference.sha256 == self.weights or same_weights(self.model.weights, reference.sha256))
            # Earlier versions did not record it.
            and reference.settings_sha256 in (None, self.settings)
            and {name: part.sha256 for name, part in reference.parts.items()} == self.model.part_hashes
        )

    @cached_property
    def pipe(self) -> StyleCrafterPipeline:
        """The loaded model, on its device."""
        with nothing_collected():
            pipe = self._placed(self.model.load(self.dtype))
        pipe.set_progress_bar_config(
            disable=None if self.on_step is None else True
        )  # None: on a terminal only
        return pipe

    def _placed(self, pipe: StyleCrafterPipeline) -> StyleCrafterPipeline:
        """The loaded model where it computes, with memory saved as it was asked for."""
        memory, offloading = self.memory, self.memory.offloading(self.device.type)
        if memory.weights_as != "full":
            pipe.store_weights(memory.weights_as)
        if offloading == "model":
            pipe.enable_model_cpu_offload(device=self.device)
        elif offloading == "group":
            pipe.enable_group_offload(self.device, use_stream=True)
        else:
            pipe.to(self.device)
        if memory.low_memory:
            pipe.enable_low_memory(self.device, offload=False)
        return pipe

    def run(self, job: Job, output: str | os.PathLike[str]) -> tuple[list[Image.Image], GenerationRecord]:
        """Generate the frames of one clip.

        Args:
            job: Checked settings; without a seed in them one is drawn.
            output: Where the clip will lie: of paths below its folder is recorded how they are seen from there.

        Raises:
            InvalidInputError: The clip cannot fit into memory.
            CheckpointError: The model cannot be loaded.
        """
        self._check_memory(job)
        if job.settings.seed is None:
            job = replace(job, settings=job.settings.changed(seed=draw_seed()))
        s = job.settings
        self.pipe.scheduler = self.scheduler(s.scheduler)
        styles = [(found, s.weight, s.at) for found, s in zip(job.references, s.styles, strict=True)]
        style = self._styles.arguments(self.pipe, styles, s.style_corners, apart=len(job.steering.masks) > 1)
        out: Any = self.pipe(
            s.prompt,
            video=None if job.video is None else job.video.frames(job.size),
            negative_prompt=s.negative_prompt,
            **job.steering.arguments(),
            **style,
            # The corners of pictures that are read already.
            **s.arguments(without=("style_corners",)),
            **self._callback(),
        )
        return list(out.frames[0]), self._record(job, output)

    def _callback(self) -> dict[str, Any]:
        """The argument of a pipeline's call that has `on_step` told."""
        tell = self.on_step
        if tell is None:
            return {}

        def after_step(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> None:
            tell(step + 1, pipe.num_timesteps)

        return {"callback_on_step_end": after_step}

    def _check_memory(self, job: Job) -> None:
        from stylecrafter.generation.memory import Plan, check_clip

        steering = job.steering
        work = Workload(
            job.frames,
            *job.size,
            references=len(job.pictures),
            window=job.settings.window or 0,
            masks=len(steering.masks),
            negatives=len(steering.negatives),
        )
        plan = Plan(work, self.dtype, self.memory, self.device.type)
        check_clip(self.model, plan, self.device, loaded="pipe" in self.__dict__)

    def scheduler(self, name: str | None) -> Any:
        """The one of that name, or the one the model came with; fresh, as it may remember its last steps."""
        own = self._own_scheduler
        return type(own).from_config(own.config) if name is None else make_scheduler(name, own.config)

    @cached_property
    def _own_scheduler(self) -> Any:
        return self.pipe.scheduler

    def _record(self, job: Job, output: str | os.PathLike[str]) -> GenerationRecord:
        from stylecrafter.runtime.devices import dtype_name

        s = job.settings
        styles = [
            StyleReference(
                name=readable(found.name),
                sha256=found.sha256,
                weight=style.weight,
                path=portable_path(style.path, output),
                at=style.at,
            )
            for found, style in zip(job.references, s.styles, strict=True)
        ]
        made_by = ModelReference(
            name=recorded_model_name(self.model, output),
            sha256=self.weights,
            settings_sha256=self.settings,
            **{
                kind: PartReference(name=recorded_name(part.name, part.path, output), sha256=part.sha256)
                for kind, part in self.model.parts.items()
            },
        )
        fast_knobs = {"fast_knobs": list(s.fast_knobs)} if s.fast_knobs else {}
        return GenerationRecord(
            **{**s.values(), "scheduler": job.scheduler, **fast_knobs},
            kind="image" if job.frames == 1 else "video",
            prompt=s.prompt,
            styles=styles,
            video=None if job.video is None else job.video.reference(output),
            **job.steering.recorded(output),
            device=str(self.device),
            dtype=dtype_name(self.dtype),
            **self.memory.recorded(),
            model=made_by,
            versions=versions(),
        )


def generate_file(
    settings: GenerationSettings,
    output: str | os.PathLike[str],
    *,
    embed: bool = True,
    lossless: bool = False,
    on_step: OnStep | None = None,
) -> Made:
    """Check, generate and write one file.

    Args:
        settings: What is asked for.
        output: Where to; the suffix decides the format.
        embed: Keep the settings inside the file.
        lossless: Keep every pixel as it is; see `check_lossless`.
        on_step: See `Engine`.

    Raises:
        InvalidInputError: Something asked for is not possible; found before loading wherever that can be.
        OutputError: The file cannot be written, or is one of those that are read.
    """
    started = time.monotonic()
    suffix = check_suffix(output, settings.frames or 1)
    if settings.video is None:
        check_video_knobs(settings.denoise, settings.inversion)
    if lossless:
        check_lossless(suffix)
    with nothing_collected():  # it imports the libraries
        job = prepare(settings, suffix)
    refuse_overwriting([output], [*read_files(job), *job.model.files], job.model.folders)
    check_writable(output)
    _hint(job)
    engine = Engine(job.model, settings.device, settings.dtype, on_step, settings.memory)
    return make_file(engine, job, output, embed=embed, lossless=lossless, started=started)


def read_files(job: Job) -> list[Path]:
    """The files of the user that a job reads."""
    styles = [style.path for style in job.settings.styles] + job.steering.files
    return styles if job.video is None else [*styles, job.video.asked.path]


def _hint(job: Job) -> None:
    """Say what a model knows where the prompt names none of it; it may still be worth a try."""
    if not is_file(job.model.folder / WORLD_NAME):
        return
    from stylecrafter.styleworld.prompts import hint

    line = hint(job.settings.prompt, read_world(job.model.folder), job.model.name)
    if line is not None:
        logger.warning(line)


def make_file(
    engine: Engine,
    job: Job,
    output: str | os.PathLike[str],
    *,
    embed: bool = True,
    lossless: bool = False,
    started: float | None = None,
    place: Path | None = None,
) -> Made:
    """Generate and write one file with a model that is loaded already.

    Args:
        place: Where it is written instead, by a worker whose file is moved to `output` by others.
        started: `time.monotonic()` of when the work began, if that was before this call.
    """
    started = time.monotonic() if started is None else started
    frames, record = engine.run(job, output)
    if lossless:
        record = record.model_copy(update={"lossless": True})
    sound = None if job.video is None else job.video.sound
    metadata = record.model_dump() if embed else None
    path = write_frames(frames, place or output, job.fps, metadata, sound=sound, lossless=lossless)
    if embed and place is None:
        remember_places(job, record)
    return Made(path, record, time.monotonic() - started)


def recorded_model_name(model: ModelFacts, output: str | os.PathLike[str]) -> str:
    """An embedded name or a hub id as it is; a folder as seen from the output ("./…"), or its bare name."""
    if model.name in {embedded.name for embedded in list_models()}:
        return model.name
    return recorded_name(model.name, model.file or model.folder, output)


def recorded_name(name: str, place: Path, output: str | os.PathLike[str]) -> str:
    """A hub id as it is; a file or folder as seen from the output ("./…"), or its bare name."""
    if not is_own(name):
        return name
    path = portable_path(place, output)
    return readable(place.name) if path is None else f"./{path}"


def is_own(name: str) -> bool:
    """Whether that is a file or folder of the user's."""
    embedded = name in {embedded.name for embedded in list_models()}
    return not embedded and (is_folder(expand_home(name)) or is_file(expand_home(name)))


def remember_places(job: Job, record: GenerationRecord) -> None:
    """Note on this machine what the file itself does not say, so that it can be replayed from here."""
    for style, reference in zip(job.settings.styles, record.styles, strict=True):
        if reference.path is None:
            remember(reference.sha256, style.path)
    pictures = (*job.steering.masks, *job.steering.negatives)
    for picture, reference in zip(pictures, (*record.style_masks, *record.negative_styles), strict=True):
        if reference.path is None and picture.path is not None:
            remember(reference.sha256, picture.path)
    if job.video is not None and record.video is not None and record.video.path is None:
        remember(record.video.sha256, job.video.asked.path)
    if record.model.sha256 and is_own(job.model.name) and not record.model.name.startswith("./"):
        remember(record.model.sha256, job.model.file or job.model.folder)
    for kind, part in record.model.parts.items():
        if is_own(job.model.parts[kind].name) and not part.name.startswith("./"):
            remember(part.sha256, job.model.parts[kind].path)


def versions() -> dict[str, str]:
    """Versions of all that may change a result."""
    return {"stylecrafter": __version__} | {name: metadata.version(name) for name in _RECORDED_PACKAGES}
