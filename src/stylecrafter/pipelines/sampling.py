"""From a request to latents: conditions, guidance, scheduler steps."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex, cast

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.guidance import guide, needed_passes, published_scales, rescale
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.callbacks import Callback, StepCallback
from stylecrafter.pipelines.finite import StepWatch, check_computed, check_given
from stylecrafter.pipelines.noise import (
    Generators,
    draw_noise,
    mixed_noise,
    sample_generators,
    step_arguments,
)
from stylecrafter.references.groups import StyleImages, StyleWeights, group_per_sample, weights_per_sample
from stylecrafter.schedules import Schedule, weights
from stylecrafter.weights.card import check_size


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of one call; None stands for the pipeline's default. See `StyleCrafterPipeline.__call__`."""

    prompt: str | Sequence[str] | None = None
    style_images: StyleImages | None = None
    style_weights: StyleWeights | None = None
    negative_prompt: str | Sequence[str] | None = None
    num_frames: int | None = None
    height: int | None = None
    width: int | None = None
    num_inference_steps: int | None = None
    timesteps: Sequence[int] | None = None
    sigmas: Sequence[float] | None = None
    text_guidance_scale: float | None = None
    style_guidance_scale: float | None = None
    published_guidance: bool | None = None
    guidance_rescale: float = 0.0
    guidance_stop: float | None = None
    shared_noise: float | None = None
    style_corners: bool | None = None
    style_scale: float = 1.0
    frame_style_scales: Schedule | Sequence[float] | None = None
    step_style_scales: Schedule | Sequence[float] | None = None
    samples_per_prompt: int = 1
    eta: float | None = None
    generator: Generators | None = None
    seed: int | None = None
    latents: Tensor | None = None
    style_tokens: Tensor | None = None
    style_scales: Tensor | None = None
    text_embeds: Tensor | None = None
    negative_text_embeds: Tensor | None = None
    sequential_guidance: bool = False
    decode_chunk_size: int | None = None
    callback_on_step_end: Callback | None = None
    callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",)


@dataclass(frozen=True)
class _Guidance:
    """How the passes of a step are made and combined; the scales are those of equation 2."""

    text_scale: float
    style_scale: float
    rescale: float
    sequential: bool
    stop: float

    def at(self, step: int, steps: int) -> _Guidance:
        """What holds at a step: behind `stop` the conditional prediction as it is, which takes a single pass."""
        return self if step < self.stop * steps else replace(self, text_scale=1.0, style_scale=1.0)

    def steered(self, scale: float) -> _Guidance:
        """What holds once a callback has set the pipeline's `_guidance_scale`, as those of diffusers do to end
        guidance: up to 1, the conditional prediction as it is."""
        if scale == self.text_scale:
            return self
        return (
            replace(self, text_scale=1.0, style_scale=1.0) if scale <= 1 else replace(self, text_scale=scale)
        )


