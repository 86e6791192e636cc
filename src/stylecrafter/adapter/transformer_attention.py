"""Dual cross-attention in diffusion transformers whose attention is no diffusers `Attention` (Wan)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stylecrafter.adapter.dual_attention import DualCrossAttentionProcessor
from stylecrafter.adapter.style_processor import Call, split_heads
from stylecrafter.errors import InvalidInputError


class WanDualAttentionProcessor(DualCrossAttentionProcessor):
    """As its base class, for `WanAttention`: queries and keys are normed over all heads together, and the layer is
    handed no arguments of the caller's, so that the style comes through the slot.

    All frames of a sample lie in its token axis.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: Any = None,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        num_frames: int | None = None,
    ) -> Tensor:
        """Attend to the text and, if given, to the style.

        Args:
            attn: The `WanAttention` module, a cross-attention.
            hidden_states: (b, t, c).
            encoder_hidden_states: Text (b, l, c), already projected to the model's width.
            attention_mask: As in diffusers.
            rotary_emb: As in diffusers: None in cross-attention.
            style_tokens: (b, q, d), or None for what lies in the slot, if anything. (b f, q, d) is a style for every
                frame, with scales (b f, L).
            style_scales: (b, L) or per frame (b, f, L); None: factor 1.
            num_frames: Frames within one sample.

        Raises:
            InvalidInputError: Shapes that do not fit.
        """
        style = self._style(style_tokens, style_scales, num_frames)
        if style is None or encoder_hidden_states is None:
            return self.base(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        # Frames with styles of their own are rows of their own; that changes nothing else, for there are no positions.
        frames = max(1, style.tokens.shape[0] // hidden_states.shape[0])
        if hidden_states.shape[1] % frames:
            raise InvalidInputError(f"{hidden_states.shape[1]} tokens per sample are no {frames} frames")
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(1, (frames, -1)).flatten(0, 1)
        n, t, _ = query.shape

        def keys(context: Tensor) -> tuple[Tensor, Tensor]:
            both = attn.norm_k(attn.to_k(context)), attn.to_v(context)
            key, value = (split_heads(x, attn.heads) for x in both)
            if frames == 1:
                return key, value
            return key.repeat_interleave(frames, dim=0), value.repeat_interleave(frames, dim=0)

        call = Call(
            attn=attn,
            query=split_heads(query, attn.heads),
            keys=keys,
            context=encoder_hidden_states,
            mask=attention_mask,
            styles=self._acting(style, n, t, query),
        )
        fused = self.fuse(call).type_as(query).unflatten(0, (-1, frames)).flatten(1, 2)
        return attn.to_out[1](attn.to_out[0](fused))
