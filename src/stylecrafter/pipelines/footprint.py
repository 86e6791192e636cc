"""How much memory a clip needs, counted by running its parts on tensors without memory (`skeleton`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from stylecrafter.pipelines.conditions import null_style
from stylecrafter.pipelines.guided_noise import Guidance, PassArguments, guided_noise
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.pipelines.windows import padded_frames
from stylecrafter.runtime.live_memory import LiveMemory
from stylecrafter.weights.footprint import MemoryEstimate

#: Frames that a pipeline decodes at once where it is not told.
DECODED_FRAMES = 8
#: Bytes per pixel of a finished clip: floats before and after they are cut to [0, 1], bytes, and pictures of those.
_PIXEL_BYTES = 3 * 4 + 3 * 4 + 3 + 4


@dataclass(frozen=True)
class Workload:
    """What is to be made: one clip, in frames and pixels.

    Attributes:
        references: Style pictures, read all at once; 0: no style.
        window: Frames that the denoiser sees at once; 0: all.
    """

    frames: int
    width: int
    height: int
    references: int = 0
    window: int = 0


def estimate_peak(pipe: StyleCrafterPipeline, work: Workload) -> MemoryEstimate:
    """Bytes at the peak of a call.

    Args:
        pipe: Its weights on the "meta" device, in the dtype that they would have.
        work: What it is asked for.

    Raises:
        InvalidInputError: It cannot make that.
    """
    return MemoryEstimate(weights_of(pipe), max(peak for _, peak in stage_peaks(pipe, work)))


def weights_of(pipe: StyleCrafterPipeline) -> int:
    """Bytes of all weights; what is kept once and named twice counts once."""
    return sum(t.numel() * t.element_size() for t in _tensors(pipe))


def count_parameters(pipe: StyleCrafterPipeline) -> int:
    """Numbers in all weights."""
    return sum(t.numel() for t in _tensors(pipe) if isinstance(t, torch.nn.Parameter))


def _tensors(pipe: StyleCrafterPipeline) -> list[torch.Tensor]:
    models = [model for model in pipe.components.values() if isinstance(model, torch.nn.Module)]
    return list({id(t): t for model in models for t in (*model.parameters(), *model.buffers())}.values())


@torch.no_grad()
def stage_peaks(pipe: StyleCrafterPipeline, work: Workload) -> Iterator[tuple[str, int]]:
    """(name, bytes at its peak beside the weights) of the stages of a call, those whose components are there."""
    styled = work.references > 0 and None not in (pipe.style_adapter, pipe.image_encoder)
    backbone = pipe.backbone
    text = negative = None
    if pipe.text_encoder is not None and pipe.tokenizer is not None:
        with LiveMemory() as text_memory:
            text, negative = pipe.encode_texts(""), pipe.encode_texts("")
        yield "text", text_memory.peak
    style = nothing = None
    if styled:
        pictures = [[Image.new("RGB", (8, 8))] * work.references]
        with LiveMemory() as style_memory:
            states = None if text is None else text.states
            style = pipe.encode_style(pictures, corners=work.references == 1, text=states)
            nothing = null_style(pipe, style, 1)
        yield "style", style_memory.peak
    # A video may fill its last latent frame only in part.
    frames, window = (
        padded_frames(backbone, count)
        for count in (work.frames, min(work.frames, work.window or work.frames))
    )
    shape, seen = (backbone.latent_shape(count, work.height, work.width) for count in (frames, window))
    if text is not None and negative is not None:
        tensors: dict[str, Any] = {
            "text_embeds": text.states,
            "negative_text_embeds": negative.states,
            "style_tokens": style,
        }
        factors = None if style is None else torch.empty((1, pipe.style_adapter.num_layers), device="meta")
        with LiveMemory() as memory:
            arguments = PassArguments(
                text=text.arguments, negative=negative.arguments, base={}, null_style=nothing
            )
            latents, time = torch.empty((1, *seen), device="meta"), torch.empty((), device="meta")
            guided_noise(
                pipe, latents, time, tensors, arguments, factors, Guidance(7.5, 5.0, 0.0, 1.0, False)
            )
        yield "denoising", memory.peak
    if pipe.vae is not None:
        with LiveMemory() as memory:
            backbone.decode_latents(torch.empty((1, *shape), device="meta"), DECODED_FRAMES)
        finished = work.frames * work.width * work.height * _PIXEL_BYTES
        yield "decoding", max(memory.peak, finished)
