"""What nodes are set to, as options of the command. What is left to the model is no option at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .command import StyleCrafterError
from .frames import save_pictures

MODELS_OWN = "model's own"
"""A choice, where a text is empty and a number is 0."""

_FLAGS = {
    "steps": "--steps",
    "frames": "--frames",
    "fps": "--fps",
    "style_scale": "--style-scale",
    "strength": "--strength",
    "style_layers": "--style-layers",
    "style_frames": "--style-frames",
    "style_steps": "--style-steps",
    "negative_style_scale": "--negative-scale",
    "text_guidance": "--text-guidance",
    "style_guidance": "--style-guidance",
    "guidance_stop": "--guidance-stop",
    "guidance_start": "--guidance-start",
    "guidance_every": "--guidance-every",
    "reuse_every": "--reuse-every",
    "reuse_depth": "--reuse-depth",
    "skip_threshold": "--skip-threshold",
    "shared_noise": "--shared-noise",
    "negative": "--negative",
    "scheduler": "--scheduler",
    "start": "--start",
    "duration": "--duration",
    "window": "--window",
}
#: Numbers that may well be 0, and hence are texts: an empty one is the model's own.
TEXT_NUMBERS = (
    "style_scale",
    "negative_style_scale",
    "text_guidance",
    "style_guidance",
    "guidance_stop",
    "shared_noise",
    "window",
    "guidance_start",
    "skip_threshold",
)


def model_options(model: dict[str, Any]) -> list[str]:
    """Those of a model's node; "auto" and an empty text are left out."""
    names = ("model", "adapter", "image_encoder", "motion_adapter", "config", "device", "dtype")
    set_ones = [(name, model[name].strip()) for name in names if model[name].strip() not in ("", "auto")]
    return [word for name, value in set_ones for word in (f"--{name.replace('_', '-')}", value)]


def style_options(style: list[dict[str, Any]], folder: Path) -> list[str]:
    """One --style for every picture, written into `folder`, and for every saved style, by its name.

    Weights are said only where they differ from 1.
    """
    pairs = _pairs(style, folder)
    options = [word for value, _ in pairs for word in ("--style", value)]
    if any(weight != 1 for _, weight in pairs):
        options += [word for _, weight in pairs for word in ("--style-weight", f"{weight:g}")]
    return options


def style_paths(style: list[dict[str, Any]], folder: Path) -> list[str]:
    """The same for the entries of a batch, which know no weights."""
    pairs = _pairs(style, folder)
    if len({weight for _, weight in pairs}) > 1:
        raise StyleCrafterError("a list of prompts reads its style pictures with equal weights.")
    return [value for value, _ in pairs]


def _pairs(style: list[dict[str, Any]], folder: Path) -> list[tuple[str, float]]:
    """What the command is told of each style, and its weight."""
    pairs: list[tuple[str, float]] = []
    for number, one in enumerate(style, start=1):
        names = [one["name"]] if "name" in one else save_pictures(one["images"], folder, f"style{number}")
        pairs += [(str(name), weight) for name, weight in zip(names, one["weights"], strict=True)]
    return pairs


def knob_options(knobs: dict[str, Any]) -> list[str]:
    """Those of sampling, by the names of the nodes' inputs; others are not looked at."""
    options = ["--seed", str(knobs["seed"])] if "seed" in knobs else []
    for name, flag in _FLAGS.items():
        value = knobs.get(name, "")
        text = (
            value.strip()
            if isinstance(value, str)
            else f"{value:g}"
            if isinstance(value, float)
            else str(value)
        )
        if value and text not in ("", MODELS_OWN):
            options += [flag, text]
    corners = knobs.get("style_corners", MODELS_OWN)
    if corners != MODELS_OWN:
        options.append("--style-corners" if corners == "on" else "--no-style-corners")
    options += [f"--{name}" for name in ("inversion", "fast") if knobs.get(name, False)]
    return options + _size(knobs.get("width", 0), knobs.get("height", 0))


def _size(width: int, height: int) -> list[str]:
    if bool(width) != bool(height):
        raise StyleCrafterError(f"give width and height, or 0 for both, not {width}x{height}.")
    return ["--size", f"{width}x{height}"] if width else []


def check_text_numbers(texts: dict[str, Any]) -> bool | str:
    """True, or what is wrong with a text that should be a number, for ComfyUI to show."""
    for name, text in texts.items():
        if isinstance(text, str) and text.strip() and _number(text) is None:
            return f"{name.replace('_', ' ')} must be a number, or empty for the model's own, not {text!r}"
    return True


def read_weights(text: str, weight: float, count: int) -> list[float]:
    """One for every picture of a batch: those of the text, or the same for all.

    Raises:
        StyleCrafterError: Not as many as there are pictures, or no numbers from 0 on.
    """
    words = text.replace(",", " ").split()
    if not words:
        return [weight] * count
    numbers = [_number(word) for word in words]
    if len(words) != count or any(number is None or number < 0 for number in numbers):
        raise StyleCrafterError(
            f"weights must be {count} numbers from 0 on, one for every picture, not {text!r}."
        )
    return [weight * number for number in numbers if number is not None]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
