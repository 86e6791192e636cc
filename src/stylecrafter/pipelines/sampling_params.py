"""The one list of what sampling can be told: every knob with its limits, its names and its words.

A pipeline's call, the command line, the entries of a batch, the record inside a file, replay, evaluation and studies
take these fields or are made from them: a new knob is one more field here, and its use. Importing this loads no torch.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.media.documents import shown
from stylecrafter.pipelines.knobs import Knob, KnobModel, brief
from stylecrafter.pipelines.schedulers import SCHEDULERS
from stylecrafter.runtime.seeding import MAX_SEED

# Models are trained on 1000 noise levels; where sampling starts one above zero, 1000 steps would need 1001.
MAX_STEPS = 999
MAX_FRAMES = 10_000
MAX_SIDE = 16_384
# A tokenizer cuts a prompt after some 75 words; what is given is kept in the file all the same.
MAX_PROMPT_CHARACTERS = 50_000

SAMPLING = "Sampling"


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


def _known_scheduler(name: str | None) -> str | None:
    if name is not None and name not in SCHEDULERS:
        raise unknown_name("scheduler", shown(name), SCHEDULERS)
    return name


class SamplingParams(KnobModel):
    """What sampling is told. None means: what the model was made for.

    `size`, as "128x96" or (128, 96), stands for width and height.

    Raises:
        SettingsError: A value that cannot be; the message shows it and what would be right.
    """

    seed: Annotated[
        int | None,
        Field(ge=0, le=MAX_SEED),
        Knob("Random seed; drawn and shown if not given.", "--seed", argument="seed"),
    ] = None
    steps: Annotated[
        int | None,
        Field(ge=1, le=MAX_STEPS),
        Knob(
            "Denoising steps.", "--steps", SAMPLING, argument="num_inference_steps", default="default_steps"
        ),
    ] = None
    frames: Annotated[
        int | None,
        Field(ge=1, le=MAX_FRAMES),
        Knob("Frames; 1 makes a picture.", "--frames", argument="num_frames", default="default_frames"),
    ] = None
    width: Annotated[
        int | None,
        Field(ge=1, le=MAX_SIDE),
        Knob("Width in pixels.", argument="width", default="default_width"),
    ] = None
    height: Annotated[
        int | None,
        Field(ge=1, le=MAX_SIDE),
        Knob("Height in pixels.", argument="height", default="default_height"),
    ] = None
    fps: Annotated[
        float | None,
        Field(gt=0, le=240),
        Knob("Frames per second.", "--fps", default="default_fps"),
    ] = None
    style_scale: Annotated[
        float,
        Field(ge=-1000, le=1000),
        Knob("Strength of the style; 0 leaves it out.", "--style-scale", SAMPLING, argument="style_scale"),
    ] = 1.0
    text_guidance: Annotated[
        float | None,
        Field(ge=-1000, le=1000),
        Knob(
            "Weight of the prompt.",
            "--text-guidance",
            SAMPLING,
            argument="text_guidance_scale",
            default="default_text_guidance",
        ),
    ] = None
    style_guidance: Annotated[
        float | None,
        Field(ge=-1000, le=1000),
        Knob(
            "Weight of the style pictures.",
            "--style-guidance",
            SAMPLING,
            argument="style_guidance_scale",
            default="default_style_guidance",
        ),
    ] = None
    published_guidance: Annotated[
        bool | None,
        Knob(
            "Read both weights as the published video sampler does, which adds 1 to each.",
            argument="published_guidance",
            default="default_published_guidance",
        ),
    ] = None
    guidance_rescale: Annotated[
        float,
        Field(ge=0, le=1),
        Knob(
            "Pull the spread of the guided prediction back, 0 (not at all) to 1.",
            argument="guidance_rescale",
        ),
    ] = 0.0
    guidance_stop: Annotated[
        float | None,
        Field(ge=0, le=1),
        Knob(
            "Part of the steps that are guided, 0 to 1; the others take a third of the time.",
            "--guidance-stop",
            SAMPLING,
            argument="guidance_stop",
            default="default_guidance_stop",
            without=1.0,
        ),
    ] = None
    shared_noise: Annotated[
        float | None,
        Field(ge=0, le=1),
        Knob(
            "Part of the noise that all frames share, 0 to 1: more is steadier, and moves less.",
            "--shared-noise",
            SAMPLING,
            argument="shared_noise",
            default="default_shared_noise",
            without=0.0,
        ),
    ] = None
    style_corners: Annotated[
        bool | None,
        Knob(
            "Read a single style picture by its four corners as well as whole.",
            "--style-corners/--no-style-corners",
            SAMPLING,
            argument="style_corners",
            default="default_style_corners",
            without=False,
        ),
    ] = None
    negative_prompt: Annotated[
        str,
        AfterValidator(lambda text: check_text(text, "negative prompt")),
        Knob("What not to show.", "--negative", SAMPLING),
    ] = ""
    scheduler: Annotated[
        str | None,
        AfterValidator(_known_scheduler),
        Knob("Sampler, such as ddim or dpm++.", "--scheduler", SAMPLING),
    ] = None
    eta: Annotated[
        float | None,
        Field(ge=0, le=1),
        Knob("Noise that DDIM adds on the way, 0 to 1.", argument="eta", default="default_eta"),
    ] = None

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
