"""The one list of what sampling can be told: every knob with its limits, its names and its words.

A pipeline's call, the command line, the entries of a batch, the record inside a file, replay, evaluation and studies
take these fields or are made from them: a new knob is one more field here, and its use. Importing this loads no torch.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, model_validator

from stylecrafter.adapter.scales import parse_scales
from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.media.documents import shown
from stylecrafter.pipelines.knobs import KnobModel, brief, knob
from stylecrafter.pipelines.schedulers import SCHEDULERS
from stylecrafter.runtime.seeding import MAX_SEED
from stylecrafter.schedules import parse

# Models are trained on 1000 noise levels; where sampling starts one above zero, 1000 steps would need 1001.
MAX_STEPS = 999
#: How strong a style may be in a word; what each word stands for, the base model says (`Backbone.strengths`).
STRENGTHS = ("light", "medium", "strong")
MAX_FRAMES = 10_000
MAX_FPS = 240
MAX_SIDE = 16_384
# A tokenizer cuts a prompt after some 75 words; what is given is kept in the file all the same.
MAX_PROMPT_CHARACTERS = 50_000
#: Panel of the help for what trades quality for time.
SPEED = "Speed"
#: Part of the steps that a video is denoised for where nobody says (docs/results/video_to_video.md).
DEFAULT_DENOISE = 0.6


def check_text(text: str, name: str) -> str:
    """The text itself, if a model can be given it and a file can hold it.

    Raises:
        InvalidInputError: It is too long, or holds bytes that are no text.
    """
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise InvalidInputError(
            f"the {name} may have up to {MAX_PROMPT_CHARACTERS:,} characters, not {len(text):,}."
        )
    if text != text.encode("utf-8", "replace").decode():
        raise InvalidInputError(f"the {name} holds bytes that are no text: {shown(text)}")
    return text


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


def check_video_knobs(denoise: float | None, inversion: bool) -> None:
    """Refuse what means nothing without a video.

    Raises:
        InvalidInputError: Something of it was asked for.
    """
    if inversion:
        raise InvalidInputError("inversion goes with a video, and none was given")
    if denoise not in (None, 1.0):
        raise InvalidInputError(f"denoise {denoise:g} goes with a video, and none was given")


def _known_scheduler(name: str | None) -> str | None:
    if name is not None and name not in SCHEDULERS:
        raise unknown_name("scheduler", shown(name), SCHEDULERS)
    return name


def _layers_text(text: str) -> str:
    if text:
        parse_scales(text)
    return text


def _schedule_text(text: str) -> str:
    if text:
        parse(text)
    return text


def _known_strength(name: str) -> str:
    if name and name not in STRENGTHS:
        raise unknown_name("strength", shown(name), STRENGTHS)
    return name


class SamplingParams(KnobModel):
    """What sampling is told. None means: what the model was made for.

    `size`, as "128x96" or (128, 96), stands for width and height.

    Raises:
        SettingsError: A value that cannot be; the message shows it and what would be right.
    """

    seed: int | None = knob(
        "Random seed; drawn and shown if not given.", "--seed", "seed", panel="", ge=0, le=MAX_SEED
    )
    steps: int | None = knob(
        "Denoising steps.", "--steps", "num_inference_steps", of_model=True, ge=1, le=MAX_STEPS
    )
    frames: int | None = knob(
        "Frames; 1 makes a picture.", "--frames", "num_frames", panel="", of_model=True, ge=1, le=MAX_FRAMES
    )
    width: int | None = knob("Width in pixels.", argument="width", of_model=True, ge=1, le=MAX_SIDE)
    height: int | None = knob("Height in pixels.", argument="height", of_model=True, ge=1, le=MAX_SIDE)
    fps: float | None = knob("Frames per second.", "--fps", panel="", of_model=True, gt=0, le=MAX_FPS)
    style_scale: float | None = knob(
        "Strength of the style; 0 leaves it out.",
        "--style-scale",
        "style_scale",
        of_model=True,
        without=1.0,
        unless="strength",
        ge=-1000,
        le=1000,
    )
    strength: Annotated[str, AfterValidator(_known_strength)] = knob(
        "Strength of the style in a word (light, medium, strong), instead of --style-scale.",
        "--strength",
        "strength",
        default="",
        without="",
    )
    style_layers: Annotated[str, AfterValidator(_layers_text)] = knob(
        "Strength of the style by layers, such as down=0.5,mid=1,up=1.",
        "--style-layers",
        "layer_style_scales",
        default="",
        without="",
    )
    style_frames: Annotated[str, AfterValidator(_schedule_text)] = knob(
        "Strength of the style over the clip, such as 0:0,1:1 (from nothing to all).",
        "--style-frames",
        "frame_style_scales",
        default="",
        without="",
    )
    style_steps: Annotated[str, AfterValidator(_schedule_text)] = knob(
        "Strength of the style over the denoising steps, such as 'window(0.3,1)'.",
        "--style-steps",
        "step_style_scales",
        default="",
        without="",
    )
    negative_style_scale: float = knob(
        "Strength of the negative style.",
        "--negative-scale",
        "negative_style_scale",
        default=1.0,
        without=1.0,
        ge=0,
        le=1000,
    )
    text_guidance: float | None = knob(
        "Weight of the prompt.", "--text-guidance", "text_guidance_scale", of_model=True, ge=-1000, le=1000
    )
    style_guidance: float | None = knob(
        "Weight of the style pictures.",
        "--style-guidance",
        "style_guidance_scale",
        of_model=True,
        ge=-1000,
        le=1000,
    )
    published_guidance: bool | None = knob(
        "Read both weights as the published video sampler does, which adds 1 to each.",
        argument="published_guidance",
        of_model=True,
    )
    guidance_rescale: float = knob(
        "Pull the spread of the guided prediction back, 0 (not at all) to 1.",
        argument="guidance_rescale",
        default=0.0,
        ge=0,
        le=1,
    )
    guidance_stop: float | None = knob(
        "Part of the steps that are guided, 0 to 1; the others take a single pass of the model.",
        "--guidance-stop",
        "guidance_stop",
        of_model=True,
        without=1.0,
        ge=0,
        le=1,
    )
    fast: bool = knob(
        "Fewer and cheaper passes, at a loss that was measured; sets what is not said of the knobs that "
        "`stylecrafter models NAME` lists for the model.",
        "--fast",
        "fast",
        panel=SPEED,
        default=False,
        without=False,
    )
    guidance_start: float | None = knob(
        "Part of the steps before guidance begins, 0 to 1; these take a single pass of the model.",
        "--guidance-start",
        "guidance_start",
        panel=SPEED,
        of_model=True,
        without=0.0,
        ge=0,
        le=1,
    )
    guidance_every: int | None = knob(
        "Steps for which what guidance adds is used, once computed; 1 computes it at every step.",
        "--guidance-every",
        "guidance_every",
        panel=SPEED,
        of_model=True,
        without=1,
        ge=1,
        le=MAX_STEPS,
    )
    reuse_every: int | None = knob(
        "Steps for which deep features of a UNet are used, once computed; 1 computes them at every step.",
        "--reuse-every",
        "reuse_every",
        panel=SPEED,
        of_model=True,
        without=1,
        ge=1,
        le=MAX_STEPS,
    )
    reuse_depth: int | None = knob(
        "Fine levels of the UNet that are computed at every step all the same.",
        "--reuse-depth",
        "reuse_depth",
        panel=SPEED,
        of_model=True,
        without=1,
        ge=1,
        le=16,
    )
    skip_threshold: float | None = knob(
        "Change of a transformer's first block, as a part of it, below which a step skips the other blocks; 0: none.",
        "--skip-threshold",
        "skip_threshold",
        panel=SPEED,
        of_model=True,
        without=0.0,
        ge=0,
        le=10,
    )
    shared_noise: float | None = knob(
        "Part of the noise that all frames share, 0 to 1: more is steadier, and moves less.",
        "--shared-noise",
        "shared_noise",
        of_model=True,
        without=0.0,
        ge=0,
        le=1,
    )
    style_corners: bool | None = knob(
        "Read a single style picture by its four corners as well as whole.",
        "--style-corners/--no-style-corners",
        "style_corners",
        of_model=True,
        without=False,
    )
    denoise: float | None = knob(
        "With a video: part of the steps that it is denoised for, 0 (as it is) to 1 (nothing of it is left).",
        "--denoise",
        "denoise",
        panel="Video",
        of_model=True,
        without=1.0,
        ge=0,
        le=1,
    )
    inversion: bool = knob(
        "With a video: begin with the noise that belongs to it (DDIM inversion), not with fresh noise.",
        "--inversion",
        "inversion",
        panel="Video",
        default=False,
    )
    window: int | None = knob(
        "Frames that the model sees at once; longer clips are made in overlapping windows. 0: all.",
        "--window",
        "window",
        of_model=True,
        without=0,
        ge=0,
        le=MAX_FRAMES,
    )
    negative_prompt: Annotated[
        str | None, AfterValidator(lambda text: text and check_text(text, "negative prompt"))
    ] = knob("What not to show.", "--negative", of_model=True, without="")
    scheduler: Annotated[str | None, AfterValidator(_known_scheduler)] = knob(
        "Sampler, such as ddim or dpm++.", "--scheduler"
    )
    eta: float | None = knob(
        "Noise that DDIM adds on the way, 0 to 1.", argument="eta", of_model=True, ge=0, le=1
    )

    @model_validator(mode="before")
    @classmethod
    def _sides(cls, values: Any) -> Any:
        """A size as width and height."""
        if not isinstance(values, dict) or "size" not in values:
            return values
        size = values["size"]
        rest = {name: value for name, value in values.items() if name != "size"}
        if size is None:
            return rest
        if sides := [name for name in ("width", "height") if rest.get(name) is not None]:
            raise InvalidInputError(f"give a size or width and height, not size and {sides[0]}.")
        if isinstance(size, str):
            size = parse_size(size)
        if not isinstance(size, (tuple, list)) or len(size) != 2:
            raise InvalidInputError(f"size must be WIDTHxHEIGHT or two numbers, not {brief(size)}.")
        return {**rest, "width": size[0], "height": size[1]}

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.strength and self.style_scale is not None:
            raise InvalidInputError(
                f"give a strength or a style scale, not both: {self.strength!r} stands for a style scale, and "
                f"{self.style_scale:g} is another."
            )
        return self

    def changed(self, **changes: Any) -> Self:
        """The same with other values; a style scale takes the place of a strength, and the reverse.

        Raises:
            SettingsError: A value that cannot be.
        """
        if changes.get("strength") and "style_scale" not in changes:
            changes["style_scale"] = None
        if changes.get("style_scale") is not None and "strength" not in changes:
            changes["strength"] = ""
        return super().changed(**changes)
