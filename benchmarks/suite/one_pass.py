"""One pass of VideoCrafter's UNet at 16 frames of 16 x 16 latents: ours against the published structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import keeping, taking_turns
from benchmarks.models import videocrafter
from benchmarks.published.unet import published_copy
from benchmarks.results import Comparison
from benchmarks.settings import Settings

PUBLISHED, FUSED, OURS = "published", "published, xformers", "ours"


def run(settings: Settings) -> list[Comparison]:
    """The pass with style, in float32."""
    pipe = videocrafter(settings.size, settings.device)
    inputs = pass_inputs(pipe, frames=16 if settings.full else 4, side=16 if settings.full else 8)
    outs: dict[str, Tensor] = {}
    costs = taking_turns(keeping(passes(pipe, inputs), outs), settings.repeats, settings.device)
    first = outs.pop(PUBLISHED)
    quality = {name: f"differs by {difference(out, first):.1e}" for name, out in outs.items()}
    notes = [
        f"{' x '.join(map(str, inputs[0].shape))} latents, 77 text and {inputs[3].shape[1]} style tokens, float32, "
        "random weights, the same tensors in all",
        "published: attention to text, style and pixels as softmax(QK')V step by step, as without xformers; "
        "published, xformers: in one call, as its memory_efficient_attention (here torch's)",
        "quality: largest difference, relative to the largest number",
    ]
    return [Comparison("One pass of the UNet", "one pass", costs, quality, notes)]


def pass_inputs(pipe: Any, frames: int, side: int) -> tuple[Tensor, ...]:
    """Latents, timestep, text, style tokens and factors of one clip."""
    device, config = pipe.unet.device, pipe.unet.config
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    width, adapter = config["cross_attention_dim"], pipe.style_adapter
    return (
        draw(1, config["in_channels"], frames, side, side),
        torch.tensor([781], device=device),
        draw(1, 77, width),
        draw(1, 8, width),
        1 + 0.5 * draw(1, adapter.num_layers).tanh(),
    )


def passes(pipe: Any, inputs: tuple[Tensor, ...]) -> dict[str, Callable[[], Tensor]]:
    """The pass by each of the three."""
    plain, fused = (published_copy(pipe.unet, pipe.style_adapter, fused=fused) for fused in (False, True))

    def ours() -> Tensor:
        with torch.no_grad():
            return pipe.unet(*inputs).sample

    def published() -> Tensor:
        with torch.no_grad():
            return plain(*inputs)

    def with_xformers() -> Tensor:
        with torch.no_grad():
            return fused(*inputs)

    return {PUBLISHED: published, FUSED: with_xformers, OURS: ours}


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest number of b."""
    return float((a - b).abs().max() / b.abs().max())
