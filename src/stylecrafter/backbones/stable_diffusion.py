"""Stable Diffusion 1.x and 2.x: images. Wider texts and velocity, as 2.1 has them, are matters of configs."""

from __future__ import annotations

from typing import Any

from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from stylecrafter.backbones.latent_diffusion import LatentDiffusion
from stylecrafter.backbones.step_caches import DeepFeatures, deep_blocks
from stylecrafter.errors import InvalidInputError

#: Of a UNet's config: what says that it reads more than noisy latents and a text.
_READS_MORE = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "time_cond_proj_dim")


class StableDiffusion(LatentDiffusion):
    """`unet` is diffusers' `UNet2DConditionModel`, as these versions have it; scales are counted down, up, mid.

    With a `controlnet`, `predict` takes `control_image`.
    """

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
    #: As published for DeepCache (arXiv 2312.00858) and guidance in an interval (2404.07724); not measured here.
    fast = {"steps": 20, "guidance_stop": 0.8, "reuse_every": 2}
    has_time = False
    for_clips = "with motion modules (--motion-adapter) version 1.5 makes clips, which is AnimateDiff"

    @classmethod
    def accepts(cls, denoiser: Any) -> bool:
        # SDXL has the same class, and reads more than a text.
        return isinstance(denoiser, UNet2DConditionModel) and denoiser.config.addition_embed_type is None

    @property
    def pipeline(self) -> str:
        plain, with_control = self.pipelines[:2]
        return plain if self.components.get("controlnet") is None else with_control

    def check(self) -> None:
        super().check()
        config = self.denoiser.config
        for name in _READS_MORE:
            if (value := config.get(name)) is not None:
                raise InvalidInputError(
                    f"the UNet reads more than noisy latents and a text ({name} is {value!r}); models of that kind "
                    "cannot be used"
                )
        self._check_controlnet(self.components.get("controlnet"))

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
        """As `Backbone.predict`, with `control_image` and `control_scale` as `arguments` takes them."""
        self.check_inputs(latents, text, style_tokens, style_scales)
        if latents.shape[2] != 1 or temporal:
            raise InvalidInputError(
                f"{self.label} makes images: it has no layers between frames, and takes latents of one frame, "
                f"got {tuple(latents.shape)}"
            )
        sample = latents[:, :, 0]
        given = self.arguments(sample, timestep, text, style_tokens, style_scales, **base_arguments)
        return self.denoiser(sample, timestep, text, **given).sample[:, :, None]

    def deep_features(self, every: int, depth: int) -> DeepFeatures:
        return DeepFeatures(deep_blocks(self.denoiser, depth, self.label, lambda block: [block]), every)

    def arguments(
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        text: Tensor,
        style_tokens: Tensor | None,
        style_scales: Tensor | None,
        *,
        control_image: Tensor | None = None,
        control_scale: float = 1.0,
        **base_arguments: Any,
    ) -> dict[str, Any]:
        """What the UNet is given beside n maps (n, c, h, w), time and text: the style, `base_arguments`, and what the
        ControlNet makes of `control_image` (1 or a divisor of n, 3, H, W) in [0, 1], counted `control_scale`."""
        if control_image is not None:
            added = base_arguments.get("added_cond_kwargs")
            image = control_image.to(sample).repeat(len(sample) // len(control_image), 1, 1, 1)
            down, middle = self.component("controlnet")(
                sample,
                timestep,
                text,
                image,
                control_scale,
                **({} if added is None else {"added_cond_kwargs": added}),
                return_dict=False,
            )
            base_arguments |= {
                "down_block_additional_residuals": down,
                "mid_block_additional_residual": middle,
            }
        if style_tokens is not None:
            # Beside what the caller has for the attention, such as a LoRA's scale.
            base_arguments["cross_attention_kwargs"] = {
                **(base_arguments.get("cross_attention_kwargs") or {}),
                "style_tokens": style_tokens,
                "style_scales": style_scales,
            }
        return base_arguments

    def _check_controlnet(self, controlnet: Any) -> None:
        if controlnet is None:
            return
        if not isinstance(controlnet, ControlNetModel):
            raise InvalidInputError(f"a single ControlNetModel can be used, got {type(controlnet).__name__}")
        if controlnet.config.global_pool_conditions:
            raise InvalidInputError(
                "ControlNets that pool their image (global_pool_conditions) cannot be used"
            )
        if (read := controlnet.config.cross_attention_dim) != self.text_dim:
            raise InvalidInputError(
                f"the ControlNet reads texts of width {read}, the UNet of width {self.text_dim}: they are of different "
                "base models"
            )
