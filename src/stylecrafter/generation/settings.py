"""What a user may ask for, and every check that needs no model in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stylecrafter.errors import CheckpointError, ImageReadError, InvalidInputError
from stylecrafter.generation.paths import user_path
from stylecrafter.generation.source_video import VideoInput, VideoPart, look_at_video
from stylecrafter.media.documents import shown
from stylecrafter.media.images import Picture, read_picture
from stylecrafter.media.video import check_format, check_suffix
from stylecrafter.pipelines.sampling_params import SamplingParams, check_text
from stylecrafter.runtime.devices import check_device_name, check_dtype_name
from stylecrafter.weights.card import check_size, read_defaults, size_multiple
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.locate import INDEX_NAME, fetch_model

# Adapters are trained on up to five pictures at once. All are held in memory, decoded.
MAX_STYLES = 64
MAX_STYLE_PIXELS = 500_000_000


class StyleInput(BaseModel):
    """A style picture and how much it counts beside the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    weight: float = 1.0


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
    return styles


class GenerationSettings(SamplingParams):
    """What is asked for: knobs, what they work on, and where. A prompt of no words is for what many prompts share.

    Raises:
        SettingsError: A value that cannot be; the message shows it and what would be right.
    """

    prompt: Annotated[str, AfterValidator(lambda text: check_text(text, "prompt"))]
    styles: Annotated[tuple[StyleInput, ...], Field(strict=False), AfterValidator(_check_styles)] = ()
    video: Annotated[VideoInput | None, Field(strict=False)] = None
    model: str = "mini"
    device: Annotated[str, AfterValidator(check_device_name)] = "auto"
    dtype: Annotated[str, AfterValidator(check_dtype_name)] = "auto"


@dataclass(frozen=True)
class ModelFacts:
    """What can be known of a model before it is loaded.

    Attributes:
        scheduler: Class name of the one it was saved with.
        reads_pictures: Whether it has all it takes to read style pictures.
        defaults: Numbers of its `model_index.json`.
    """

    name: str
    folder: Path
    size_multiple: int
    scheduler: str
    reads_pictures: bool
    defaults: dict[str, Any]

    def default(self, name: str, without: float | None = None) -> float:
        """A number that the model was made for, such as "frames"; `without` where its folder does not say.

        Raises:
            CheckpointError: It does not, and has to; or what it says is no number.
        """
        value = self.defaults.get(f"default_{name}", without)
        if not isinstance(value, (int, float)):
            raise CheckpointError(f"{self.folder}: its {INDEX_NAME} has no number default_{name}.")
        return value


@dataclass(frozen=True)
class Job:
    """What is to be made.

    Attributes:
        settings: Checked, with every knob that models have a value for filled in.
        pictures: Of its styles, read.
        video: What of the settings' video is used; None without one.
    """

    settings: GenerationSettings
    model: ModelFacts
    pictures: tuple[Picture, ...]
    video: VideoPart | None = None

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


def look_up_model(name: str | os.PathLike[str]) -> ModelFacts:
    """Find a model and read its configs; a hub id is fetched.

    Raises:
        InvalidInputError: There is no such model; see `weights.locate`.
    """
    folder = fetch_model(name)
    index = read_config(folder / INDEX_NAME)

    def class_of(part: str) -> str | None:
        entry = index.get(part)
        return entry[1] if isinstance(entry, list) and len(entry) == 2 else None

    return ModelFacts(
        name=os.fspath(name),
        folder=folder,
        size_multiple=size_multiple(folder),
        scheduler=class_of("scheduler") or "unknown",
        reads_pictures=None not in (class_of("image_encoder"), class_of("style_adapter")),
        defaults=read_defaults(folder),
    )


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
    styles = tuple(StyleInput(path=user_path(s.path), weight=s.weight) for s in settings.styles)
    pictures = _read_pictures(styles)
    facts = model or look_up_model(settings.model)
    if pictures and not facts.reads_pictures:
        raise CheckpointError(
            f"model {facts.name!r} cannot read style pictures: it has no image encoder or no style adapter "
            "(convert it with its OpenCLIP checkpoint and its adapter)."
        )
    frames = 1 if settings.frames is None and suffix == ".png" else settings.frames
    video, defaults = None, facts.defaults
    if settings.video is not None:
        video = look_at_video(settings.video, frames, settings.fps)
        defaults = video.defaults(defaults, facts.size_multiple)
    try:
        filled = settings.changed(styles=styles, frames=frames).filled(defaults)
    except InvalidInputError as error:
        raise CheckpointError(f"{facts.folder}: of the defaults in its {INDEX_NAME}, {error}") from error
    job = Job(filled, facts, pictures, video)
    check_suffix(f"output{suffix}", job.frames)
    check_size(*job.size, facts.size_multiple)
    check_format(suffix, job.frames, *job.size, job.fps)
    return job


def _read_pictures(styles: Sequence[StyleInput]) -> tuple[Picture, ...]:
    pictures: list[Picture] = []
    pixels = 0
    for style in styles:
        pictures.append(read_picture(style.path))
        pixels += math.prod(pictures[-1].image.size)
        if pixels > MAX_STYLE_PIXELS:
            raise ImageReadError(
                f"the style pictures have more than {MAX_STYLE_PIXELS:,} pixels together "
                f"(the first {len(pictures)} have {pixels:,}): give fewer, or smaller ones."
            )
    return tuple(pictures)
