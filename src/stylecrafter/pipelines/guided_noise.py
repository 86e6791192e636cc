"""One prediction of a step from up to three passes of the model (equation 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stylecrafter.adapter.style_regions import StyleRegions
from stylecrafter.guidance import guide, needed_passes, published_scales, rescale
from stylecrafter.pipelines.base import StylizedPipelineBase


@dataclass(frozen=True)
class Guidance:
    """How the passes of a step are made and combined; the scales are those of equation 2."""

    text_scale: float
    style_scale: float
    rescale: float
    stop: float
    sequential: bool

    @classmethod
    def of(cls, params: Any, sequential: bool) -> Guidance:
        """What filled `SamplingParams` say."""
        scales = params.text_guidance, params.style_guidance
        if params.published_guidance:
            scales = published_scales(*scales)
        return cls(*scales, params.guidance_rescale, params.guidance_stop, sequential)

    def at(self, step: int, steps: int) -> Guidance:
        """What holds at a step: behind `stop` the conditional prediction as it is, which takes a single pass."""
        return self if step < self.stop * steps else replace(self, text_scale=1.0, style_scale=1.0)

    def steered(self, scale: float) -> Guidance:
        """What holds once a callback has set the pipeline's `_guidance_scale`, as those of diffusers do to end
        guidance: up to 1, the conditional prediction as it is."""
        if scale == self.text_scale:
            return self
        return (
            replace(self, text_scale=1.0, style_scale=1.0) if scale <= 1 else replace(self, text_scale=scale)
        )


@dataclass(frozen=True, kw_only=True)
class PassArguments:
    """What passes are given beside states and style, the same at every step.

    Attributes:
        text: Of the prompts, as `Texts.arguments`.
        negative: Of the negative prompts.
        base: Of all passes, for the base model.
        null_style: Tokens (b, q, d) of the passes without style; None: they bypass the adapter.
        regions: Where the styles act; None: everywhere.
        negative_style: Tokens (b, q, d) that the pass without prompt reads instead: what to move away from.
        negative_factors: Theirs, (b, L).
    """

    text: Mapping[str, Tensor]
    negative: Mapping[str, Tensor]
    base: Mapping[str, Any]
    null_style: Tensor | None = None
    regions: StyleRegions | None = None
    negative_style: Tensor | None = None
    negative_factors: Tensor | None = None

    def within(self, window: slice) -> PassArguments:
        """Those of a part of the clip's latent frames."""
        if self.regions is None:
            return self
        return replace(self, regions=self.regions.frames(window))


def guided_noise(
    pipe: StylizedPipelineBase,
    latents: Tensor,
    timestep: Tensor,
    tensors: Mapping[str, Any],
    arguments: PassArguments,
    style_factors: Tensor | None,
    guidance: Guidance,
) -> Tensor:
    """The guided prediction (b, c, f, h, w); passes of weight zero are left out.

    Args:
        pipe: Predicts.
        latents: (b, c, f, h, w), scaled as the scheduler wants its model's input.
        timestep: Of all samples.
        tensors: Text and style by the names that callbacks know.
        arguments: What passes are given beside these.
        style_factors: Of every style layer, (b, L) or (b, f, L); None: no style at this step.
        guidance: What holds at this step.
    """
    text, negative = tensors["text_embeds"], tensors["negative_text_embeds"]
    style_scale = None if style_factors is None else guidance.style_scale
    needed = needed_passes(guidance.text_scale, style_scale)
    regions = None if style_factors is None else arguments.regions

    def predict(state: Tensor, beside: Mapping[str, Tensor], style: Tensor | None, copies: int = 1) -> Tensor:
        factors = None if style is None else style_factors
        several = [None if x is None else torch.cat([x] * copies) for x in (style, factors)]
        entries = latents if copies == 1 else torch.cat([latents] * copies)
        others: dict[str, Any] = {**beside, **arguments.base}
        if regions is not None and style is not None:
            others["style_regions"] = regions if copies == 1 else regions.twice()
        return pipe.predict_noise(entries, timestep, state, several[0], several[1], **others)

    # At steps without style, "no style" is left out as well.
    plain_style = None if style_factors is None else arguments.null_style
    null = with_text = None
    apart = guidance.sequential or negative.shape != text.shape or arguments.negative_style is not None
    if needed.null and needed.text and not apart:
        # The pass with style runs on its own: the others have none, or another.
        beside = {k: torch.cat([value, arguments.text[k]]) for k, value in arguments.negative.items()}
        null, with_text = predict(torch.cat([negative, text]), beside, plain_style, 2).chunk(2)
    else:
        if needed.null and arguments.negative_style is not None:
            others: dict[str, Any] = {**arguments.negative, **arguments.base}
            style, factors = arguments.negative_style, arguments.negative_factors
            null = pipe.predict_noise(latents, timestep, negative, style, factors, **others)
        elif needed.null:
            null = predict(negative, arguments.negative, plain_style)
        if needed.text:
            with_text = predict(text, arguments.text, plain_style)
    conditional, styled = with_text, None
    if needed.style:
        styled = conditional = predict(text, arguments.text, tensors["style_tokens"])
    guided = guide(null, with_text, styled, guidance.text_scale, style_scale)
    return guided if conditional is None else rescale(guided, conditional, guidance.rescale)


def style_factors(
    scales: Tensor | None,
    weight: float,
    frame_weights: tuple[float, ...] | None,
    layer_weights: tuple[float, ...] | None = None,
) -> Tensor | None:
    """Factors per layer (b, L), or per frame and layer (b, f, L); None if the style has no weight at all.

    `scales`: (b, L), or (b, f, L) where the style itself changes from frame to frame. Of r styles in
    regions all are r L, those of `layer_weights` once for each style.
    """
    if scales is None or weight == 0.0:
        return None
    if layer_weights is not None:
        if not any(layer_weights):
            return None
        scales = scales * scales.new_tensor(layer_weights).repeat(scales.shape[-1] // len(layer_weights))
    if frame_weights is None:
        return scales * weight
    if not any(frame_weights):
        return None
    per_frame = scales if scales.ndim == 3 else scales[:, None]
    return per_frame * (weight * scales.new_tensor(frame_weights))[None, :, None]
