"""Prompt and style pictures -> clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylecrafter.pipelines.callbacks import Callback
from stylecrafter.pipelines.noise import Generators
from stylecrafter.pipelines.output import (
    StyleCrafterPipelineOutput,
    check_output_type,
    convert_frames,
)
from stylecrafter.pipelines.sampling import Request, SamplingPipeline, same_argument
from stylecrafter.references.groups import StyleImages, StyleWeights
from stylecrafter.schedules import Schedule


class StyleCrafterPipeline(SamplingPipeline):
    """Text-to-video in the style of reference pictures (StyleCrafter, arXiv 2312.00330)."""

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        style_images: StyleImages | None = None,
        *,
        style_weights: StyleWeights | None = None,
        style_corners: bool | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        num_frames: int | None = None,
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
        shared_noise: float | None = None,
        style_scale: float = 1.0,
        frame_style_scales: Schedule | Sequence[float] | None = None,
        step_style_scales: Schedule | Sequence[float] | None = None,
        num_videos_per_prompt: int = 1,
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
    ) -> StyleCrafterPipelineOutput | tuple[object]:
        """Generate clips. What is None takes the pipeline's default (`pipe.config.default_...`).

        A batch gives what a loop over its prompts gives, and the noise does not depend on the device.

        Args:
            prompt: One text or several; the empty text is allowed. Too long ones are cut, with a warning.
            style_images: One picture; or a list, whose pictures are all read together for every prompt; or a
                list of lists, one per prompt. Paths, PIL pictures or arrays. None: no style.
            style_weights: How much each picture counts beside the others, >= 0, in the form of `style_images`.
            style_corners: True reads a style of one picture by its four corners as well as whole, see `encode_style`.
            negative_prompt: What to move away from, one text or one per prompt; None: the empty text.
            num_frames: Frames of a clip.
            height: In pixels, a multiple of `size_multiple`.
            width: In pixels, likewise.
            num_inference_steps: Steps of the scheduler.
            timesteps: The very timesteps to take, for schedulers that take them; instead of a number of steps.
            sigmas: Likewise, noise levels.
            text_guidance_scale: Scale of the prompt in equation 2 (see `guidance.guide`).
            style_guidance_scale: Scale of the style in equation 2.
            published_guidance: True reads both scales as the published video sampler does; it equals adding 1 to
                each in equation 2. Passes whose weight is zero are skipped in either case.
            guidance_rescale: Pull the spread of the guided prediction back, from 0 (not at all) to 1.
            guidance_stop: Part of the steps that are guided, from 0 to 1; the others take the conditional
                prediction as it is, in one pass instead of three (Kynkäänniemi et al. 2024).
            shared_noise: Part of the initial noise's variance that the frames of a clip have in common, from 0 to 1
                (`noise.mixed_noise`): what comes of the noise stays where it is, so that clips are steadier, and
                move less.
            style_scale: Multiplies the predicted factor of every style layer; 0 is the same as no style.
            frame_style_scales: The same per frame: a number for each, or a schedule (`schedules`).
            step_style_scales: The same per call of the model within sampling; steps of weight 0 skip the style.
            num_videos_per_prompt: Clips per prompt, next to each other in the output.
            eta: Noise added by DDIM, 0 to 1; schedulers that know no eta ignore it.
            generator: Source of the noise, one for all clips or one per clip; of any device.
            seed: Short for a generator with this seed.
            latents: Start from this noise (samples, c, f, h, w) instead.
            style_tokens: From `encode_style`, (1 or prompts, q, d), instead of pictures.
            style_scales: Factor of every style layer, (1 or prompts, L), instead of predicted ones (see
                `predict_scales`); `style_scale` and the schedules multiply them all the same.
            text_embeds: From `encode_text`, (prompts, l, d), instead of prompts.
            negative_text_embeds: Likewise, (1 or prompts, l, d).
            prompt_embeds, negative_prompt_embeds: What diffusers calls the two.
            sequential_guidance: Run every pass on its own; slower, with less memory.
            output_type: "pil", "np", "pt" or "latent", see `StyleCrafterPipelineOutput`.
            return_dict: False returns a tuple.
            decode_chunk_size: Frames decoded at once; None: all.
            callback_on_step_end: Called as (pipe, step, timestep, tensors) after every step; may return changed
                tensors, and may set `pipe.interrupt = True`. A `PipelineCallback` of diffusers does, too.
            callback_on_step_end_tensor_inputs: Which tensors it gets: latents, text_embeds,
                negative_text_embeds, style_tokens, style_scales.

        Raises:
            InvalidInputError: An argument that cannot be used; the message shows it and what would be right.
            ImageReadError: A style picture that cannot be read.
        """
        check_output_type(output_type)
        request = Request(
            prompt=prompt,
            style_images=style_images,
            style_weights=style_weights,
            style_corners=style_corners,
            negative_prompt=negative_prompt,
            num_frames=num_frames,
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
            shared_noise=shared_noise,
            style_scale=style_scale,
            frame_style_scales=frame_style_scales,
            step_style_scales=step_style_scales,
            samples_per_prompt=num_videos_per_prompt,
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
        if output_type != "latent":
            result = convert_frames(self.decode_latents(result, decode_chunk_size), output_type)
        self.maybe_free_model_hooks()
        return StyleCrafterPipelineOutput(frames=result) if return_dict else (result,)
