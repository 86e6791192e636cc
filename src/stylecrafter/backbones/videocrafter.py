"""VideoCrafter: clips, with temporal layers between the spatial ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from stylecrafter.backbones.latent_diffusion import LatentDiffusion
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet


class VideoCrafter(LatentDiffusion):
    """`unet` is a `VideoCrafterUNet`; scales are counted down, mid, up."""

    label = "VideoCrafter"
    style_per_frame = True

    @classmethod
    def accepts(cls, denoiser: Any) -> bool:
        return isinstance(denoiser, VideoCrafterUNet)

    def predict(
        self,
        latents: Tensor,
        timestep: Tensor | float | int,
        text: Tensor,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        *,
        temporal: bool | None = None,
        **base_arguments: Any,
    ) -> Tensor:
        return self.denoiser(
            latents, timestep, text, style_tokens, style_scales, temporal=temporal, **base_arguments
        ).sample

    def temporal_parameters(self) -> dict[str, nn.Parameter]:
        chosen = {id(value) for value in self.denoiser.temporal_parameters()}
        return {name: value for name, value in self.denoiser.named_parameters() if id(value) in chosen}
