"""Styles that act in parts of the picture: tokens, factors and masks of a call with `style_masks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from stylecrafter.adapter.style_regions import StyleRegions
from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.conditions import given_style, layer_scales, style_condition
from stylecrafter.pipelines.keyframes import StyleKeyframes, keyframed_style
from stylecrafter.pipelines.windows import latent_frames_of
from stylecrafter.references.groups import StyleImages, StyleWeights, group_per_sample, weights_per_sample
from stylecrafter.references.masks import StyleMasks, mask_on_latents, masks_per_sample, read_mask

#: Tokens (prompts, r q, d) and factors (prompts, r L) of r styles, and where they act.
Regional = tuple[Tensor | None, Tensor | None, StyleRegions | None]


@dataclass(frozen=True, kw_only=True)
class GivenStyles:
    """Styles as a call brings them; see the arguments of `StyleCrafterPipeline.__call__`."""

    pictures: StyleImages | None
    weights: StyleWeights | None
    tokens: Tensor | Sequence[Tensor] | None
    scales: Tensor | None
    seed: int
    keyframes: StyleKeyframes | None = None


def style_of_call(
    pipe: StylizedPipelineBase, masks: StyleMasks | None, given: GivenStyles, text: Tensor, params: Any
) -> Regional:
    """The style of a call; with masks one for the whole style, or one for each of several styles.

    Masks of 1 alone are as none. A style that acts nowhere is left out; where none is left, there is no style.

    Args:
        pipe: Reads pictures and predicts factors.
        masks: In the forms of `references.masks`.
        given: What the masks are for.
        text: States (prompts, l, d).
        params: Filled `SamplingParams`.

    Raises:
        InvalidInputError: Masks that do not fit the clip or the styles, or that have no style.
        ImageReadError: A picture that cannot be read.
    """
    maps = None if masks is None else _on_latents(pipe, masks_per_sample(masks, text.shape[0]), params)
    count = 1 if maps is None else maps.shape[1]
    if given.keyframes is not None:
        if count > 1:
            raise InvalidInputError(f"styles that follow each other have one mask, got {count} style masks")
        styles = [keyframed_style(pipe, given.keyframes, given.scales, text, params)]
    elif count == 1:
        style = whole_style(pipe, given, text, params.style_corners)
        styles = [(style, layer_scales(pipe, given.scales, style, text))]
    else:
        styles = _styles(pipe, given, count, params.style_corners, text)
    if maps is None:
        return *styles[0], None
    if styles[0][0] is None:
        raise InvalidInputError("style_masks need a style: give style pictures or style_tokens too")
    kept = [r for r in range(count) if bool(maps[:, r].any())]
    if not kept:
        return None, None, None
    tokens, factors = (_joined([cast("Tensor", styles[r][k]) for r in kept]) for k in (0, 1))
    everywhere = len(kept) == 1 and bool((maps[:, kept] == 1).all())
    return tokens, factors, None if everywhere else StyleRegions(maps[:, kept])


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, 1)


def whole_style(pipe: StylizedPipelineBase, given: GivenStyles, text: Tensor, corners: bool) -> Tensor | None:
    """Tokens (prompts, q, d) of all pictures read together, or those that the caller brings; None without a style.

    Raises:
        InvalidInputError: Pictures, weights or tokens that do not fit the prompts.
        ImageReadError: A picture that cannot be read.
    """
    prompts = text.shape[0]
    if given.tokens is None:
        return style_condition(pipe, given.pictures, given.weights, corners, prompts, text, given.seed)
    several = given.tokens if isinstance(given.tokens, (list, tuple)) else [given.tokens]
    if len(several) != 1:
        raise InvalidInputError(
            f"got {len(several)} style_tokens; a list of them needs a style mask for each"
        )
    return given_style(pipe, several[0], prompts)


def _on_latents(pipe: StylizedPipelineBase, masks: Sequence[Sequence[Any]], params: Any) -> Tensor:
    """(prompts, r, 1 or f, h, w); masks that prompts share are read once."""
    backbone = pipe.backbone
    size = params.width, params.height
    grid = (
        latent_frames_of(backbone, params.frames),
        *backbone.latent_shape(1, params.height, params.width)[2:],
    )

    def placed(row: Sequence[Any]) -> Tensor:
        maps = [
            mask_on_latents(read_mask(mask), size, params.frames, grid, backbone.frames_per_latent)
            for mask in row
        ]
        return torch.stack([m.expand(max(len(m) for m in maps), -1, -1) for m in maps])

    if all(row is masks[0] for row in masks):
        return placed(masks[0]).expand(len(masks), -1, -1, -1, -1).to(pipe._execution_device)
    rows = [placed(row) for row in masks]
    most = max(row.shape[1] for row in rows)
    return torch.stack([row.expand(-1, most, -1, -1) for row in rows]).to(pipe._execution_device)


def _styles(
    pipe: StylizedPipelineBase, given: GivenStyles, count: int, corners: bool, text: Tensor
) -> list[tuple[Tensor | None, Tensor | None]]:
    """Tokens and factors of as many styles as there are masks; the weight of a picture multiplies its factors."""
    prompts = text.shape[0]
    if given.tokens is not None:
        several = given.tokens if isinstance(given.tokens, (list, tuple)) else [given.tokens]
        _check_count(count, len(several), "style_tokens (as a list)")
        weights = weights_per_sample(given.weights, [[""] * count])
        factors = [1.0] * count if weights is None else weights[0]
        styles = [given_style(pipe, tokens, prompts) for tokens in several]
        pairs = zip(styles, factors, strict=True)
        return [
            (style, cast("Tensor", layer_scales(pipe, given.scales, style, text)) * factor)
            for style, factor in pairs
        ]
    groups = group_per_sample(given.pictures, prompts)
    rows = weights_per_sample(given.weights, groups)
    for group in groups:
        _check_count(count, len(group), "style pictures")
    if not groups:
        return [(None, None)]
    shared = all(group is groups[0] for group in groups)
    found: list[tuple[Tensor | None, Tensor | None]] = []
    for r in range(count):
        own = [groups[0][r]] if shared else [[group[r]] for group in groups]
        style = cast("Tensor", style_condition(pipe, own, None, corners, prompts, text, given.seed))
        scales = cast("Tensor", layer_scales(pipe, given.scales, style, text))
        if rows is not None:
            scales = scales * scales.new_tensor([row[r] for row in rows])[:, None]
        found.append((style, scales))
    return found


def _check_count(masks: int, styles: int, what: str) -> None:
    if masks != styles:
        raise InvalidInputError(
            f"need one style mask for all {what}, or one for each: got {masks} masks, {styles} {what}"
        )
