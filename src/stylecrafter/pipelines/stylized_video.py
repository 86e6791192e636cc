"""Prompt and style pictures -> clips."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from stylecrafter.adapter.scales import Scale, grouped_scales
from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.arguments import at_least_one, said, same_argument
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.callbacks import Callback, StepCallback
from stylecrafter.pipelines.conditions import (
    GivenTexts,
    null_style,
    per_latent_frame,
    repeated,
    text_conditions,
)
from stylecrafter.pipelines.control import Control, ControlImages
from stylecrafter.pipelines.fast import FAST_NAME, fast_knobs, with_fast
from stylecrafter.pipelines.finite import StepWatch, check_computed
from stylecrafter.pipelines.guided_noise import Guidance, PassArguments, style_factors
from stylecrafter.pipelines.inversion import Predict, final_ratio, invert, text_only
from stylecrafter.pipelines.keyframes import StyleKeyframes
from stylecrafter.pipelines.knobs import takes_knobs
from stylecrafter.pipelines.negative_style import negative_style
from stylecrafter.pipelines.noise import Generators, initial_latents, sample_generators, step_arguments
from stylecrafter.pipelines.output import StyleCrafterPipelineOutput, check_output_type, convert_frames
from stylecrafter.pipelines.regional_style import GivenStyles, style_of_call
from stylecrafter.pipelines.sampling_params import SamplingParams, check_video_knobs
from stylecrafter.pipelines.step_reuse import StepReuse
from stylecrafter.pipelines.text_alone import TextAlone
from stylecrafter.pipelines.timesteps import check_scheduler, model_input, set_timesteps
from stylecrafter.pipelines.video_to_video import (
    SourceVideo,
    VideoLike,
    encode_video,
    first_step,
    noisy_latents,
)
from stylecrafter.pipelines.windows import clip_windows, padded_frames, windowed_noise
from stylecrafter.references.groups import StyleImages, StyleWeights
from stylecrafter.references.masks import StyleMasks
from stylecrafter.references.shuffle import DEFAULT_SEED
from stylecrafter.schedules import Schedule, weights
from stylecrafter.weights.card import check_size


class StyleCrafterPipeline(StylizedPipelineBase):
    """Text-to-video in the style of reference pictures (StyleCrafter, arXiv 2312.00330)."""

    @takes_knobs(SamplingParams)
    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        style_images: StyleImages | None = None,
        *,
        style_weights: StyleWeights | None = None,
        style_masks: StyleMasks | None = None,
        negative_style_images: StyleImages | None = None,
        style_seed: int = DEFAULT_SEED,
        video: VideoLike | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        timesteps: Sequence[int] | None = None,
        sigmas: Sequence[float] | None = None,
        layer_style_scales: Scale | str | None = None,
        frame_style_scales: Schedule | Sequence[float] | str | None = None,
        step_style_scales: Schedule | Sequence[float] | str | None = None,
        num_videos_per_prompt: int = 1,
        generator: Generators | None = None,
        latents: Tensor | None = None,
        style_tokens: Tensor | Sequence[Tensor] | None = None,
        style_scales: Tensor | None = None,
        negative_style_tokens: Tensor | None = None,
        style_keyframes: StyleKeyframes | None = None,
        same_noise: bool = False,
        text_embeds: Tensor | None = None,
        negative_text_embeds: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        pooled_prompt_embeds: Tensor | None = None,
        negative_pooled_prompt_embeds: Tensor | None = None,
        base_arguments: Mapping[str, Any] | None = None,
        control_image: ControlImages | None = None,
        controlnet_conditioning_scale: float = 1.0,
        control_guidance_start: float = 0.0,
        control_guidance_end: float = 1.0,
        sequential_guidance: bool = False,
        output_type: str = "pil",
        return_dict: bool = True,
        decode_chunk_size: int | None = 8,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        **knobs: Any,
    ) -> StyleCrafterPipelineOutput | tuple[object]:
        """Generate clips. A knob that is None takes the pipeline's default (`pipe.config.default_...`).

        A batch gives what a loop over its prompts gives, and the noise does not depend on the device.

        Args:
            prompt: One text or several; the empty text is allowed. Too long ones are cut, with a warning.
            style_images: One picture; or a list, whose pictures are all read together for every prompt; or a
                list of lists, one per prompt. Paths, PIL pictures or arrays. None: no style.
            style_weights: How much each picture counts beside the others, >= 0, in the form of `style_images`.
            style_masks: Where the style acts, 1 in full and 0 not at all: one mask for the whole style, or a list
                with one for each picture, which then are styles of their own; a list of such lists is per prompt. A
                mask is a picture (white is 1), or an array or tensor (h, w) or (frames, h, w).
            negative_style_images: Pictures whose style to move away from, in the form of `style_images`.
            style_seed: See `seed` of `encode_style`: pictures have one style for a prompt, whatever the noise.
            video: A clip to begin with, the same for all prompts (SDEdit): a file, PIL pictures, an array
                (f, h, w, 3) or a tensor (f, 3, h, w) in [0, 1]. Frames and size are then its own where the call does
                not say: its aspect ratio, with about as many pixels as the model's own size.
            negative_prompt: What to move away from, one text or one per prompt; None: the empty text.
            timesteps: The very timesteps to take, for schedulers that take them; instead of a number of steps.
            sigmas: Likewise, noise levels; of models that predict flow, those before the scheduler's shift.
            layer_style_scales: Multiply the style per layer: a number for each, or a mapping from groups ("down",
                "mid", "up", "all"; "early", "middle", "late"), names or dotted prefixes of layers to numbers, or
                its text, "down=0.5,up=1". With what `set_scale` of the adapter says they are multiplied.
            frame_style_scales: Multiply the style per frame: a number for each, or a schedule (`schedules`) or its
                text.
            step_style_scales: The same per call of the model within sampling; steps of weight 0 skip the style.
            num_videos_per_prompt: Clips per prompt, next to each other in the output.
            generator: Source of the noise, one for all clips or one per clip; of any device. `seed` is short for
                a fresh one.
            latents: Start from this noise (samples, c, f, h, w) instead; its size is the clip's.
            style_tokens: From `encode_style`, (1 or prompts, q, d), instead of pictures; with several masks a list
                with one for each.
            style_scales: Factor of every style layer, (1 or prompts, L), instead of predicted ones (see
                `predict_scales`); `style_scale` and the schedules multiply them all the same.
            negative_style_tokens: From `encode_style`, instead of negative pictures.
            style_keyframes: (where, style) pairs instead of one style for the whole clip. Where: a frame, counted
                from 0 (a whole number), or a part of the clip (0.0 to 1.0). Style: a picture, a list of pictures
                that are read together, or style tokens. Between them the style changes in straight lines.
            same_noise: Start every prompt from the same noise, as calls for one prompt each with the same seed do.
            text_embeds: From `encode_text`, (prompts, l, d), instead of prompts.
            negative_text_embeds: Likewise, (1 or prompts, l, d).
            prompt_embeds: What diffusers calls `text_embeds`.
            negative_prompt_embeds: What diffusers calls `negative_text_embeds`.
            pooled_prompt_embeds: What SDXL reads beside `text_embeds`, (prompts, w).
            negative_pooled_prompt_embeds: Likewise, (1 or prompts, w).
            base_arguments: Go to the base model in every pass, as they are (`Backbone.predict`), such as
                `cross_attention_kwargs={"scale": 0.5}` for a LoRA.
            control_image: What the base model's ControlNet follows, one picture or one per prompt; it is brought to
                the size of the frames. None: the ControlNet is left out.
            controlnet_conditioning_scale: How much the ControlNet counts.
            control_guidance_start: Part of the steps before the ControlNet begins.
            control_guidance_end: Part of the steps after which it is left out.
            sequential_guidance: Run every pass on its own; slower, with less memory.
            output_type: "pil", "np", "pt" or "latent", see `StyleCrafterPipelineOutput`.
            return_dict: False returns a tuple.
            decode_chunk_size: Frames decoded at once; None: all. One with low memory (`enable_low_memory`).
            callback_on_step_end: Called as (pipe, step, timestep, tensors) after every step; may return changed
                tensors, and may set `pipe.interrupt = True`. A `PipelineCallback` of diffusers does, too.
            callback_on_step_end_tensor_inputs: Which tensors it gets: latents, text_embeds,
                negative_text_embeds, style_tokens, style_scales.
            **knobs: Those of `SamplingParams`, listed below.

        Raises:
            InvalidInputError: An argument that cannot be used; the message shows it and what would be right.
            ImageReadError: A style picture that cannot be read.
        """
        # 1. Check the inputs, and fill in the model's defaults
        check_output_type(output_type)
        callback = StepCallback(
            callback_on_step_end, callback_on_step_end_tensor_inputs, self._callback_tensor_inputs
        )
        text_embeds = same_argument("text_embeds", text_embeds, "prompt_embeds", prompt_embeds)
        negative_text_embeds = same_argument(
            "negative_text_embeds", negative_text_embeds, "negative_prompt_embeds", negative_prompt_embeds
        )
        asked = SamplingParams.from_arguments(knobs, inspect.signature(self.__call__).parameters)
        if sum(given is not None for given in (asked.steps, timesteps, sigmas)) > 1:
            raise InvalidInputError("give one of num_inference_steps, timesteps and sigmas")
        # Of several styles in regions, tokens have weights as well.
        of_pictures = (
            style_images,
            asked.style_corners,
            style_weights if isinstance(style_tokens, Tensor) else None,
        )
        if style_tokens is not None and any(given is not None for given in of_pictures):
            raise InvalidInputError(
                "give either style pictures or style_tokens (weights and corners go with pictures)"
            )
        if style_keyframes is not None and any(
            g is not None for g in (style_images, style_weights, style_tokens)
        ):
            raise InvalidInputError("give either style_keyframes or one style for the whole clip")
        copies = at_least_one("num_videos_per_prompt", num_videos_per_prompt)
        chunk = None if decode_chunk_size is None else at_least_one("decode_chunk_size", decode_chunk_size)
        source = None if video is None else SourceVideo.of(video, asked.frames)
        if source is None:
            check_video_knobs(asked.denoise, asked.inversion)
        of_video = {} if source is None else source.defaults(self.config, self.size_multiple)
        defaults = {**self.config, **of_video, **self._size_of(latents)}
        fast = fast_knobs(self.backbone.fast, self.config.get(FAST_NAME))
        params: Any = asked.filled(with_fast(asked, defaults, fast))  # no None any more
        check_size(params.width, params.height, self.size_multiple)
        guidance = Guidance.of(params, sequential_guidance or self.low_memory)
        style_scale = params.style_scale
        if params.strength:
            style_scale = self.backbone.strengths[params.strength] * self.config.default_style_scale
        control = Control(
            image=control_image,
            scale=controlnet_conditioning_scale,
            start=control_guidance_start,
            end=control_guidance_end,
        )
        reuse = StepReuse.of(self.backbone, params)
        self._interrupt, self._guidance_scale = False, guidance.text_scale
        scheduler = self.backbone.component("scheduler")
        check_scheduler(self.backbone)

        # 2. Encode the text
        asked_negative = params.negative_prompt if negative_prompt is None else negative_prompt
        given = GivenTexts(
            prompt=prompt,
            negative_prompt=asked_negative if negative_text_embeds is None else negative_prompt,
            text_embeds=text_embeds,
            negative_text_embeds=negative_text_embeds,
            pooled_prompt_embeds=pooled_prompt_embeds,
            negative_pooled_prompt_embeds=negative_pooled_prompt_embeds,
        )
        text, negative = text_conditions(self, given)
        prompts = len(text)

        # 3. Encode the style
        of_call = GivenStyles(
            pictures=style_images,
            weights=style_weights,
            tokens=style_tokens,
            scales=style_scales,
            seed=style_seed,
            keyframes=style_keyframes,
        )
        style, scales, regions = style_of_call(self, style_masks, of_call, text.states, params)
        negative_given = GivenStyles(
            pictures=negative_style_images,
            weights=None,
            tokens=negative_style_tokens,
            scales=None,
            seed=style_seed,
        )
        away = negative_style(self, negative_given, negative.states, params, guidance)
        layer_weights = None
        if layer_style_scales is not None and said(layer_style_scales):
            layer_weights = grouped_scales(layer_style_scales, self._need_adapter().layer_names)
        frame_weights = per_latent_frame(
            weights(frame_style_scales, params.frames, "frame") if said(frame_style_scales) else None,
            self.backbone.frames_per_latent,
        )

        # 4. Timesteps
        device = self._execution_device
        times = set_timesteps(scheduler, params.steps, timesteps, sigmas, device)
        begin = 0 if source is None else first_step(len(times), scheduler.order, params.denoise)
        steps, times = len(times), times[begin:]
        self._num_timesteps = len(times)
        step_weights = weights(step_style_scales, len(times), "step")

        # 5. Noise
        backbone = self.backbone
        # The frames of a video may fill their last latent frame only in part.
        frames = params.frames if source is None else padded_frames(backbone, params.frames)
        shape = (prompts * copies, *backbone.latent_shape(frames, params.height, params.width))
        windows = clip_windows(backbone, shape[2], params.window)
        repeat = copies if same_noise else None
        generators = sample_generators(generator, params.seed, prompts * copies, repeat)
        noise = initial_latents(latents, shape, generators, params.shared_noise).to(device)
        extra = step_arguments(scheduler, generators, params.eta)
        tensors: dict[str, Any] = {
            # Of flows, which begin with noise as it is, it has none.
            "latents": noise * getattr(scheduler, "init_noise_sigma", 1.0),
            "text_embeds": repeated(text.states, copies),
            "negative_text_embeds": repeated(negative.states, copies),
            "style_tokens": repeated(style, copies),
            "style_scales": repeated(scales, copies),
        }
        arguments = PassArguments(
            text=text.repeated(copies).arguments,
            negative=negative.repeated(copies).arguments,
            base=dict(base_arguments or {}),
            null_style=repeated(null_style(self, style, prompts), copies),
            regions=None if regions is None else regions.repeated(copies),
            negative_style=repeated(away[0], copies),
            negative_factors=repeated(away[1], copies),
        )
        controlled = replace(
            arguments,
            base={**arguments.base, **control.prepared(self, prompts, copies, params.height, params.width)},
        )
        if source is not None and (begin or params.inversion):
            pictures = source.read((params.width, params.height))
            predict = text_only(windows, self, tensors, arguments) if params.inversion else None
            tensors["latents"] = self._noisy_video(pictures, noise, begin, predict)
        check_computed("before the first step", tensors, self.backbone.dtype)
        watch = StepWatch(len(times), self.backbone.dtype)
        alone = None
        if arguments.regions is not None:
            alone = TextAlone(scheduler, tensors["latents"], generators, params.eta, arguments.regions)

        # 6. Steps
        with reuse, self.progress_bar(total=len(times)) as bar:
            for i, t in enumerate(times):
                if self._interrupt:
                    continue
                self._current_timestep = t
                entering = model_input(scheduler, tensors["latents"], t)
                factors = style_factors(
                    tensors["style_scales"],
                    style_scale * step_weights[i],
                    frame_weights,
                    layer_weights,
                )
                now = guidance.steered(self._guidance_scale).at(begin + i, steps)
                beside = controlled if control.acts(begin + i, steps) else arguments
                beside = replace(beside, reuse=reuse.at(i))
                predicted = windowed_noise(windows, self, entering, t, tensors, beside, factors, now)
                (tensors["latents"], *_) = scheduler.step(
                    predicted, t, tensors["latents"], **extra, return_dict=False
                )
                if alone is not None:
                    alone.step(windows, self, t, tensors, beside, now)
                    tensors["latents"] = alone.outside(tensors["latents"])
                watch.see("latents", i, predicted, tensors["latents"])
                if callback:
                    callback(self, i, t, tensors)
                    # Also what it changed in place.
                    watch.see("what the callback left", i, *(v for v in tensors.values() if v is not None))
                bar.update()
        watch.finish()
        self._current_timestep = None

        # 7. Frames
        result = tensors["latents"]
        if output_type != "latent":
            result = convert_frames(self.decode_latents(result, chunk)[:, : params.frames], output_type)
        self.maybe_free_model_hooks()
        return StyleCrafterPipelineOutput(frames=result) if return_dict else (result,)

    def _noisy_video(
        self, frames: Sequence[Image.Image], noise: Tensor, begin: int, predict: Predict | None
    ) -> Tensor:
        """Latents of a video as noisy as the sampler's timestep `begin` has them, with noise (b, c, f, h, w).

        With `predict` it is the noise that belongs to the video by its predictions instead.
        """
        backbone = self.backbone
        scheduler = backbone.component("scheduler")
        clean = encode_video(backbone, frames, noise.device).expand_as(noise)
        if begin == len(scheduler.timesteps):
            return clean
        if predict is not None:
            noise = invert(backbone, predict, clean, scheduler.timesteps[begin:], final_ratio(scheduler))
        return noisy_latents(scheduler, clean, noise, begin)

    def _size_of(self, latents: Tensor | None) -> dict[str, int]:
        """Frames, height and width of given latents, which hold where the call does not say."""
        if latents is None:
            return {}
        if not isinstance(latents, Tensor):
            raise InvalidInputError(f"latents must be a tensor, got {type(latents).__name__}")
        if latents.ndim != 5:
            shape = tuple(latents.shape)
            raise InvalidInputError(f"latents must be (samples, channels, frames, h, w), got {shape}")
        frames, height, width = latents.shape[2:]
        factor = self.vae_scale_factor
        return {
            "default_frames": self.backbone.frames_of(frames),
            "default_height": height * factor,
            "default_width": width * factor,
        }
