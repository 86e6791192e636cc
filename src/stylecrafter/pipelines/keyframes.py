"""Styles that follow each other within a clip: style tokens at some of its frames, and what lies between them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any, cast

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.images import PictureLike
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.conditions import given_style, layer_scales, style_condition
from stylecrafter.pipelines.windows import latent_frames_of
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

    Between two keys the factors change in straight lines, and before the first and after the last they stay. So do the
    tokens where a key has no pictures. Where all have, pictures are read together between their keys, weighted by how
    near each key is: this moves at a more even pace (docs/notes/style_blends.md).

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
    places = moments(keyframes, params.frames)
    styles = [_checked(style) for _, style in keyframes]
    frames = latent_frames_of(pipe.backbone, params.frames)
    if len(styles) > 1:
        _check_room(pipe, len(styles), frames)
    prompts = text.shape[0]
    # The factors belong to the styles at the keys.
    tokens = [_tokens(pipe, style, params.style_corners, text) for style in styles]
    factors = [cast("Tensor", layer_scales(pipe, style_scales, style, text)) for style in tokens]
    if len(styles) == 1:
        return tokens[0], factors[0]
    pictures = [style for style in styles if isinstance(style, list)]
    if len(pictures) == len(styles) and not pipe._need_adapter().needs:
        between = read_between(pipe, pictures, shares_of(places, frames), params.style_corners)
        style = between[None].expand(prompts, -1, -1, -1)
    else:
        style = along(tokens, places, frames)
    return style, along(factors, places, frames)


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


def shares_of(places: Sequence[float], frames: int) -> Tensor:
    """How much each of k keys counts at each frame, in straight lines: (frames, k), rows add up to 1."""
    rows = [
        straight_lines(*((place, float(k == i)) for k, place in enumerate(places))).at(frames)
        for i in range(len(places))
    ]
    return torch.tensor(rows).T


def along(values: Sequence[Tensor], places: Sequence[float], frames: int) -> Tensor:
    """(b, f, …) from the values (b, …) at places in [0, 1], in straight lines."""
    shares = shares_of(places, frames).to(values[0])
    return torch.einsum("fk,kb...->bf...", shares, torch.stack(list(values)))


def read_between(
    pipe: StylizedPipelineBase, styles: Sequence[Sequence[PictureLike]], shares: Tensor, corners: bool
) -> Tensor:
    """Style tokens (f, q, d) of pictures that are read together, those of each style counted by its share.

    Args:
        pipe: Reads each picture once.
        styles: The pictures of k styles.
        shares: (f, k).
        corners: Whether a style of one picture is read by its corners too.
    """
    adapter = pipe._need_adapter()
    groups: list[list[PictureLike]] = [list(style) for style in styles]
    if corners:
        groups, _ = pipe._with_corners(groups, None)
    tokens = pipe.encode_image([picture for group in groups for picture in group])
    counts = torch.tensor([len(group) for group in groups])
    # At its own key a style is what it is alone: each of its pictures counts 1, and those of the others nothing.
    per_picture = shares.repeat_interleave(counts, dim=1)
    weights = per_picture.repeat_interleave(tokens.shape[1], dim=1).to(tokens.device)
    packed = tokens.flatten(0, 1)[None].expand(len(shares), -1, -1)
    return adapter.encode(packed.to(adapter.dtype), token_weights=weights)


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


def _checked(style: Any) -> Tensor | list[PictureLike]:
    """Style tokens as they are, pictures as a list."""
    if isinstance(style, Tensor):
        return style
    pictures = list(style) if isinstance(style, (list, tuple)) else [style]
    if not pictures or any(isinstance(picture, (list, tuple)) for picture in pictures):
        raise InvalidInputError("a style keyframe needs a picture, a list of pictures, or style tokens")
    return pictures


def _check_room(pipe: StylizedPipelineBase, styles: int, frames: int) -> None:
    """Refuse several styles where frames cannot have their own."""
    if frames == 1:
        raise InvalidInputError(f"a clip of one frame has one style, got {styles} style keyframes")
    if not pipe.backbone.style_per_frame:
        raise InvalidInputError(
            f"{pipe.backbone.label} reads one style for all frames of a clip, so styles cannot follow each other"
        )
    if pipe._need_adapter()._frame_scales is not None:
        raise InvalidInputError(
            "the adapter has frame scales of its own, which styles that follow each other do not go with: call "
            "set_scale() without them, and give frame_style_scales"
        )


def _tokens(
    pipe: StylizedPipelineBase, style: Tensor | list[PictureLike], corners: bool, text: Tensor
) -> Tensor:
    prompts = text.shape[0]
    if isinstance(style, Tensor):
        return given_style(pipe, style, prompts)
    return cast("Tensor", style_condition(pipe, style, None, corners, prompts, text))
