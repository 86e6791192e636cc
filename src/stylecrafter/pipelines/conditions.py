"""What a call is about, per prompt: text embeddings, style tokens, factors of the style layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.finite import check_given
from stylecrafter.references.groups import StyleImages, StyleWeights, group_per_sample, weights_per_sample


def text_conditions(
    pipe: StylizedPipelineBase,
    prompt: str | Sequence[str] | None,
    negative_prompt: str | Sequence[str] | None,
    text_embeds: Tensor | None,
    negative_text_embeds: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Embeddings of the prompts and of the negative ones, both (b, l, d).

    Raises:
        InvalidInputError: Neither or both of prompts and embeddings, or numbers of them that do not fit.
    """
    device = pipe._execution_device
    if (prompt is None) == (text_embeds is None):
        raise InvalidInputError("give either a prompt or text_embeds")
    if negative_prompt is not None and negative_text_embeds is not None:
        raise InvalidInputError("give either a negative prompt or negative_text_embeds")
    if prompt is not None:
        text = pipe.encode_text(prompt)
    else:
        text = _three_axes("text_embeds", text_embeds).to(device)
    if negative_text_embeds is not None:
        negative = _three_axes("negative_text_embeds", negative_text_embeds).to(device)
    else:
        negative = pipe.encode_text("" if negative_prompt is None else negative_prompt)
    return text, _per_prompt("negative prompts", negative, text.shape[0])


def style_condition(
    pipe: StylizedPipelineBase,
    pictures: StyleImages | None,
    weights: StyleWeights | None,
    corners: bool,
    prompts: int,
) -> Tensor | None:
    """Style tokens (prompts, q, d) of pictures, or None where there are none.

    Raises:
        InvalidInputError: Pictures or weights that do not fit the prompts.
        ImageReadError: A picture that cannot be read.
    """
    groups = group_per_sample(pictures, prompts)
    rows = weights_per_sample(weights, groups)
    if not groups:
        return None
    alike = rows is None or all(row == rows[0] for row in rows)
    if alike and all(group is groups[0] for group in groups):
        # References that all prompts share, at the same weights, are read once.
        shared = pipe.encode_style(groups[:1], None if rows is None else rows[:1], corners)
        return shared.expand(prompts, -1, -1)
    return pipe.encode_style(groups, rows, corners)


def given_style(pipe: StylizedPipelineBase, style_tokens: Tensor, prompts: int) -> Tensor:
    """Style tokens (prompts, q, d) that the caller brings.

    Raises:
        InvalidInputError: They do not fit the prompts, or the pipeline has no adapter.
    """
    pipe._need_adapter()
    tokens = _three_axes("style_tokens", style_tokens).to(pipe._execution_device)
    return _per_prompt("style tokens", tokens, prompts)


def layer_scales(
    pipe: StylizedPipelineBase, given: Tensor | None, style: Tensor | None, text: Tensor
) -> Tensor | None:
    """Factors (b, L): those that were given, or the predicted ones; None where there is no style.

    Raises:
        InvalidInputError: Factors without a style, or of another shape.
    """
    if given is None:
        return None if style is None else pipe.predict_scales(style, text)
    if style is None:
        raise InvalidInputError("style_scales need a style: give style pictures or style_tokens too")
    layers = pipe._need_adapter().num_layers
    if check_given("style_scales", given).ndim != 2 or given.shape[1] != layers:
        raise InvalidInputError(f"style_scales must be (prompts, {layers}), got {tuple(given.shape)}")
    return _per_prompt("rows of style scales", given.to(style.device), text.shape[0])


def repeated(tensor: Tensor | None, copies: int) -> Tensor | None:
    """Every row `copies` times in a row."""
    return tensor if tensor is None or copies == 1 else tensor.repeat_interleave(copies, dim=0)


def _per_prompt(what: str, tensor: Tensor, prompts: int) -> Tensor:
    if tensor.shape[0] not in (1, prompts):
        raise InvalidInputError(f"got {tensor.shape[0]} {what} for {prompts} prompts; give one or {prompts}")
    return tensor.expand(prompts, *tensor.shape[1:])


def _three_axes(name: str, tensor: Any) -> Tensor:
    if check_given(name, tensor).ndim != 3:
        raise InvalidInputError(f"{name} must be (prompts, tokens, width), got {tuple(tensor.shape)}")
    return tensor
