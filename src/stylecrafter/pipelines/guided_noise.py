"""One prediction of a step from up to three passes of the model (equation 2)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from stylecrafter.adapter.style_regions import StyleRegions
from stylecrafter.guidance import guide, needed_passes, published_scales, rescale
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.step_reuse import StepReuse


@dataclass(frozen=True)
class Guidance:
    """How the passes of a step are made and combined; the scales are those of equation 2."""

    text_scale: float
    style_scale: float
    rescale: float
    stop: float
    sequential: bool
    start: float = 0.0

    @classmethod
    def of(cls, params: Any, sequential: bool) -> Guidance:
        """What filled `SamplingParams` say."""
        scales = params.text_guidance, params.style_guidance
        if params.published_guidance:
            scales = published_scales(*scales)
        return cls(*scales, params.guidance_rescale, params.guidance_stop, sequential, params.guidance_start)

    def at(self, step: int, steps: int) -> Guidance:
        """What holds at a step: before `start` and behind `stop` the conditional prediction as it is, which takes a
        single pass (Kynkäänniemi et al. 2024, arXiv 2404.07724)."""
        guided = self.start * steps <= step < self.stop * steps
        return self if guided else replace(self, text_scale=1.0, style_scale=1.0)

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
        reuse: What the steps of a call keep for each other.
        place: Of the latents within the call: a window, or a clip beside it.
    """

    text: Mapping[str, Tensor]
    negative: Mapping[str, Tensor]
    base: Mapping[str, Any]
    null_style: Tensor | None = None
    regions: StyleRegions | None = None
    negative_style: Tensor | None = None
    negative_factors: Tensor | None = None
    reuse: StepReuse = field(default_factory=StepReuse)
    place: tuple[Hashable, ...] = ()

    def within(self, window: slice) -> PassArguments:
        """Those of a part of the clip's latent frames."""
        place = (*self.place, window.start)
        return replace(
            self, place=place, regions=None if self.regions is None else self.regions.frames(window)
        )

    def of_sample(self, index: int) -> PassArguments:
        """Those of a single sample."""
        row = slice(index, index + 1)
        return replace(
            self,
            text={name: value[row] for name, value in self.text.items()},
            negative={name: value[row] for name, value in self.negative.items()},
            null_style=_row(self.null_style, row),
            regions=None if self.regions is None else self.regions.samples(row),
            negative_style=_row(self.negative_style, row),
            negative_factors=_row(self.negative_factors, row),
            place=(*self.place, "sample", index),
        )


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
    reuse = arguments.reuse
    if reuse.by_sample and len(latents) > 1:
        return torch.cat(
            [
                guided_noise(
                    pipe,
                    latents[i : i + 1],
                    timestep,
                    {name: _row(value, slice(i, i + 1)) for name, value in tensors.items()},
                    arguments.of_sample(i),
                    _row(style_factors, slice(i, i + 1)),
                    guidance,
                )
                for i in range(len(latents))
            ]
        )

    def predict(of: Guidance) -> tuple[Tensor, Tensor | None]:
        return _guided(pipe, latents, timestep, tensors, arguments, style_factors, of)

    scales = guidance.text_scale, None if style_factors is None else guidance.style_scale
    difference = reuse.difference(arguments.place, scales)
    if difference is None:
        guided, conditional = predict(guidance)
        if conditional is not None and guided is not conditional:
            reuse.keep(arguments.place, scales, guided - conditional)
    else:
        alone = replace(guidance, text_scale=1.0, style_scale=1.0 if scales[1] else 0.0)
        conditional, _ = predict(alone)
        guided = conditional + difference
    return guided if conditional is None else rescale(guided, conditional, guidance.rescale)


def _guided(
    pipe: StylizedPipelineBase,
    latents: Tensor,
    timestep: Tensor,
    tensors: Mapping[str, Any],
    arguments: PassArguments,
    style_factors: Tensor | None,
    guidance: Guidance,
) -> tuple[Tensor, Tensor | None]:
    """The guided prediction and the conditional one, where that is among its passes."""
    text, negative = tensors["text_embeds"], tensors["negative_text_embeds"]
    style_scale = None if style_factors is None else guidance.style_scale
    needed = needed_passes(guidance.text_scale, style_scale)
    regions = None if style_factors is None else arguments.regions

    def predict(
        name: str, state: Tensor, beside: Mapping[str, Tensor], style: Tensor | None, copies: int = 1
    ) -> Tensor:
        factors = None if style is None else style_factors
        several = [None if x is None else torch.cat([x] * copies) for x in (style, factors)]
        entries = latents if copies == 1 else torch.cat([latents] * copies)
        others: dict[str, Any] = {**beside, **arguments.base}
        if regions is not None and style is not None:
            others["style_regions"] = regions if copies == 1 else regions.twice()
        with arguments.reuse.of_pass((*arguments.place, name)):
            return pipe.predict_noise(entries, timestep, state, several[0], several[1], **others)

    # At steps without style, "no style" is left out as well.
    plain_style = None if style_factors is None else arguments.null_style
    null = with_text = None
    apart = guidance.sequential or negative.shape != text.shape or arguments.negative_style is not None
    apart = apart or arguments.reuse.by_sample
    if needed.null and needed.text and not apart:
        # The pass with style runs on its own: the others have none, or another.
        beside = {k: torch.cat([value, arguments.text[k]]) for k, value in arguments.negative.items()}
        null, with_text = predict("null and text", torch.cat([negative, text]), beside, plain_style, 2).chunk(
            2
        )
    else:
        if needed.null and arguments.negative_style is not None:
            others: dict[str, Any] = {**arguments.negative, **arguments.base}
            style, factors = arguments.negative_style, arguments.negative_factors
            with arguments.reuse.of_pass((*arguments.place, "null")):
                null = pipe.predict_noise(latents, timestep, negative, style, factors, **others)
        elif needed.null:
            null = predict("null", negative, arguments.negative, plain_style)
        if needed.text:
            with_text = predict("text", text, arguments.text, plain_style)
    conditional, styled = with_text, None
    if needed.style:
        styled = conditional = predict("style", text, arguments.text, tensors["style_tokens"])
    return guide(null, with_text, styled, guidance.text_scale, style_scale), conditional


def _row(tensor: Tensor | None, row: slice) -> Tensor | None:
    return None if tensor is None else tensor[row]


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
