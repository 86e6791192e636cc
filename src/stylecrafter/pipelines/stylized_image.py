"""Prompt and style pictures -> pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.callbacks import Callback
from stylecrafter.pipelines.noise import Generators
from stylecrafter.pipelines.output import (
    StyleCrafterImagePipelineOutput,
    check_output_type,
    convert_frames,
)
from stylecrafter.pipelines.sampling import Request, SamplingPipeline, same_argument
from stylecrafter.references.groups import StyleImages, StyleWeights
from stylecrafter.schedules import Schedule


class StyleCrafterImagePipeline(SamplingPipeline):
    """Text-to-image in the style of reference pictures: clips of one frame, without the temporal layers.

    Loads the same folders as `StyleCrafterPipeline`.
    """

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        style_images: StyleImages | None = None,
        *,
        style_weights: StyleWeights | None = None,
        style_corners: bool | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        timesteps: Sequence[int] | None = None,
        sigmas: Sequence[float] | None = None,
        text_guidance_scale: float | None = None,
        style_guidance_scale: float | None = None,
        published_guidance: bool | None = None,
        guidance_rescale: float = 0.0,
        guidance_stop: float | None = None,
        style_scale: float = 1.0,
        step_style_scales: Schedule | Sequence[float] | None = None,
        num_images_per_prompt: int = 1,
        eta: float | None = None,
        generator: Generators | None = None,
        seed: int | None = None,
        latents: Tensor | None = None,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        text_embeds: Tensor | None = None,
        negative_text_embeds: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        sequential_guidance: bool = False,
        output_type: str = "pil",
        return_dict: bool = True,
        decode_chunk_size: int | None = 8,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> StyleCrafterImagePipelineOutput | tuple[object]:
        """Generate pictures; the arguments are those of `StyleCrafterPipeline.__call__`, less the frames.

        Args:
            num_images_per_prompt: Pictures per prompt, next to each other in the output.
            latents: Start from this noise (samples, c, h, w).
            decode_chunk_size: Pictures decoded at once; None: all.

        Raises:
            InvalidInputError: An argument that cannot be used; the message shows it and what would be right.
            ImageReadError: A style picture that cannot be read.
        """
        check_output_type(output_type)
        if latents is not None:
            if not isinstance(latents, Tensor) or latents.ndim != 4:
                raise InvalidInputError(
                    f"latents must be a tensor (samples, channels, h, w), got {tuple(getattr(latents, 'shape', ()))}"
                )
            latents = latents[:, :, None]
        request = Request(
            prompt=prompt,
            style_images=style_images,
            style_weights=style_weights,
            style_corners=style_corners,
            negative_prompt=negative_prompt,
            num_frames=1,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            timesteps=timesteps,
            sigmas=sigmas,
            text_guidance_scale=text_guidance_scale,
            style_guidance_scale=style_guidance_scale,
            published_guidance=published_guidance,
            guidance_rescale=guidance_rescale,
            guidance_stop=guidance_stop,
            style_scale=style_scale,
            step_style_scales=step_style_scales,
            samples_per_prompt=num_images_per_prompt,
            eta=eta,
            generator=generator,
            seed=seed,
            latents=latents,
            style_tokens=style_tokens,
            style_scales=style_scales,
            text_embeds=same_argument("text_embeds", text_embeds, "prompt_embeds", prompt_embeds),
            negative_text_embeds=same_argument(
                "negative_text_embeds", negative_text_embeds, "negative_prompt_embeds", negative_prompt_embeds
            ),
            sequential_guidance=sequential_guidance,
            decode_chunk_size=decode_chunk_size,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
        )
        result = self._generate(request)
        images: Any = result[:, :, 0]
        if output_type != "latent":
            frames = convert_frames(self.decode_latents(result, decode_chunk_size), output_type)
            images = [clip[0] for clip in frames] if output_type == "pil" else frames[:, 0]
        self.maybe_free_model_hooks()
        return StyleCrafterImagePipelineOutput(images=images) if return_dict else (images,)
