"""Styles that follow each other within a clip: style tokens at some of its frames, and what lies between them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any, cast

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.conditions import given_style, layer_scales, style_condition
from stylecrafter.schedules import keyframes as straight_lines

#: (where, style) pairs; a style is a picture, a list of pictures that are read together, or style tokens.
StyleKeyframes = Sequence[tuple[float, Any]]


def keyframed_style(
    pipe: StylizedPipelineBase,
    keyframes: StyleKeyframes,
    style_scales: Tensor | None,
    text: Tensor,
    params: Any,
) -> tuple[Tensor | None, Tensor | None]:
    """Style tokens and factors of the style layers, for every latent frame.

    Between two keys both change in straight lines; before the first and after the last they stay.

    Args:
        pipe: Reads the pictures and predicts the factors.
        keyframes: See `moments` for where they are.
        style_scales: Factors (1 or prompts, L) for the whole clip; None: predicted at each key.
        text: States (prompts, l, d).
        params: Filled `SamplingParams`.

    Returns:
        Tokens (prompts, f, q, d) and factors (prompts, f, L); without the axis of frames where all are the same.

    Raises:
        InvalidInputError: Keys that cannot be, a base model that reads one style for all frames, or frame scales
            that were set at the adapter.
        ImageReadError: A style picture that cannot be read.
    """
    prompts = text.shape[0]
    places = moments(keyframes, params.frames)
    styles = [_tokens(pipe, style, params.style_corners, prompts) for _, style in keyframes]
    factors: list[Tensor] = [
        cast("Tensor", layer_scales(pipe, style_scales, style, text)) for style in styles
    ]
    frames = pipe.backbone.latent_shape(params.frames, params.height, params.width)[1]
    if len(styles) == 1:
        return styles[0], factors[0]
    if frames == 1:
        raise InvalidInputError(f"a clip of one frame has one style, got {len(styles)} style keyframes")
    if not pipe.backbone.style_per_frame:
        raise InvalidInputError(
            f"{pipe.backbone.label} reads one style for all frames of a clip, so styles cannot follow each other"
        )
    if pipe._need_adapter()._frame_scales is not None:
        raise InvalidInputError(
            "the adapter has frame scales of its own, which styles that follow each other do not go with: call "
            "set_scale() without them, and give frame_style_scales"
        )
    return along(styles, places, frames), along(factors, places, frames)


def moments(keyframes: StyleKeyframes, frames: int) -> list[float]:
    """Where keys are, in [0, 1]: a whole number is a frame, counted from 0; another number is a part of the clip.

    Raises:
        InvalidInputError: No keys, no pairs, places outside of the clip, or not rising.
    """
    pairs = isinstance(keyframes, (list, tuple)) and all(
        isinstance(key, (list, tuple)) and len(key) == 2 for key in keyframes
    )
    if not pairs or not keyframes:
        raise InvalidInputError(
            'style_keyframes is a list of (where, style), such as [(0.0, "a.png"), (1.0, "b.png")], '
            f"got {type(keyframes).__name__}"
        )
    places = [_moment(where, frames) for where, _ in keyframes]
    if any(a >= b for a, b in zip(places, places[1:], strict=False)):
        raise InvalidInputError(
            f"style_keyframes must rise from one to the next, got {[w for w, _ in keyframes]} in {frames} frames"
        )
    return places


def along(values: Sequence[Tensor], places: Sequence[float], frames: int) -> Tensor:
    """(b, f, …) from the values (b, …) at places in [0, 1], in straight lines."""
    shares = [
        straight_lines(*((place, float(k == i)) for k, place in enumerate(places))).at(frames)
        for i in range(len(places))
    ]
    return torch.einsum("kf,kb...->bf...", values[0].new_tensor(shares), torch.stack(list(values)))


def _moment(where: Any, frames: int) -> float:
    try:
        frame = None if isinstance(where, bool) else operator.index(where)
    except TypeError:
        frame = None
    if frame is not None and 0 <= frame < frames:
        return frame / (frames - 1) if frames > 1 else 0.0
    part = float(where) if isinstance(where, Real) and not isinstance(where, bool) else -1.0
    if frame is None and 0 <= part <= 1:
        return part
    raise InvalidInputError(
        f"a style keyframe is at a frame from 0 to {frames - 1} (a whole number) or at a part of the clip from 0.0 "
        f"to 1.0, got {where!r}"
    )


def _tokens(pipe: StylizedPipelineBase, style: Any, corners: bool, prompts: int) -> Tensor:
    if isinstance(style, Tensor):
        return given_style(pipe, style, prompts)
    pictures = list(style) if isinstance(style, (list, tuple)) else [style]
    if not pictures or any(isinstance(picture, (list, tuple)) for picture in pictures):
        raise InvalidInputError("a style keyframe needs a picture, a list of pictures, or style tokens")
    return cast("Tensor", style_condition(pipe, pictures, None, corners, prompts))
