"""How much memory a clip needs, counted by running its parts on tensors without memory (`skeleton`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from stylecrafter.adapter.style_regions import StyleRegions
from stylecrafter.pipelines.conditions import null_style
from stylecrafter.pipelines.guided_noise import Guidance, PassArguments, guided_noise
from stylecrafter.pipelines.memory_options import MemoryOptions, Workload
from stylecrafter.pipelines.memory_saving import TILE
from stylecrafter.pipelines.offloading import restore_tiles, set_tiles
from stylecrafter.pipelines.stored_weights import saved_bytes, stored_layers
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.pipelines.windows import padded_frames
from stylecrafter.runtime.live_memory import LiveMemory
from stylecrafter.weights.footprint import MemoryEstimate

#: Frames that a pipeline decodes at once where it is not told.
DECODED_FRAMES = 8
#: Bytes per pixel of a finished clip: floats before and after they are cut to [0, 1], bytes, and pictures of those.
_PIXEL_BYTES = 3 * 4 + 3 * 4 + 3 + 4
#: Latent frames at which an autoencoder that goes through them by itself is counted; what it holds grows in a line.
_FEW, _MORE = 4, 7
#: What a stage runs; the adapter is always there.
_MODELS = {
    "text": ("text_encoder", "text_encoder_2"),
    "style": ("image_encoder",),
    "denoising": ("unet", "transformer", "controlnet"),
    "decoding": ("vae",),
}


def estimate_peak(
    pipe: StyleCrafterPipeline,
    work: Workload,
    options: MemoryOptions = MemoryOptions(),  # noqa: B008  # frozen
    device_type: str = "cpu",
) -> MemoryEstimate:
    """Bytes at the peak of a call.

    Args:
        pipe: Its weights on the "meta" device, in the dtype that they would have.
        work: What it is asked for.
        options: How memory is saved.
        device_type: Where it would run.

    Raises:
        InvalidInputError: It cannot make that.
    """
    whole, copies = weights_of(pipe, options.weights_as), copied_weights(pipe)
    offloading = options.offloading(device_type)
    stages = dict(stage_peaks(pipe, work, options))
    if offloading == "none":
        host = copies if device_type == "cuda" else 0
        return MemoryEstimate(whole + copies - host, max(stages.values()), host)
    adapter = [pipe.style_adapter] if pipe.style_adapter is not None else []
    fixed = weights_of(pipe, options.weights_as, adapter)
    there = {}
    for stage in stages:
        models = [m for name in _MODELS[stage] if (m := getattr(pipe, name)) is not None]
        if offloading == "model":
            there[stage] = fixed + weights_of(pipe, options.weights_as, models)
        else:  # the layer that computes, and the one that is fetched beside it
            there[stage] = fixed + 2 * max(map(_largest_layer, models), default=0)
    peak = max(stages, key=lambda stage: there[stage] + stages[stage])
    return MemoryEstimate(there[peak], stages[peak], whole + copies)


def weights_of(
    pipe: StyleCrafterPipeline, weights_as: str = "full", models: Sequence[nn.Module] | None = None
) -> int:
    """Bytes of all weights, or of those of some components; what is kept once and named twice counts once."""
    counted = _models(pipe) if models is None else list(models)
    full = sum(t.numel() * t.element_size() for t in _tensors(counted))
    if weights_as == "full":
        return full
    return (
        full
        - sum(saved_bytes(m, weights_as) for m in counted if m is not pipe.vae)
        + _widened(counted, weights_as)
    )


def count_parameters(pipe: StyleCrafterPipeline) -> int:
    """Numbers in all weights."""
    return sum(t.numel() for t in _tensors(_models(pipe)) if isinstance(t, nn.Parameter))


def copied_weights(pipe: StyleCrafterPipeline) -> int:
    """Bytes of the base model's own weights that stay on the CPU while an adapter brings others for it (StyleMaster):
    as many as there are, because only numbers tell which of them differ."""
    adapter = pipe.style_adapter
    if adapter is None or adapter.base_weights is None:
        return 0
    own = dict(pipe.backbone.denoiser.named_parameters())
    return sum(own[name].numel() * own[name].element_size() for name in adapter.base_weights if name in own)


def _models(pipe: StyleCrafterPipeline) -> list[nn.Module]:
    return [model for model in pipe.components.values() if isinstance(model, nn.Module)]


def _tensors(models: Sequence[nn.Module]) -> list[Tensor]:
    return list({id(t): t for model in models for t in (*model.parameters(), *model.buffers())}.values())


def _largest_layer(model: nn.Module) -> int:
    """Bytes of the largest part that has weights of its own."""
    own = ([*m.parameters(recurse=False), *m.buffers(recurse=False)] for m in model.modules())
    return max(sum(t.numel() * t.element_size() for t in tensors) for tensors in own)


def _widened(models: Sequence[nn.Module], weights_as: str) -> int:
    """Bytes of the largest layer of 8 bits as it is while it computes."""
    layers = (layer for model in models for layer in stored_layers(model, weights_as))
    return max((sum(t.numel() * t.element_size() for t in layer.parameters()) for layer in layers), default=0)


@torch.no_grad()
def stage_peaks(
    pipe: StyleCrafterPipeline,
    work: Workload,
    options: MemoryOptions = MemoryOptions(),  # noqa: B008  # frozen
) -> Iterator[tuple[str, int]]:
    """(name, bytes at its peak beside the weights) of the stages of a call, those whose components are there."""
    text = negative = style = nothing = None
    if pipe.text_encoder is not None and pipe.tokenizer is not None:
        with LiveMemory() as text_memory:
            text, negative = pipe.encode_texts(""), pipe.encode_texts("")
        yield "text", text_memory.peak
    pictures = max(work.references, work.negatives)
    if pictures > 0 and None not in (pipe.style_adapter, pipe.image_encoder):
        with LiveMemory() as style_memory:
            states = None if text is None else text.states
            groups = [[Image.new("RGB", (8, 8))] * pictures]
            style = pipe.encode_style(groups, corners=pictures == 1, text=states)
            nothing = null_style(pipe, style, 1)
        yield "style", style_memory.peak
    if text is not None and negative is not None:
        with LiveMemory() as memory:
            _denoise(pipe, work, options, (text, negative), style, nothing)
        yield "denoising", memory.peak
    if pipe.vae is not None:
        with _tiled(pipe, options):
            held = _decoded(pipe, work, 1) if options.low_memory else _decoded(pipe, work, DECODED_FRAMES)
        finished = work.frames * work.width * work.height * _PIXEL_BYTES
        yield "decoding", max(held, finished)


def _denoise(
    pipe: StyleCrafterPipeline,
    work: Workload,
    options: MemoryOptions,
    texts: tuple[Any, Any],
    style: Tensor | None,
    nothing: Tensor | None,
) -> None:
    """One step of the clip, or of its first window."""
    text, negative = texts
    # A video may fill its last latent frame only in part.
    frames = padded_frames(pipe.backbone, min(work.frames, work.window or work.frames))
    shape = pipe.backbone.latent_shape(frames, work.height, work.width)
    factors = away = regions = None
    if style is not None:
        factors = torch.empty((1, pipe.style_adapter.num_layers), device="meta")
        away = style if work.negatives else None
    if style is not None and factors is not None and work.masks:
        regions = StyleRegions(torch.empty((1, work.masks, *shape[1:]), device="meta"))
        style, factors = style.repeat(1, work.masks, 1), factors.repeat(1, work.masks)
        nothing = None if nothing is None else nothing.repeat(1, work.masks, 1)
    arguments = PassArguments(
        text=text.arguments,
        negative=negative.arguments,
        base={},
        null_style=nothing,
        regions=regions,
        negative_style=away,
        negative_factors=None
        if away is None or factors is None
        else factors[:, : pipe.style_adapter.num_layers],
    )
    tensors: dict[str, Any] = {
        "text_embeds": text.states,
        "negative_text_embeds": negative.states,
        "style_tokens": style,
    }
    # Beside the latents of the step, with masks, are those of the text alone.
    kept = [torch.empty((1, *shape), device="meta") for _ in range(2 if work.masks else 1)]
    guidance = Guidance(7.5, 5.0, 0.0, 1.0, options.low_memory)
    guided_noise(pipe, kept[0], torch.empty((), device="meta"), tensors, arguments, factors, guidance)


def _decoded(pipe: StyleCrafterPipeline, work: Workload, chunk: int) -> int:
    """Bytes at the peak of decoding so many frames at once, with all of them kept."""
    backbone = pipe.backbone
    pixels = 3 * work.width * work.height * 4
    tiled = pipe.vae.use_tiling and max(work.width, work.height) > TILE
    if tiled:  # one tile, beside the frames that are done
        tile = replace(work, width=min(work.width, TILE), height=min(work.height, TILE))
        return _decoded(pipe, tile, chunk) + work.frames * pixels
    latent_frames = backbone.latent_shape(padded_frames(backbone, work.frames), work.height, work.width)[1]

    def peak(count: int) -> int:
        c, _, h, w = backbone.latent_shape(1, work.height, work.width)
        with LiveMemory() as memory:
            backbone.decode_latents(torch.empty((1, c, count, h, w), device="meta"), count)
        return memory.peak

    if backbone.frames_per_latent == 1:
        once = min(latent_frames, chunk)
        return peak(once) + (latent_frames - once) * pixels
    if latent_frames <= _MORE:
        return peak(latent_frames)
    few, more = peak(_FEW), peak(_MORE)
    return more + (latent_frames - _MORE) * (more - few) // (_MORE - _FEW)


@contextmanager
def _tiled(pipe: StyleCrafterPipeline, options: MemoryOptions) -> Iterator[None]:
    """The autoencoder as it is with these options."""
    before = set_tiles(pipe.vae, TILE) if options.low_memory else {}
    try:
        yield
    finally:
        restore_tiles(pipe.vae, before)
