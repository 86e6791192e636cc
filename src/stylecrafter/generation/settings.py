"""What a user may ask for, and every check that needs no model in memory."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from stylecrafter.errors import CheckpointError, ImageReadError, InvalidInputError, unknown_name
from stylecrafter.generation.paths import readable, user_path
from stylecrafter.media.documents import shown
from stylecrafter.media.images import Picture, read_picture
from stylecrafter.media.video import check_format, check_suffix
from stylecrafter.pipelines.schedulers import SCHEDULERS
from stylecrafter.runtime.devices import check_device_name, check_dtype_name
from stylecrafter.runtime.seeding import check_seed
from stylecrafter.weights.card import check_size, read_defaults, size_multiple
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.locate import INDEX_NAME, fetch_model

# Models are trained on 1000 noise levels; where sampling starts one above zero, 1000 steps would need 1001.
MAX_STEPS = 999
MAX_FRAMES = 10_000
MAX_SIDE = 16_384
# A tokenizer cuts a prompt after some 75 words; what is given is kept in the file all the same.
MAX_PROMPT_CHARACTERS = 50_000
# Adapters are trained on up to five pictures at once. All are held in memory, decoded.
MAX_STYLES = 64
MAX_STYLE_PIXELS = 500_000_000


class StyleInput(BaseModel):
    """A style picture and how much it counts beside the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    weight: float = 1.0