class SamplingPipeline(StylizedPipelineBase):
    """Adds sampling to the shared components."""

    @torch.no_grad()
    def _generate(self, request: Request) -> Tensor:
        """Latents (samples, c, f, h, w), float32.

        Raises:
            InvalidInputError: Whatever is wrong with the request, with the value and what would be right.
        """
        # 1. Check what can be checked, and fill in the defaults
        self._interrupt = False
        callback = StepCallback(
            request.callback_on_step_end,
            request.callback_on_step_end_tensor_inputs,
            self._callback_tensor_inputs,
        )
        guidance = self._guidance(request)
        self._guidance_scale = guidance.text_scale
        frames, height, width = self._sizes(request)
        eta = _fraction("eta", _or(request.eta, self.config.default_eta))
        style_scale = _finite("style_scale", request.style_scale)
        copies = _at_least_one("the number of samples per prompt", request.samples_per_prompt)
        if request.decode_chunk_size is not None:
            _at_least_one("decode_chunk_size", request.decode_chunk_size)

        # 2. Text
        text, negative = self._encode_prompts(request)
        samples = text.shape[0]

        # 3. Style
        style = self._encode_references(request, samples)
        scales = self._style_scales(request, style, text)
        frame_weights: tuple[float, ...] | None = None
        if request.frame_style_scales is not None:
            frame_weights = weights(request.frame_style_scales, frames, "frame")

        # 4. Timesteps
        device = self._execution_device
        timesteps = self._timesteps(request, device)
        self._num_timesteps = len(timesteps)
        step_weights = weights(request.step_style_scales, len(timesteps), "step")

        # 5. Noise
        samples *= copies
        generators = sample_generators(request.generator, request.seed, samples)
        shape = self.backbone.latent_shape(frames, height, width)
        latents = self._initial_latents(request, (samples, *shape), generators)
        extra = step_arguments(self.scheduler, generators, eta)
        tensors: dict[str, Any] = {
            "latents": latents.to(device) * self.scheduler.init_noise_sigma,
            "text_embeds": _repeat(text, copies),
            "negative_text_embeds": _repeat(negative, copies),
            "style_tokens": _repeat(style, copies),
            "style_scales": _repeat(scales, copies),
        }
        check_computed("before the first step", tensors, self.unet.dtype)
        watch = StepWatch(len(timesteps), self.unet.dtype)

        # 6. Steps
        with self.progress_bar(total=len(timesteps)) as bar:
            for i, t in enumerate(timesteps):
                if self._interrupt:
                    continue
                model_input = self.scheduler.scale_model_input(tensors["latents"], t)
                factors = _style_factors(
                    tensors["style_scales"], style_scale * step_weights[i], frame_weights
                )
                self._current_timestep = t
                now = guidance.steered(self._guidance_scale).at(i, len(timesteps))
                noise = self._guided_noise(model_input, t, tensors, factors, now)
                step = self.scheduler.step(noise, t, tensors["latents"], **extra, return_dict=False)
                tensors["latents"] = step[0]
                watch.see("latents", i, noise, step[0])
                if callback:
                    callback(self, i, t, tensors)
                    # Also what it changed in place.
                    watch.see("what the callback left", i, *(v for v in tensors.values() if v is not None))
                bar.update()
        watch.finish()
        self._current_timestep = None
        return tensors["latents"]

    def _guided_noise(
        self,
        latents: Tensor,
        timestep: Tensor,
        tensors: dict[str, Any],
        style_factors: Tensor | None,
        guidance: _Guidance,
    ) -> Tensor:
        """One prediction from up to three passes; those with weight zero are left out."""
        text, negative = tensors["text_embeds"], tensors["negative_text_embeds"]
        style_scale = None if style_factors is None else guidance.style_scale
        needed = needed_passes(guidance.text_scale, style_scale)
        texts = [embeds for embeds, wanted in ((negative, needed.null), (text, needed.text)) if wanted]
        if len(texts) == 2 and not guidance.sequential and texts[0].shape == texts[1].shape:
            # The pass with style runs on its own: the others bypass the adapter.
            plain = list(self.predict_noise(torch.cat([latents] * 2), timestep, torch.cat(texts)).chunk(2))
        else:
            plain = [self.predict_noise(latents, timestep, embeds) for embeds in texts]
        null = plain.pop(0) if needed.null else None
        conditional = with_text = plain.pop(0) if needed.text else None
        styled = None
        if needed.style:
            styled = self.predict_noise(latents, timestep, text, tensors["style_tokens"], style_factors)
            conditional = styled
        guided = guide(null, with_text, styled, guidance.text_scale, style_scale)
        return guided if conditional is None else rescale(guided, conditional, guidance.rescale)

    def _encode_prompts(self, request: Request) -> tuple[Tensor, Tensor]:
        """Embeddings of the prompts and of the negative ones, both (b, l, d)."""
        device = self._execution_device
        if request.prompt is not None and request.text_embeds is None:
            text = self.encode_text(request.prompt)
        elif request.prompt is None and request.text_embeds is not None:
            text = _three_axes("text_embeds", request.text_embeds).to(device)
        else:
            raise InvalidInputError("give either a prompt or text_embeds")
        b = text.shape[0]
        if request.negative_text_embeds is not None:
            if request.negative_prompt is not None:
                raise InvalidInputError("give either a negative prompt or negative_text_embeds")
            negative = _three_axes("negative_text_embeds", request.negative_text_embeds).to(device)
        else:
            negative = self.encode_text(_or(request.negative_prompt, ""))
        return text, _per_sample("negative prompts", negative, b)

    def _encode_references(self, request: Request, samples: int) -> Tensor | None:
        """Style tokens (b, q, d), or None where there is no style."""
        if request.style_tokens is not None:
            with_pictures = (request.style_images, request.style_weights, request.style_corners)
            if any(value is not None for value in with_pictures):
                raise InvalidInputError(
                    "give either style pictures or style_tokens (weights and corners go with pictures)"
                )
            self._need_adapter()
            tokens = _three_axes("style_tokens", request.style_tokens).to(self._execution_device)
            return _per_sample("style tokens", tokens, samples)
        groups = group_per_sample(request.style_images, samples)
        picture_weights = weights_per_sample(request.style_weights, groups)
        if not groups:
            return None
        alike = picture_weights is None or all(row == picture_weights[0] for row in picture_weights)
        if alike and all(group is groups[0] for group in groups):
            # References that all prompts share, at the same weights, are read once.
            first = None if picture_weights is None else picture_weights[:1]
            shared = self.encode_style(groups[:1], first, request.style_corners)
            return _per_sample("style tokens", shared, samples)
        return self.encode_style(groups, picture_weights, request.style_corners)

    def _style_scales(self, request: Request, style: Tensor | None, text: Tensor) -> Tensor | None:
        """Factors (b, L): those that were given, or the predicted ones; None where there is no style."""
        if request.style_scales is None:
            return None if style is None else self.predict_scales(style, text)
        if style is None:
            raise InvalidInputError("style_scales need a style: give style pictures or style_tokens too")
        layers, given = self._need_adapter().num_layers, check_given("style_scales", request.style_scales)
        if given.ndim != 2 or given.shape[1] != layers:
            raise InvalidInputError(f"style_scales must be (prompts, {layers}), got {tuple(given.shape)}")
        return _per_sample("rows of style scales", given.to(style.device), text.shape[0])

    def _guidance(self, request: Request) -> _Guidance:
        text = _finite(
            "text_guidance_scale", _or(request.text_guidance_scale, self.config.default_text_guidance)
        )
        style = _finite(
            "style_guidance_scale", _or(request.style_guidance_scale, self.config.default_style_guidance)
        )
        if _or(request.published_guidance, self.config.default_published_guidance):
            text, style = published_scales(text, style)
        amount = _fraction("guidance_rescale", request.guidance_rescale)
        stop = _fraction("guidance_stop", _or(request.guidance_stop, self.config.default_guidance_stop))
        return _Guidance(text, style, amount, request.sequential_guidance, stop)

    def _sizes(self, request: Request) -> tuple[int, int, int]:
        """Frames, height and width in pixels; latents that were given decide where the call says nothing."""
        sizes = (self.config.default_frames, self.config.default_height, self.config.default_width)
        if request.latents is not None:
            if not isinstance(request.latents, Tensor):
                raise InvalidInputError(f"latents must be a tensor, got {type(request.latents).__name__}")
            if request.latents.ndim != 5:
                shape = tuple(request.latents.shape)
                raise InvalidInputError(f"latents must be (samples, channels, frames, h, w), got {shape}")
            f, h, w = request.latents.shape[2:]
            sizes = (f, h * self.vae_scale_factor, w * self.vae_scale_factor)
        frames = _at_least_one("num_frames", _or(request.num_frames, sizes[0]))
        height = _at_least_one("height", _or(request.height, sizes[1]))
        width = _at_least_one("width", _or(request.width, sizes[2]))
        check_size(width, height, self.size_multiple)
        return frames, height, width

    def _timesteps(self, request: Request, device: torch.device) -> Tensor:
        """The scheduler's timesteps for this call: as many as were asked for, or the very ones that were given."""
        given = {"timesteps": request.timesteps, "sigmas": request.sigmas}
        named = [name for name, value in given.items() if value is not None]
        if not named:
            steps = _at_least_one(
                "num_inference_steps", _or(request.num_inference_steps, self.config.default_steps)
            )
            most = self.scheduler.config.num_train_timesteps
            if steps > most:
                raise InvalidInputError(f"num_inference_steps must be at most {most}, got {steps}")
            self.scheduler.set_timesteps(steps, device=device)
            return self.scheduler.timesteps
        if len(named) + (request.num_inference_steps is not None) > 1:
            raise InvalidInputError("give one of num_inference_steps, timesteps and sigmas")
        (name,) = named
        if name not in inspect.signature(self.scheduler.set_timesteps).parameters:
            raise InvalidInputError(f"{type(self.scheduler).__name__} takes no {name} of one's own")
        values = list(cast("Sequence[float]", given[name]))
        if not values or not all(math.isfinite(value) for value in values):
            raise InvalidInputError(f"{name} must be finite numbers, at least one, got {values}")
        self.scheduler.set_timesteps(**{name: values}, device=device)
        return self.scheduler.timesteps

    def _initial_latents(
        self, request: Request, shape: tuple[int, ...], generators: list[torch.Generator]
    ) -> Tensor:
        latents = request.latents
        shared = _fraction("shared_noise", _or(request.shared_noise, self.config.default_shared_noise))
        if latents is None:
            own = draw_noise(shape[1:], generators)
            if shared == 0 or shape[2] == 1:
                return own
            return mixed_noise(own, draw_noise((shape[1], 1, *shape[3:]), generators), shared)
        if tuple(latents.shape) != shape:
            raise InvalidInputError(f"latents must be {shape}, got {tuple(latents.shape)}")
        return check_given("latents", latents.float())


