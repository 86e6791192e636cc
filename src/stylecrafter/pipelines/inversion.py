"""DDIM inversion: the noise from which deterministic sampling without guidance draws a given clip again.

DDIM (Song et al. 2020, "Denoising Diffusion Implicit Models", section 4.3) follows an ordinary differential equation,
which can be followed backwards as well. With x_t = alpha_t x_0 + sigma_t noise and z = x / alpha it reads

    dz = noise(x_t) dr,    r = sigma / alpha,

and so it is solved here, step by step from the clean clip up. The noise is read off what the base model predicts,
be that noise, velocity or flow: the seam says what noisy latents are (`Backbone.add_noise`) and what is to be predicted
of them (`Backbone.target`), both linear in clip and noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stylecrafter.backbones.protocol import Backbone
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.guided_noise import Guidance, PassArguments
from stylecrafter.pipelines.windows import windowed_noise

#: What the base model predicts of noisy latents (b, c, f, h, w) at a timestep.
Predict = Callable[[Tensor, Tensor], Tensor]


def invert(
    backbone: Backbone, predict: Predict, clean: Tensor, timesteps: Sequence[Tensor], final: float
) -> Tensor:
    """The noise (b, c, f, h, w) that belongs to a clip at the first of the timesteps.

    Args:
        backbone: Says what noisy latents and predictions are.
        predict: Of noisy latents at a timestep, without guidance.
        clean: Latents of the clip.
        timesteps: Those that sampling will take, from noise to clean; the nearest whole ones are asked.
        final: r where sampling ends, see `final_ratio`.
    """
    noise = torch.zeros_like(clean)
    alpha = 1 / math.sqrt(1 + final**2)
    x, sigma = clean, final * alpha
    for timestep in reversed(distinct(timesteps)):
        before, (alpha, sigma) = (alpha, sigma), _levels(backbone.add_noise, timestep, clean)
        # Sampling will ask the model where this step ends: the last noise tells about where that is.
        kept, added = alpha / before[0], sigma - alpha * before[1] / before[0]
        guess = kept * x + added * noise
        noise = _noise_in(backbone, predict(guess, timestep), guess, timestep, alpha, sigma)
        x = kept * x + added * noise
    # What makes of the clip the latents that were reached, not what was predicted last.
    return (x - alpha * clean) / sigma if sigma else noise


def final_ratio(scheduler: Any) -> float:
    """sigma / alpha where a sampler ends: 0, but for those of DDIM's kind that stop at the first noise level."""
    final = getattr(scheduler, "final_alpha_cumprod", None)
    return 0.0 if final is None else math.sqrt(float(1 - final) / float(final))


def text_only(
    windows: Sequence[slice],
    pipe: StylizedPipelineBase,
    tensors: Mapping[str, Any],
    arguments: PassArguments,
) -> Predict:
    """What the base model predicts from the text alone, by windows: no style, no guidance."""
    plain = Guidance(text_scale=1.0, style_scale=1.0, rescale=0.0, stop=1.0, sequential=False)

    def predict(latents: Tensor, timestep: Tensor) -> Tensor:
        return windowed_noise(windows, pipe, latents, timestep, tensors, arguments, None, plain)

    return predict


def distinct(timesteps: Sequence[Tensor]) -> list[Tensor]:
    """Whole timesteps, each once: samplers of second order take most of them twice."""
    whole = [timestep.round().long() for timestep in timesteps]
    return [t for number, t in enumerate(whole) if number == 0 or t != whole[number - 1]]


def _levels(
    mix: Callable[[Tensor, Tensor, Tensor], Tensor], timestep: Tensor, like: Tensor
) -> tuple[float, float]:
    """The factors of clip and noise in what is linear in both."""
    one, none = like.new_ones(1, 1, 1, 1, 1), like.new_zeros(1, 1, 1, 1, 1)
    times = timestep.reshape(1)
    return float(mix(one, none, times)), float(mix(none, one, times))


def _noise_in(
    backbone: Backbone, predicted: Tensor, x: Tensor, timestep: Tensor, alpha: float, sigma: float
) -> Tensor:
    """The noise, from x = alpha clip + sigma noise and predicted = p clip + q noise."""
    p, q = _levels(backbone.target, timestep, x)
    return (alpha * predicted - p * x) / (alpha * q - sigma * p)
