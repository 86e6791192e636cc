"""What a user may ask for, and every check that needs no model in memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stylecrafter.errors import CheckpointError, ImageReadError, InvalidInputError
from stylecrafter.generation.models import PART_OPTIONS, ModelFacts, look_up_model
from stylecrafter.generation.source_video import VideoInput, VideoPart, look_at_video
from stylecrafter.generation.steering import Steering, check_masks, read_steering
from stylecrafter.generation.styles import Reference, find_style, read_reference
from stylecrafter.media.documents import shown
from stylecrafter.media.images import Picture
from stylecrafter.media.video import check_format, check_suffix
from stylecrafter.pipelines.fast import knobs_in_words, set_by_fast, with_fast
from stylecrafter.pipelines.memory_options import MemoryOptions, check_offload_name, check_weights_name
from stylecrafter.pipelines.sampling_params import SamplingParams, check_text
from stylecrafter.runtime.devices import check_device_name, check_dtype_name
from stylecrafter.weights.card import check_size
from stylecrafter.weights.locate import INDEX_NAME

logger = logging.getLogger(__name__)

# Adapters are trained on up to five pictures at once. All are held in memory, decoded.
MAX_STYLES = 64
MAX_STYLE_PIXELS = 500_000_000


class StyleInput(BaseModel):
    """A style picture, or the file or name of a saved style, and how much it counts beside the others.

    Attributes:
        at: The part of the clip, 0 to 1, where it is the style, if styles follow each other; several at one place are
            read together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    weight: float = 1.0
    at: float | None = None


def check_style_count(count: int) -> None:
    """Refuse more style pictures than a call takes.

    Raises:
        InvalidInputError: More than `MAX_STYLES`.
    """
    if count > MAX_STYLES:
        raise InvalidInputError(f"a clip takes up to {MAX_STYLES} style pictures, not {count:,}.")


def _check_styles(styles: tuple[StyleInput, ...]) -> tuple[StyleInput, ...]:
    check_style_count(len(styles))
    for style in styles:
        if not (math.isfinite(style.weight) and style.weight >= 0):
            raise InvalidInputError(
                f"the weight of {shown(style.path)} must not be negative, but is {style.weight}."
            )
        if style.at is not None and not 0 <= style.at <= 1:
            raise InvalidInputError(
                f"{shown(style.path)} is the style at a part of the clip from 0 to 1, not at {style.at:g}."
            )
    if len({style.at is None for style in styles}) > 1:
        raise InvalidInputError(
            "give one style for the whole clip (--style) or styles that follow each other (--style-at), not both."
        )
    return styles


class GenerationSettings(SamplingParams):
    """What is asked for: knobs, what they work on, and where. A prompt of no words is for what many prompts share.

    Raises:
        SettingsError: A value that cannot be; the message shows it and what would be right.
    """

    prompt: Annotated[str, AfterValidator(lambda text: check_text(text, "prompt"))]
    styles: Annotated[tuple[StyleInput, ...], Field(strict=False), AfterValidator(_check_styles)] = ()
    video: Annotated[VideoInput | None, Field(strict=False)] = None
    style_masks: Annotated[tuple[Path, ...], Field(strict=False)] = ()
    negative_styles: Annotated[tuple[Path, ...], Field(strict=False)] = ()
    model: str = "mini"
    adapter: str | None = None
    image_encoder: str | None = None
    motion_adapter: str | None = None
    base_config: str | None = None
    device: Annotated[str, AfterValidator(check_device_name)] = "auto"
    dtype: Annotated[str, AfterValidator(check_dtype_name)] = "auto"
    #: Of a replay: the knobs that the fast mode had set.
    fast_knobs: Annotated[tuple[str, ...], Field(strict=False)] = ()
    low_memory: bool = False
    offload: Annotated[str, AfterValidator(check_offload_name)] = "auto"
    weights_as: Annotated[str, AfterValidator(check_weights_name)] = "full"

    @property
    def parts(self) -> dict[str, str | None]:
        """What is to stand beside the model, by the names of `models.PART_OPTIONS`."""
        return {name: getattr(self, name) for name in PART_OPTIONS}

    @property
    def memory(self) -> MemoryOptions:
        """How memory is saved."""
        return MemoryOptions(self.low_memory, self.offload, self.weights_as)


@dataclass(frozen=True)
class Job:
    """What is to be made.

    Attributes:
        settings: Checked, with every knob that models have a value for filled in.
        references: Its styles, read.
        video: What of the settings' video is used; None without one.
        steering: Masks and pictures of the negative style, read.
    """

    settings: GenerationSettings
    model: ModelFacts
    references: tuple[Reference, ...]
    video: VideoPart | None = None
    steering: Steering = Steering()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Those of its references that are pictures."""
        return tuple(found for found in self.references if isinstance(found, Picture))

    @property
    def frames(self) -> int:
        """Of the clip."""
        return cast(int, self.settings.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return cast("tuple[int, int]", (self.settings.width, self.settings.height))

    @property
    def fps(self) -> float:
        """Frames per second."""
        return cast(float, self.settings.fps)

    @property
    def scheduler(self) -> str:
        """Its name; the class of the model's own where none was asked for."""
        return self.settings.scheduler or self.model.scheduler


