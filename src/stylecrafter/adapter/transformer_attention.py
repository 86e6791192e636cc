"""Dual cross-attention in diffusion transformers whose attention is no diffusers `Attention` (Wan)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stylecrafter.adapter.dual_attention import DualCrossAttentionProcessor
from stylecrafter.adapter.style_processor import Call, split_heads


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
            style_tokens: (b, q, d), or None for what lies in the slot, if anything.
            style_scales: (b, L) or per frame (b, f, L); None: factor 1.
            num_frames: Frames within one sample.

        Raises:
            InvalidInputError: Shapes that do not fit.
        """
        style = self._style(style_tokens, style_scales, num_frames)
        if style is None or encoder_hidden_states is None:
            return self.base(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        n, t, _ = hidden_states.shape
        query = attn.norm_q(attn.to_q(hidden_states))

        def keys(context: Tensor) -> tuple[Tensor, Tensor]:
            key, value = attn.norm_k(attn.to_k(context)), attn.to_v(context)
            return split_heads(key, attn.heads), split_heads(value, attn.heads)

        call = Call(
            attn=attn,
            query=split_heads(query, attn.heads),
            keys=keys,
            context=encoder_hidden_states,
            mask=attention_mask,
            styles=self._acting(style, n, t, query),
        )
        return attn.to_out[1](attn.to_out[0](self.fuse(call).type_as(query)))
