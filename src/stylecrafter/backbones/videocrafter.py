"""VideoCrafter: clips, with temporal layers between the spatial ones."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from stylecrafter.backbones.latent_diffusion import LatentDiffusion
from stylecrafter.backbones.step_caches import DeepFeatures, deep_blocks
from stylecrafter.backbones.videocrafter_fast import VIDEOCRAFTER_FAST
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet


class VideoCrafter(LatentDiffusion):
    """`unet` is a `VideoCrafterUNet`; scales are counted down, mid, up."""

    label = "VideoCrafter"
    style_per_frame = True
    fast = VIDEOCRAFTER_FAST

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

    def deep_features(self, every: int, depth: int) -> DeepFeatures:
        return DeepFeatures(deep_blocks(self.denoiser, depth, self.label, _layers), every)

    def temporal_parameters(self) -> dict[str, nn.Parameter]:
        chosen = {id(value) for value in self.denoiser.temporal_parameters()}
        return {name: value for name, value in self.denoiser.named_parameters() if id(value) in chosen}


def _layers(block: Any) -> list[nn.Module]:
    """What a stage of the UNet runs, which it calls one by one; where it samples up, that comes last."""
    lists = (block.resnets, block.attentions, block.temporals, block.downsamplers, block.upsamplers)
    return [layer for layers in lists for layer in cast("nn.ModuleList", layers)]
