"""Stable Diffusion 1.x and 2.x: images. Wider texts and velocity, as 2.1 has them, are matters of configs."""

from __future__ import annotations

from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from stylecrafter.backbones.latent_diffusion import LatentDiffusion
from stylecrafter.errors import InvalidInputError


class StableDiffusion(LatentDiffusion):
    """`unet` is diffusers' `UNet2DConditionModel`, as these versions have it; scales are counted down, up, mid."""

    label = "Stable Diffusion"
    pipelines = ("StableDiffusionPipeline", "StableDiffusionControlNetPipeline")
    knobs = {
        "steps": 30,
        "frames": 1,
        "fps": 1.0,
        "text_guidance": 7.5,
        "style_guidance": 5.0,
        "eta": 0.0,
    }
    has_time = False

    @classmethod
    def accepts(cls, denoiser: Any) -> bool:
        # SDXL has the same class, and reads more than a text.
        return isinstance(denoiser, UNet2DConditionModel) and denoiser.config.addition_embed_type is None

    def check(self) -> None:
        super().check()
        config = self.denoiser.config
        for name in ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type"):
            if (value := config.get(name)) is not None:
                raise InvalidInputError(
                    f"the UNet reads more than noisy latents and a text ({name} is {value!r}); models of that kind "
                    "cannot be used"
                )

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
        self.check_inputs(latents, text, style_tokens, style_scales)
        if latents.shape[2] != 1 or temporal:
            raise InvalidInputError(
                f"{self.label} makes images: it has no layers between frames, and takes latents of one frame, "
                f"got {tuple(latents.shape)}"
            )
        if style_tokens is not None:
            # Beside what the caller has for the attention, such as a LoRA's scale.
            base_arguments["cross_attention_kwargs"] = {
                **(base_arguments.get("cross_attention_kwargs") or {}),
                "style_tokens": style_tokens,
                "style_scales": style_scales,
            }
        return self.denoiser(latents[:, :, 0], timestep, text, **base_arguments).sample[:, :, None]
