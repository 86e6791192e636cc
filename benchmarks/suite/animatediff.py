"""A clip of Stable Diffusion 1.5 with AnimateDiff and an IP-Adapter: diffusers against ours around the same base."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.measure import keeping, psnr, taking_turns
from benchmarks.models import animatediff, ip_adapter
from benchmarks.results import Comparison
from benchmarks.settings import Settings
from stylecrafter import StyleCrafterPipeline

PROMPT = "a dog in a meadow"
GUIDANCE = 7.5
THEIRS, OURS = "diffusers", "ours"


def run(settings: Settings) -> list[Comparison]:
    """Denoising alone, and from prompt and picture to frames."""
    base = animatediff(settings.size, settings.device)
    parts = dict(base.components)
    other = type(base)(**{**parts, "unet": sharing(base.unet), "scheduler": copy.deepcopy(base.scheduler)})
    other.set_progress_bar_config(disable=True)
    weights = ip_adapter(base.unet, base.image_encoder.config.projection_dim)
    base.load_ip_adapter(weights, subfolder="", weight_name="", image_encoder_folder=None)
    base.set_ip_adapter_scale(1.0)
    ours = StyleCrafterPipeline.from_base(other, weights, base.image_encoder)
    ours.set_progress_bar_config(disable=True)

    frames, side, steps = (16, 128, 2) if settings.full else (4, 16, 2)
    pixels = base.vae_scale_factor
    noise = torch.randn(
        (1, 4, frames, side // pixels, side // pixels), generator=torch.Generator().manual_seed(7)
    ).to(settings.device)
    picture = Image.open(settings.picture).convert("RGB")
    call = {
        "num_frames": frames,
        "width": side,
        "height": side,
        "num_inference_steps": steps,
        "latents": noise,
    }
    both = {"text_guidance_scale": GUIDANCE, "style_guidance_scale": GUIDANCE, "published_guidance": False}
    embeds = base.prepare_ip_adapter_image_embeds(picture, None, settings.device, 1, True)
    tokens = ours.encode_style(picture)

    def theirs(output: str, **style: Any) -> Callable[[], Tensor]:
        return lambda: base(
            PROMPT, guidance_scale=GUIDANCE, eta=0.0, output_type=output, **call, **style
        ).frames[0]

    def own(output: str, **style: Any) -> Callable[[], Tensor]:
        return lambda: ours(PROMPT, eta=0.0, output_type=output, **call, **both, **style).frames[0]

    denoising = {
        THEIRS: theirs("latent", ip_adapter_image_embeds=embeds),
        OURS: own("latent", style_tokens=tokens),
    }
    whole = {THEIRS: theirs("pt", ip_adapter_image=picture), OURS: own("pt", style_images=picture)}
    drawn: dict[str, Tensor] = {}
    costs = {
        part: taking_turns(runs, settings.repeats, settings.device)
        for part, runs in (("denoising", denoising), ("end to end", keeping(whole, drawn)))
    }
    quality = {OURS: f"{psnr(drawn[OURS].cpu(), drawn[THEIRS].cpu()):.1f} dB to the first"}
    notes = [
        f"{frames} frames of {side} x {side}, {steps} steps of two passes (a clip has 25 or more), float32, random "
        "weights, the same tensors in both",
        "denoising: latents out, the text is encoded within, the picture before",
    ]
    title = "AnimateDiff with an IP-Adapter"
    return [Comparison(title, part, runs, quality, notes) for part, runs in costs.items()]


def sharing(model: nn.Module) -> nn.Module:
    """A copy of a model that has the same tensors, not equal ones."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
