"""Whether a denoiser can take what it is given."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stylecrafter.adapter.style_processor import StyleAttentionProcessor
from stylecrafter.errors import InvalidInputError


def check_shapes(
    latents: Tensor,
    channels: int,
    text: Tensor,
    width: int,
    style_tokens: Tensor | None,
    style_scales: Tensor | None,
) -> None:
    """Refuse latents, text and style that do not go together.

    Raises:
        InvalidInputError: Shapes that do not fit.
    """
    if latents.ndim != 5 or latents.shape[1] != channels:
        raise InvalidInputError(
            f"latents must be (batch, {channels}, frames, height, width), got {tuple(latents.shape)}"
        )
    b, f = latents.shape[0], latents.shape[2]
    for name, value in (("text embeddings", text), ("style tokens", style_tokens)):
        if value is not None and (value.ndim != 3 or value.shape[0] != b or value.shape[2] != width):
            raise InvalidInputError(f"{name} must be ({b}, tokens, {width}), got {tuple(value.shape)}")
    if style_tokens is None:
        if style_scales is not None:
            raise InvalidInputError("style_scales without style_tokens have no effect; give both or none")
    elif style_scales is not None and style_scales.shape[:-1] not in ((b,), (b, f)):
        raise InvalidInputError(
            f"style scales must be ({b}, layers) or ({b}, {f}, layers), got {tuple(style_scales.shape)}"
        )


def check_attached(denoiser: Any) -> None:
    """Refuse a style that nothing would read.

    Raises:
        InvalidInputError: No adapter is attached.
    """
    if not any(isinstance(p, StyleAttentionProcessor) for p in denoiser.attn_processors.values()):
        raise InvalidInputError("style_tokens need an adapter: call StyleAdapter.attach(unet) first")
