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
    style_per_frame: bool = False,
) -> None:
    """Refuse latents, text and style that do not go together.

    `style_per_frame`: whether there may be style tokens for every frame, (b, f, q, width).

    Raises:
        InvalidInputError: Shapes that do not fit.
    """
    if latents.ndim != 5 or latents.shape[1] != channels:
        raise InvalidInputError(
            f"latents must be (batch, {channels}, frames, height, width), got {tuple(latents.shape)}"
        )
    b, f = latents.shape[0], latents.shape[2]
    wide = style_width or width
    tokens = style_tokens
    if tokens is not None and tokens.ndim == 4:
        if not style_per_frame:
            raise InvalidInputError(
                f"this base model reads one style for all frames, ({b}, tokens, {wide}), got {tuple(tokens.shape)}"
            )
        if tokens.shape[1] != f:
            raise InvalidInputError(
                f"style tokens must be ({b}, {f}, tokens, {wide}) where every frame has its own, "
                f"got {tuple(tokens.shape)}"
            )
        tokens = tokens[:, 0]
    for name, value, expected in (("text embeddings", text, width), ("style tokens", tokens, wide)):
        if value is not None and (value.ndim != 3 or value.shape[0] != b or value.shape[2] != expected):
            raise InvalidInputError(f"{name} must be ({b}, tokens, {expected}), got {tuple(value.shape)}")
    if style_tokens is None:
        if style_scales is not None:
            raise InvalidInputError("style_scales without style_tokens have no effect; give both or none")
    elif style_scales is not None and style_scales.shape[:-1] not in ((b,), (b, f)):
        raise InvalidInputError(
            f"style scales must be ({b}, layers) or ({b}, {f}, layers), got {tuple(style_scales.shape)}"
        )


def rows_per_frame(
    text: Tensor, style_tokens: Tensor, style_scales: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What cross-attention reads where every frame has a style of its own: a row for each frame of each clip.

    Args:
        text: (b, l, d), the same for all frames of a clip.
        style_tokens: (b, f, q, d).
        style_scales: (b, L) or (b, f, L).

    Returns:
        Text (b f, l, d), style tokens (b f, q, d) and scales (b f, L).
    """
    frames = style_tokens.shape[1]
    if style_scales is not None:
        style_scales = (
            style_scales.flatten(0, 1)
            if style_scales.ndim == 3
            else style_scales.repeat_interleave(frames, dim=0)
        )
    return text.repeat_interleave(frames, dim=0), style_tokens.flatten(0, 1), style_scales


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


def check_places(places: tuple[int, int, int], most: int) -> None:
    """Refuse more tokens along frames, height or width than rotary embeddings have places for.

    Raises:
        InvalidInputError: There are more.
    """
    if max(places) > most:
        raise InvalidInputError(
            f"the transformer knows {most} places along each axis, got {' x '.join(map(str, places))} tokens (frames x "
            "height x width): ask for less, longer clips by windows"
        )
