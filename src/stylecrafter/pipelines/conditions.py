"""What a call is about, per prompt: text embeddings, style tokens, factors of the style layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stylecrafter.backbones.texts import Texts
from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.finite import check_given
from stylecrafter.references.groups import StyleImages, StyleWeights, group_per_sample, weights_per_sample
from stylecrafter.references.shuffle import DEFAULT_SEED


@dataclass(frozen=True, kw_only=True)
class GivenTexts:
    """Texts as a call brings them: written out, or encoded by the caller."""

    prompt: str | Sequence[str] | None
    negative_prompt: str | Sequence[str] | None
    text_embeds: Tensor | None
    negative_text_embeds: Tensor | None
    pooled_prompt_embeds: Tensor | None = None
    negative_pooled_prompt_embeds: Tensor | None = None


def text_conditions(pipe: StylizedPipelineBase, given: GivenTexts) -> tuple[Texts, Texts]:
    """The prompts and the negative ones, both b of them.

    Raises:
        InvalidInputError: Neither or both of prompts and embeddings, or numbers of them that do not fit.
    """
    g = given
    if (g.prompt is None) == (g.text_embeds is None):
        raise InvalidInputError("give either a prompt or text_embeds")
    if g.negative_text_embeds is not None and g.negative_prompt is not None:
        raise InvalidInputError("give either a negative prompt or negative_text_embeds")
    text = _texts(
        pipe, g.prompt, "text_embeds", g.text_embeds, "pooled_prompt_embeds", g.pooled_prompt_embeds
    )
    negative = _texts(
        pipe,
        None if g.negative_prompt == "" else g.negative_prompt,
        "negative_text_embeds",
        g.negative_text_embeds,
        "negative_pooled_prompt_embeds",
        g.negative_pooled_prompt_embeds,
    )
    if len(negative) not in (1, len(text)):
        raise InvalidInputError(
            f"got {len(negative)} negative prompts for {len(text)} prompts; give one or {len(text)}"
        )
    if text.arguments.keys() != negative.arguments.keys():
        raise InvalidInputError(
            "texts that are given encoded need their pooled embeddings, both or none: got pooled_prompt_embeds "
            f"{'with' if text.arguments else 'without'} the prompts, {'with' if negative.arguments else 'without'} the "
            "negative ones"
        )
    return text, negative.expanded(len(text))


def _texts(
    pipe: StylizedPipelineBase,
    written: str | Sequence[str] | None,
    name: str,
    states: Tensor | None,
    pooled_name: str,
    pooled: Tensor | None,
) -> Texts:
    """Texts that are written out, or the states of encoded ones; nothing at all is no text."""
    device = pipe._execution_device
    if states is None:
        if pooled is not None:
            raise InvalidInputError(f"{pooled_name} go with {name}")
        return pipe.backbone.encode_no_text(device) if written is None else pipe.encode_texts(written)
    states = _three_axes(name, states).to(device)
    if pooled is None:
        return Texts(states)
    if check_given(pooled_name, pooled).ndim != 2 or pooled.shape[0] != states.shape[0]:
        raise InvalidInputError(
            f"{pooled_name} must be ({states.shape[0]}, width), got {tuple(pooled.shape)}"
        )
    return Texts(states, {"pooled_prompt_embeds": pooled.to(device)})


def null_style(pipe: StylizedPipelineBase, style: Tensor | None, prompts: int) -> Tensor | None:
    """Style tokens (prompts, q, d) of the passes without style; None where they run without the adapter, as do those
    of a call that has no style.

    Raises:
        InvalidInputError: The adapter reads them off a picture, and there is no image encoder.
    """
    if style is None:
        return None
    kind = pipe._need_adapter().config["null_style"]
    if kind == "zero_tokens":
        return torch.zeros_like(style)
    if kind == "omit":
        return None
    tokens = pipe.encode_no_style()
    # Styles in regions have the tokens of several, and so has their absence.
    return tokens.repeat(1, style.shape[-2] // tokens.shape[-2], 1).expand(prompts, -1, -1)


def per_latent_frame(weights: tuple[float, ...] | None, frames_per_latent: int) -> tuple[float, ...] | None:
    """Weights of frames as weights of latent frames: the first alone, then the mean of those that share one."""
    if weights is None or frames_per_latent == 1:
        return weights
    first, rest = weights[:1], weights[1:]
    groups = [rest[i : i + frames_per_latent] for i in range(0, len(rest), frames_per_latent)]
    return (*first, *(sum(group) / len(group) for group in groups))


def style_condition(
    pipe: StylizedPipelineBase,
    pictures: StyleImages | None,
    weights: StyleWeights | None,
    corners: bool,
    prompts: int,
    text: Tensor | None = None,
    seed: int = DEFAULT_SEED,
) -> Tensor | None:
    """Style tokens (prompts, q, d) of pictures, or None where there are none; `text` and `seed` as in `encode_style`.

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
        shared = pipe.encode_style(groups[:1], None if rows is None else rows[:1], corners, text, seed=seed)
        return shared.expand(prompts, -1, -1)
    return pipe.encode_style(groups, rows, corners, text, seed=seed)


def given_style(pipe: StylizedPipelineBase, style_tokens: Any, prompts: int) -> Tensor:
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
