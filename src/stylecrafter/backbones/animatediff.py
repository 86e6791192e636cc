"""AnimateDiff: Stable Diffusion 1.5 with motion modules between its layers, for clips."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from diffusers import UNetMotionModel
from diffusers.models.attention import FreeNoiseTransformerBlock
from torch import Tensor, nn

from stylecrafter.backbones.inputs import rows_per_frame
from stylecrafter.backbones.stable_diffusion import StableDiffusion
from stylecrafter.errors import InvalidInputError


class AnimateDiff(StableDiffusion):
    """`unet` is diffusers' `UNetMotionModel` on Stable Diffusion 1.5; scales are counted down, up, mid.

    A single frame passes by the motion modules, as the image model it was made of would have it; `temporal=True` runs
    them on it, as the pipeline of diffusers does. More frames at once than the modules know places for are
    refused, unless `pipe.base.enable_free_noise()` lets them look at parts of a clip.
    """

    label = "AnimateDiff"
    pipelines = ("AnimateDiffPipeline", "AnimateDiffControlNetPipeline")
    knobs = {
        "steps": 25,
        "frames": 16,
        "fps": 8.0,
        "text_guidance": 7.5,
        "style_guidance": 5.0,
        "eta": 0.0,
    }
    #: Motion is settled in the first steps, which stay guided; as for images, not measured here.
    fast = {"steps": 20, "guidance_stop": 0.8, "reuse_every": 2}
    has_time = True
    style_per_frame = True

    @classmethod
    def accepts(cls, denoiser: Any) -> bool:
        # That on SDXL has the same class, and reads more than a text.
        return isinstance(denoiser, UNetMotionModel) and denoiser.config.addition_embed_type is None

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
        # Frames are entries of the batch there, and every one reads its text.
        states = text.repeat_interleave(frames, dim=0)
        if style_tokens is not None and style_tokens.ndim == 4:
            states, style_tokens, style_scales = rows_per_frame(text, style_tokens, style_scales)
        times = _of_rows(timestep, frames)
        maps = latents.transpose(1, 2).flatten(0, 1)
        if (image := base_arguments.get("control_image")) is not None:
            base_arguments["control_image"] = image.repeat_interleave(frames, dim=0)
        given = self.arguments(maps, times, states, style_tokens, style_scales, **base_arguments)
        with nullcontext() if moving else _without_motion(self.denoiser):
            return self.denoiser(latents, timestep, states, **given).sample

    def temporal_parameters(self) -> dict[str, nn.Parameter]:
        return {k: v for k, v in self.denoiser.named_parameters() if ".motion_modules." in k}

    @property
    def frames_at_once(self) -> int:
        return int(self.denoiser.config.motion_max_seq_length)

    def _check_frames(self, frames: int) -> None:
        most = self.frames_at_once
        if frames > most and not any(
            isinstance(m, FreeNoiseTransformerBlock) for m in self.denoiser.modules()
        ):
            raise InvalidInputError(
                f"these motion modules see at most {most} frames at once, got {frames}; longer clips take a window of "
                f"{most} frames, --window {most} (window={most}), or pipe.base.enable_free_noise()"
            )


def _of_rows(timestep: Tensor | float | int, copies: int) -> Tensor | float | int:
    """One timestep as it is, one per row as many times."""
    if isinstance(timestep, Tensor) and timestep.numel() > 1:
        return timestep.repeat_interleave(copies)
    return timestep


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