def look_up(settings: GenerationSettings) -> ModelFacts:
    """The model of settings, and what stands beside it.

    Raises:
        InvalidInputError: See `look_up_model`.
    """
    return look_up_model(settings.model, **settings.parts)


def prepare(settings: GenerationSettings, suffix: str, model: ModelFacts | None = None) -> Job:
    """Check everything that can be checked without loading a model, read the pictures, fill in the numbers.

    Args:
        settings: What is asked for.
        suffix: Suffix of the output; a `.png` is one frame.
        model: Its model where it was looked up before.

    Raises:
        InvalidInputError: Anything that is wrong, before anything expensive happens.
    """
    if not settings.prompt.strip():
        raise InvalidInputError("the prompt is empty: say in a few words what is to be seen.")
    styles = tuple(s.model_copy(update={"path": find_style(s.path)}) for s in settings.styles)
    references = _read_references(styles)
    steering = read_steering(settings.style_masks, settings.negative_styles, [s.at for s in styles])
    facts = model or look_up(settings)
    if references or steering.negatives:
        facts.check_styles()
    frames = 1 if settings.frames is None and suffix == ".png" else settings.frames
    video, defaults = None, facts.defaults
    if settings.fast:
        defaults = with_fast(settings, defaults, facts.fast)
    if settings.video is not None:
        video = look_at_video(settings.video, frames, settings.fps)
        defaults = video.defaults(defaults, facts.size_multiple)
    try:
        filled = settings.changed(styles=styles, frames=frames, **_fast(settings, facts)).filled(defaults)
    except InvalidInputError as error:
        raise CheckpointError(f"{facts.folder}: of the defaults in its {INDEX_NAME}, {error}") from error
    facts.check_reuse(filled)
    job = Job(filled, facts, references, video, steering)
    if job.frames == 1 and len({style.at for style in styles}) > 1:
        raise InvalidInputError("styles that follow each other (--style-at) need a clip of several frames.")
    if video is not None:
        clip, (width, height) = video.clip, job.size
        logger.info(
            "%s: %d frames of %dx%d pixels become %dx%d, at %g frames per second",
            *(shown(clip.path), job.frames, clip.width, clip.height, width, height, job.fps),
        )
    check_suffix(f"output{suffix}", job.frames)
    check_size(*job.size, facts.size_multiple)
    check_masks(steering, job.size)
    facts.check_clip(suffix, job.frames, *reversed(job.size), filled_up=video is not None)
    check_format(suffix, job.frames, *job.size, job.fps)
    if filled.fast_knobs:
        set_now = {name: getattr(filled, name) for name in filled.fast_knobs if hasattr(filled, name)}
        logger.info("fast: %s", knobs_in_words(set_now))
    for line in _without_effect(job):
        logger.warning(line)
    return job


def _fast(settings: GenerationSettings, facts: ModelFacts) -> dict[str, Any]:
    """The knobs that the fast mode sets, as a change of settings."""
    if not settings.fast or settings.fast_knobs:
        return {}
    return {"fast_knobs": set_by_fast(settings, facts.fast)}


def _without_effect(job: Job) -> Iterator[str]:
    """What was asked for and changes nothing here, a line each."""
    s: Any = job.settings
    if s.negative_style_scale != 1.0 and not job.steering.negatives:
        yield "the negative style's strength (--negative-scale) has no effect: no negative style was given"
    if s.style_frames and job.frames == 1:
        yield "strength over frames (--style-frames) has no effect on a single frame"
    if s.reuse_depth != 1 and s.reuse_every == 1:
        yield "levels that are computed at every step (--reuse-depth) have no effect without --reuse-every"
    if job.video is not None and s.denoise < 1 <= math.ceil(s.denoise * s.steps - 1e-6) / s.steps:
        yield (
            f"--denoise {s.denoise:g} of {s.steps} steps are all of them: nothing is left of the video; take more steps"
        )


def _read_references(styles: Sequence[StyleInput]) -> tuple[Reference, ...]:
    found: list[Reference] = []
    pixels = 0
    for style in styles:
        found.append(read_reference(style.path))
        pixels += math.prod(found[-1].image.size) if isinstance(found[-1], Picture) else 0
        if pixels > MAX_STYLE_PIXELS:
            raise ImageReadError(
                f"the style pictures have more than {MAX_STYLE_PIXELS:,} pixels together "
                f"(the first {len(found)} have {pixels:,}): give fewer, or smaller ones."
            )
    return tuple(found)
