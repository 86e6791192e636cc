"""AnimateDiff: Stable Diffusion 1.5 with motion modules between its layers, for clips."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter, UNetMotionModel
from diffusers.models.attention import FreeNoiseTransformerBlock
from torch import Tensor, nn

from stylecrafter.backbones.latent_diffusion import LatentDiffusion
from stylecrafter.errors import InvalidInputError

logger = logging.getLogger(__name__)

#: What motion modules were trained with, whatever the base was.
TRAINED_NOISE = {
    "beta_schedule": "linear",
    "timestep_spacing": "linspace",
    "clip_sample": False,
    "steps_offset": 1,
}


class AnimateDiff(LatentDiffusion):
    """`unet` is diffusers' `UNetMotionModel` on Stable Diffusion 1.5; scales are counted down, up, mid.

    A single frame passes by the motion modules, as the image model it was made of would have it; `temporal=True` runs
    them on it, as the pipeline of diffusers does. Longer clips than the modules know places for are refused, unless
    `pipe.base.enable_free_noise()` lets them look at parts of a clip.
    """

    label = "AnimateDiff"
    pipelines = ("AnimateDiffPipeline", "AnimateDiffControlNetPipeline", "AnimateDiffVideoToVideoPipeline")
    knobs = {
        "steps": 25,
        "frames": 16,
        "fps": 8.0,
        "text_guidance": 7.5,
        "style_guidance": 5.0,
        "eta": 0.0,
    }

    @classmethod
    def accepts(cls, denoiser: Any) -> bool:
        # That on SDXL has the same class, and reads more than a text.
        return isinstance(denoiser, UNetMotionModel) and denoiser.config.addition_embed_type is None

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        self._check_frames(frames)
        return super().latent_shape(frames, height, width)

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
        frames = latents.shape[2]
        moving = frames > 1 if temporal is None else temporal
        if moving:
            self._check_frames(frames)
        if style_tokens is not None:
            # Beside what the caller has for the attention, such as a LoRA's scale.
            base_arguments["cross_attention_kwargs"] = {
                **(base_arguments.get("cross_attention_kwargs") or {}),
                "style_tokens": style_tokens,
                "style_scales": style_scales,
            }
        # Frames are entries of the batch there, and every one reads its text.
        per_frame = text.repeat_interleave(frames, dim=0)
        if moving:
            return self.denoiser(latents, timestep, per_frame, **base_arguments).sample
        with _without_motion(self.denoiser):
            return self.denoiser(latents, timestep, per_frame, **base_arguments).sample

    def temporal_parameters(self) -> dict[str, nn.Parameter]:
        return {k: v for k, v in self.denoiser.named_parameters() if ".motion_modules." in k}

    def _check_frames(self, frames: int) -> None:
        most = int(self.denoiser.config.motion_max_seq_length)
        if frames > most and not any(
            isinstance(m, FreeNoiseTransformerBlock) for m in self.denoiser.modules()
        ):
            raise InvalidInputError(
                f"these motion modules make clips of at most {most} frames, got {frames}; longer ones are for "
                "pipe.base.enable_free_noise()"
            )


def with_motion(base: Any, motion_adapter: MotionAdapter) -> AnimateDiffPipeline:
    """A Stable Diffusion pipeline with motion modules: it shares all but the UNet, whose weights are copied, and the
    scheduler, which is DDIM at the noise levels that motion modules were trained with.

    Raises:
        InvalidInputError: The motion modules are for another model, or the UNet has a LoRA in it.
    """
    unet = base.unet
    if getattr(unet, "peft_config", None):
        raise InvalidInputError("load the LoRA into pipe.base afterwards: motion modules join a plain UNet")
    try:
        moving = UNetMotionModel.from_unet2d(unet, motion_adapter)
    except (ValueError, RuntimeError) as error:
        widths = [tuple(model.config.block_out_channels) for model in (motion_adapter, unet)]
        raise InvalidInputError(
            f"the motion modules do not fit this model: they are for a UNet of widths {widths[0]}, it has {widths[1]} "
            f"({str(error).splitlines()[0]})"
        ) from error
    scheduler = DDIMScheduler.from_config(base.scheduler.config, **TRAINED_NOISE)
    logger.info("sampling with DDIM at linear betas, as motion modules were trained")
    return AnimateDiffPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=moving.eval(),
        motion_adapter=None,
        scheduler=scheduler,
        feature_extractor=getattr(base, "feature_extractor", None),
        image_encoder=getattr(base, "image_encoder", None),
    )


class _PassedBy(nn.Module):
    """Stands where a motion module is and hands its maps on."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_states


@contextmanager
def _without_motion(unet: nn.Module) -> Iterator[None]:
    """The UNet without its motion modules, for which it has no argument."""
    blocks: list[Any] = [
        block for block in unet.modules() if isinstance(getattr(block, "motion_modules", None), nn.ModuleList)
    ]
    lists = [block.motion_modules for block in blocks]
    for block, modules in zip(blocks, lists, strict=True):
        block.motion_modules = nn.ModuleList(_PassedBy() for _ in modules)
    try:
        yield
    finally:
        for block, modules in zip(blocks, lists, strict=True):
            block.motion_modules = modules
