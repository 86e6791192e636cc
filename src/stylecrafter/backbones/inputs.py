"""Whether a denoiser can take what it is given."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stylecrafter.adapter.style_processor import StyleAttentionProcessor
from stylecrafter.adapter.style_slot import StyleSlot
from stylecrafter.errors import InvalidInputError


def check_shapes(
    latents: Tensor,
    channels: int,
    text: Tensor,
    width: int,
    style_tokens: Tensor | None,
    style_scales: Tensor | None,
    style_width: int | None = None,
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
    for name, value, wide in (
        ("text embeddings", text, width),
        ("style tokens", style_tokens, style_width or width),
    ):
        if value is not None and (value.ndim != 3 or value.shape[0] != b or value.shape[2] != wide):
            raise InvalidInputError(f"{name} must be ({b}, tokens, {wide}), got {tuple(value.shape)}")
    if style_tokens is None:
        if style_scales is not None:
            raise InvalidInputError("style_scales without style_tokens have no effect; give both or none")
    elif style_scales is not None and style_scales.shape[:-1] not in ((b,), (b, f)):
        raise InvalidInputError(
            f"style scales must be ({b}, layers) or ({b}, {f}, layers), got {tuple(style_scales.shape)}"
        )


def found_slot(denoiser: Any) -> StyleSlot | None:
    """Where a style for the denoiser's layers may be put; None: no adapter is attached."""
    processors = denoiser.attn_processors.values()
    return next((p.slot for p in processors if isinstance(p, StyleAttentionProcessor)), None)


def attached_slot(denoiser: Any) -> StyleSlot:
    """As `found_slot`, of a denoiser that is given a style.

    Raises:
        InvalidInputError: No adapter is attached, so that nothing would read the style.
    """
    slot = found_slot(denoiser)
    if slot is None:
        raise InvalidInputError(
            f"style_tokens need an adapter: call StyleAdapter.attach with the {type(denoiser).__name__} first"
        )
    return slot
