"""The mathematics of denoising losses, as pure functions."""

from __future__ import annotations

import torch

from stylecrafter.pipelines.noise import mixed_noise


def draw_timesteps(
    n: int, steps: int, middle: float, generator: torch.Generator, shift: float = 1.0
) -> torch.Tensor:
    """n timesteps in 0 … steps - 1, in random order, one per stratum of equal probability (which lowers the variance).

    A part `middle` of them is logit-normal with mean 0 and deviation 1 (Esser et al., arXiv 2403.03206), the others are
    uniform. All are then moved to noisier ones where `shift` is above 1, t' = shift t / (1 + (shift - 1) t) of t in
    [0, 1] (their equation 23).
    """
    count = round(n * middle)
    place = torch.cat([torch.arange(count), torch.arange(n - count)])
    size = torch.tensor([count] * count + [n - count] * (n - count))
    quantiles = (place + torch.rand(n, generator=generator)) / size
    central = torch.sigmoid(torch.special.ndtri(quantiles.clamp(1e-6, 1 - 1e-6)))
    quantiles = torch.where(torch.arange(n) < count, central, quantiles)
    quantiles = shift * quantiles / (1 + (shift - 1) * quantiles)
    timesteps = (quantiles * steps).long().clamp(max=steps - 1)
    return timesteps[torch.randperm(n, generator=generator)]


def scale_logits_penalty(scales: torch.Tensor) -> torch.Tensor:
    """Mean square of what goes into s = 1 + tanh(.), from factors s (n, L) in (0, 2).

    A factor and the gain of the norm that it multiplies have one strength between them, so that nothing keeps the
    factors from growing until tanh is flat and they no longer depend on anything. This does, and the norm takes over.
    """
    return torch.atanh((scales.float() - 1).clamp(-0.9999, 0.9999)).square().mean()


def clip_steps_before(step: int, ratio: float) -> int:
    """How many of the steps 0 … step - 1 show clips, where `ratio` of them do.

    They are spread evenly, so that every part of a run has the mix.
    """
    # In whole millionths: 0.2 has no exact binary form, and products of it round one step off.
    return step * round(ratio * 1_000_000) // 1_000_000


def clip_noise(
    shape: tuple[int, ...], shared: float, generator: torch.Generator, offset: float = 0.0
) -> torch.Tensor:
    """Noise (n, c, f, h, w) of unit variance, a part of which all frames of a clip have in common.

    See `pipelines.noise.mixed_noise`; every clip has a part of its own. A picture, of one frame, has nothing to share.

    Args:
        shape: (n, c, f, h, w).
        shared: The largest part of the variance that is shared; each clip's lies uniformly between 0 and this.
        generator: Draws noise and parts; its device is the noise's.
        offset: Deviation of a number per channel that is added to all of its noise, whose variance grows so (the
            published SDXL recipe has 0.05 in its last round).
    """
    noise = _mixed_noise(shape, shared, generator)
    if not offset:
        return noise
    return noise + offset * torch.randn((*shape[:2], 1, 1, 1), generator=generator, device=generator.device)


def _mixed_noise(shape: tuple[int, ...], shared: float, generator: torch.Generator) -> torch.Tensor:
    device = generator.device
    own = torch.randn(shape, generator=generator, device=device)
    if shape[2] == 1 or shared == 0:
        return own
    parts = torch.rand((shape[0], 1, 1, 1, 1), generator=generator, device=device) * shared
    common = torch.randn((*shape[:2], 1, *shape[3:]), generator=generator, device=device)
    return mixed_noise(own, common, parts)