def _style_factors(
    scales: Tensor | None, weight: float, frame_weights: tuple[float, ...] | None
) -> Tensor | None:
    """Factors per layer (b, L), or per frame and layer (b, f, L); None if the style has no weight at all."""
    if scales is None or weight == 0.0:
        return None
    if frame_weights is None:
        return scales * weight
    if not any(frame_weights):
        return None
    return scales[:, None] * (weight * scales.new_tensor(frame_weights))[None, :, None]


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _repeat(tensor: Tensor | None, copies: int) -> Tensor | None:
    """Every row `copies` times in a row."""
    return tensor if tensor is None or copies == 1 else tensor.repeat_interleave(copies, dim=0)


def _per_sample(what: str, tensor: Tensor, samples: int) -> Tensor:
    if tensor.shape[0] not in (1, samples):
        raise InvalidInputError(f"got {tensor.shape[0]} {what} for {samples} prompts; give one or {samples}")
    return tensor.expand(samples, *tensor.shape[1:])


def same_argument(name: str, value: Any, alias: str, other: Any) -> Any:
    """The value of an argument that has two names.

    Raises:
        InvalidInputError: Both were given.
    """
    if value is not None and other is not None:
        raise InvalidInputError(f"{alias} is another name for {name}; give one of them")
    return _or(value, other)


def _three_axes(name: str, tensor: Tensor) -> Tensor:
    if check_given(name, tensor).ndim != 3:
        raise InvalidInputError(f"{name} must be (prompts, tokens, width), got {tuple(tensor.shape)}")
    return tensor


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise InvalidInputError(f"{name} must be a finite number, got {value}")
    return float(value)


def _fraction(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise InvalidInputError(f"{name} must lie between 0 and 1, not {value}")
    return float(value)


def _at_least_one(name: str, value: SupportsIndex) -> int:
    """`value` as an int; whatever counts as a whole number will do, NumPy's among them."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise InvalidInputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return number