class GenerationSettings(BaseModel):
    """What is asked for. None means: what the model was made for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    styles: tuple[StyleInput, ...] = ()
    model: str = "mini"
    negative_prompt: str = ""
    seed: int | None = None
    steps: int | None = None
    frames: int | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None
    style_scale: float = 1.0
    text_guidance: float | None = None
    style_guidance: float | None = None
    published_guidance: bool | None = None
    guidance_stop: float | None = None
    shared_noise: float | None = None
    style_corners: bool | None = None
    eta: float | None = None
    scheduler: str | None = None
    device: str = "auto"
    dtype: str = "auto"


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
    """Checked settings, with the pictures read and every number filled in."""

    settings: GenerationSettings
    model: ModelFacts
    pictures: tuple[Picture, ...]
    frames: int
    width: int
    height: int
    fps: float
    steps: int
    scheduler: str
    eta: float
    text_guidance: float
    style_guidance: float
    published_guidance: bool
    guidance_stop: float
    shared_noise: float
    style_corners: bool


def parse_size(text: str) -> tuple[int, int]:
    """ "128x96" -> (128, 96), width first.

    Raises:
        InvalidInputError: Not two positive whole numbers with an x between them.
    """
    # No more digits than sides can have: Python refuses to read numbers of thousands of them.
    match = re.fullmatch(r"\s*0*(\d{1,9})\s*[xX×*]\s*0*(\d{1,9})\s*", text)
    width, height = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise InvalidInputError(
            f"size {shown(text)!r} is not WIDTHxHEIGHT in pixels, such as 128x128, with sides of up to {MAX_SIDE}."
        )
    return width, height


def check_style_count(count: int) -> None:
    """Refuse more style pictures than a call takes.

    Raises:
        InvalidInputError: More than `MAX_STYLES`.
    """
    if count > MAX_STYLES:
        raise InvalidInputError(f"a clip takes up to {MAX_STYLES} style pictures, not {count:,}.")


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


def check_settings(settings: GenerationSettings) -> None:
    """Check all that does not depend on the model or the disk.

    Raises:
        InvalidInputError: With the value, and what would be right.
    """
    s = settings
    if not s.prompt.strip():
        raise InvalidInputError("the prompt is empty: say in a few words what is to be seen.")
    for name, text in (("prompt", s.prompt), ("negative prompt", s.negative_prompt)):
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise InvalidInputError(
                f"the {name} may have up to {MAX_PROMPT_CHARACTERS:,} characters, not {len(text):,}."
            )
        if text != readable(text):
            raise InvalidInputError(f"the {name} holds bytes that are no text: {shown(text)}")
    if s.seed is not None:
        check_seed(s.seed)
    for name, count, most in (("steps", s.steps, MAX_STEPS), ("frames", s.frames, MAX_FRAMES)):
        if count is not None and not 1 <= count <= most:
            raise InvalidInputError(f"{name} must lie between 1 and {most}, not {count}.")
    if s.size is not None and not all(0 < side <= MAX_SIDE for side in s.size):
        raise InvalidInputError(
            f"sides must lie between 1 and {MAX_SIDE} pixels, not {s.size[0]}x{s.size[1]}."
        )
    if s.fps is not None and not 0 < s.fps <= 240:
        raise InvalidInputError(f"fps must lie above 0 and at most at 240, not {s.fps}.")
    for name, value in (
        ("style scale", s.style_scale),
        ("text guidance", s.text_guidance),
        ("style guidance", s.style_guidance),
        ("eta", s.eta),
    ):
        if value is not None and not (math.isfinite(value) and abs(value) <= 1000):
            raise InvalidInputError(f"{name} must be a number between -1000 and 1000, not {value}.")
    if s.guidance_stop is not None and not 0 <= s.guidance_stop <= 1:
        raise InvalidInputError(f"guidance stop must lie between 0 and 1, not {s.guidance_stop}.")
    if s.shared_noise is not None and not 0 <= s.shared_noise <= 1:
        raise InvalidInputError(f"shared noise must lie between 0 and 1, not {s.shared_noise}.")
    check_style_count(len(s.styles))
    for style in s.styles:
        if not (math.isfinite(style.weight) and style.weight >= 0):
            raise InvalidInputError(
                f"the weight of {shown(style.path)} must not be negative, but is {style.weight}."
            )
    if s.scheduler is not None and s.scheduler not in SCHEDULERS:
        raise unknown_name("scheduler", s.scheduler, SCHEDULERS)
    check_device_name(s.device)
    check_dtype_name(s.dtype)


def prepare(settings: GenerationSettings, suffix: str, model: ModelFacts | None = None) -> Job:
    """Check everything that can be checked without loading a model, read the pictures, fill in the numbers.

    Args:
        settings: What is asked for.
        suffix: Suffix of the output; a `.png` is one frame.
        model: Its model where it was looked up before.

    Raises:
        InvalidInputError: Anything that is wrong, before anything expensive happens.
    """
    check_settings(settings)
    settings = settings.model_copy(
        update={"styles": tuple(StyleInput(path=user_path(s.path), weight=s.weight) for s in settings.styles)}
    )
    pictures = _read_pictures(settings.styles)
    facts = model or look_up_model(settings.model)
    if pictures and not facts.reads_pictures:
        raise CheckpointError(
            f"model {facts.name!r} cannot read style pictures: it has no image encoder or no style adapter "
            "(convert it with its OpenCLIP checkpoint and its adapter)."
        )
    filled = _filled(settings, facts, suffix)
    frames, (width, height), fps = filled["frames"], filled["size"], filled["fps"]
    check_suffix(f"output{suffix}", frames)
    check_size(width, height, facts.size_multiple)
    check_format(suffix, frames, width, height, fps)
    return Job(
        settings,
        facts,
        pictures,
        width=width,
        height=height,
        scheduler=settings.scheduler or facts.scheduler,
        **{name: value for name, value in filled.items() if name != "size"},
    )


def _filled(settings: GenerationSettings, model: ModelFacts, suffix: str) -> dict[str, Any]:
    """Every number of checked settings, with the model's where nothing was asked for."""

    def number(name: str, without: float | None = None) -> Any:
        asked = getattr(settings, name)
        return model.default(name, without) if asked is None else asked

    filled = {
        "frames": 1 if settings.frames is None and suffix == ".png" else int(number("frames")),
        "size": settings.size or (int(model.default("width")), int(model.default("height"))),
        "fps": float(number("fps")),
        "steps": int(number("steps")),
        "eta": float(number("eta")),
        "text_guidance": float(number("text_guidance")),
        "style_guidance": float(number("style_guidance")),
        "published_guidance": bool(number("published_guidance")),
        # Folders that were saved before there were these do not hold them.
        "guidance_stop": float(number("guidance_stop", 1.0)),
        "shared_noise": float(number("shared_noise", 0.0)),
        "style_corners": bool(number("style_corners", False)),
    }
    try:
        check_settings(settings.model_copy(update=filled))
    except InvalidInputError as error:
        raise CheckpointError(f"{model.folder}: of the defaults in its {INDEX_NAME}, {error}") from error
    return filled


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
