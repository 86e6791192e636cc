"""A whole clip by the published procedure: DDIM, three passes on their own in every step, frames decoded one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Conditions:
    """What the passes read: states of the prompt and of no prompt (1, l, d), style (1, q, d), factors (1, L)."""

    text: Tensor
    empty: Tensor
    style: Tensor
    scales: Tensor


def conditions_of(pipe: Any, prompt: str, picture: Any) -> Conditions:
    """Read by the encoders of a pipeline of ours, once: as the published code does it, too."""
    text, empty = pipe.encode_text(prompt), pipe.encode_text("")
    style = pipe.encode_style(picture)
    return Conditions(text, empty, style, pipe.predict_scales(style, text))


@torch.no_grad()
def sampled(
    unet: Callable[..., Tensor],
    noise: Tensor,
    conditions: Conditions,
    scheduler: Any,
    steps: int,
    scales: tuple[float, float] = (15.0, 7.5),
) -> Tensor:
    """Latents after `steps` steps from noise (1, c, f, h, w).

    Args:
        unet: `PublishedUNet`.
        noise: To begin with.
        conditions: What the passes read.
        scheduler: A DDIM scheduler of diffusers, set to its steps; only its tables are used.
        steps: How many of its steps are taken.
        scales: Of text and style, in the published form of guidance.
    """
    x, (by_text, by_style) = noise, scales
    for t in scheduler.timesteps[:steps]:
        time = t.reshape(1).to(noise.device)
        null = unet(x, time, conditions.empty)
        text = unet(x, time, conditions.text)
        both = unet(x, time, conditions.text, conditions.style, conditions.scales)
        predicted = both + by_style * (both - text) + by_text * (text - null)
        x = _ddim(scheduler, predicted, int(t), x)
    return x


def _ddim(scheduler: Any, predicted: Tensor, t: int, x: Tensor) -> Tensor:
    """One step without noise (eta 0)."""
    before = t - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    alpha = scheduler.alphas_cumprod[t].to(x.device)
    alpha_before = scheduler.alphas_cumprod[before] if before >= 0 else scheduler.final_alpha_cumprod
    if scheduler.config.prediction_type == "v_prediction":
        clean = alpha.sqrt() * x - (1 - alpha).sqrt() * predicted
        noise = alpha.sqrt() * predicted + (1 - alpha).sqrt() * x
    else:
        clean = (x - (1 - alpha).sqrt() * predicted) / alpha.sqrt()
        noise = predicted
    alpha_before = alpha_before.to(x.device)
    return alpha_before.sqrt() * clean + (1 - alpha_before).sqrt() * noise


@torch.no_grad()
def decoded(vae: Any, latents: Tensor) -> Tensor:
    """Frames (f, 3, H, W) in [0, 1] of latents (1, c, f, h, w), one at a time."""
    unscaled = latents / vae.config.scaling_factor
    frames = torch.cat([vae.decode(unscaled[:, :, i]).sample for i in range(latents.shape[2])])
    return (frames / 2 + 0.5).clamp(0, 1)
