"""Dual cross-attention: the text's attention plus a scaled, normalised attention to the style tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecrafter.errors import InvalidInputError


class StyleKeyValue(nn.Module):
    """What one layer learns: keys and values of the style tokens, and the norm of what they give.

    Args:
        style_dim: Width of the style tokens.
        inner_dim: Width of the layer's attention (heads x head width).
    """

    def __init__(self, style_dim: int, inner_dim: int) -> None:
        super().__init__()
        self.to_k = nn.Linear(style_dim, inner_dim, bias=False)
        self.to_v = nn.Linear(style_dim, inner_dim, bias=False)
        self.norm = nn.LayerNorm(inner_dim)


class DualCrossAttentionProcessor:
    """Attention processor of one cross-attention layer; a plain object, so it adds no weights to the model.

    F_out = to_out(SDPA(text) + s_i * layer_scale * frame_scale * LN(SDPA(style))), both attentions with the
    layer's own queries and logits scaled by 1/sqrt(d) (paper, section 3.2; published
    `DualCrossAttnProcessorAS`). Without style tokens the replaced processor runs, unchanged.

    Args:
        layer: The layer's style keys, values and norm.
        index: Position of this layer in `style_scales`.
        base: The processor that this one stands in for.
    """

    def __init__(self, layer: StyleKeyValue, index: int, base: Callable[..., Tensor]) -> None:
        self.layer = layer
        self.index = index
        self.base = base
        self.layer_scale = 1.0
        self.frame_scales: tuple[float, ...] | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        num_frames: int | None = None,
    ) -> Tensor:
        """Attend to the text and, if given, to the style.

        Args:
            attn: The diffusers `Attention` module.
            hidden_states: (n, t, c), or (n, c, h, w) where the module takes maps. n is a multiple of the
                styles' batch b: the n / b entries of one sample follow each other (frames of a clip).
            encoder_hidden_states: Text (n, l, d).
            attention_mask: As in diffusers, for the text only.
            temb: As in diffusers.
            style_tokens: (b, q, d), or None for the base attention.
            style_scales: (b, L) or per frame (b, f, L); None: factor 1.
            num_frames: Frames within one sample, if they lie in the token axis; None: n / b.

        Raises:
            InvalidInputError: Shapes that do not fit.
        """
        if style_tokens is None or self.layer_scale == 0.0:
            return self.base(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        map_shape = hidden_states.shape if hidden_states.ndim == 4 else None
        if map_shape is not None:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        n, t, _ = hidden_states.shape
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, context.shape[1], n)
            attention_mask = attention_mask.view(n, attn.heads, -1, attention_mask.shape[-1])
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        query = attn.to_q(hidden_states)
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        key, value = attn.to_k(context), attn.to_v(context)
        head_dim = key.shape[-1] // attn.heads

        def split(x: Tensor, batch: int) -> Tensor:
            return x.reshape(batch, -1, attn.heads, head_dim).transpose(1, 2)

        q, k, v = split(query, n), split(key, n), split(value, n)
        if attn.norm_q is not None:
            q = attn.norm_q(q)
        if attn.norm_k is not None:
            k = attn.norm_k(k)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
        out = out.transpose(1, 2).reshape(n, t, attn.heads * head_dim)

        b = style_tokens.shape[0]
        if style_tokens.ndim != 3 or n % b:
            raise InvalidInputError(
                f"style tokens must be (batch, tokens, width) with a batch that divides {n}, "
                f"got {tuple(style_tokens.shape)}"
            )
        style_tokens = style_tokens.to(self.layer.to_k.weight.dtype)
        style_key = split(self.layer.to_k(style_tokens), b).to(q.dtype)
        style_value = split(self.layer.to_v(style_tokens), b).to(q.dtype)
        # All entries of one sample share its style, so its frames become one long row of queries.
        style_query = q if n == b else split(q.transpose(1, 2), b)
        style = F.scaled_dot_product_attention(style_query, style_key, style_value)
        style = self.layer.norm(style.transpose(1, 2).reshape(n, t, attn.heads * head_dim)).to(out.dtype)
        out = self._add(out, style, style_scales, b, num_frames or n // b)

        out = attn.to_out[1](attn.to_out[0](out.to(query.dtype)))
        if map_shape is not None:
            out = out.transpose(1, 2).reshape(map_shape)
        if attn.residual_connection:
            out = out + residual
        return out if attn.rescale_output_factor == 1.0 else out / attn.rescale_output_factor

    def _add(self, text: Tensor, style: Tensor, scales: Tensor | None, b: int, frames: int) -> Tensor:
        """text + factor * style; a factor per sample and frame where one is given."""
        factor: Tensor | None = None
        if scales is not None:
            if scales.ndim not in (2, 3) or scales.shape[0] != b or self.index >= scales.shape[-1]:
                raise InvalidInputError(
                    f"style scales must be ({b}, layers) or ({b}, {frames}, layers) with more than "
                    f"{self.index} layers, got {tuple(scales.shape)}"
                )
            if scales.ndim == 3 and scales.shape[1] != frames:
                raise InvalidInputError(
                    f"style scales for {scales.shape[1]} frames, but the clip has {frames}"
                )
            factor = scales[..., self.index].reshape(b, -1)
        if self.frame_scales is not None:
            if len(self.frame_scales) != frames:
                raise InvalidInputError(
                    f"set_scale was given {len(self.frame_scales)} frame scales, the clip has {frames} frames"
                )
            per_frame = torch.tensor(self.frame_scales, device=style.device, dtype=style.dtype)
            factor = per_frame[None] if factor is None else factor * per_frame
        if factor is None:
            return torch.add(text, style, alpha=self.layer_scale)
        if self.layer_scale != 1.0:
            factor = factor * self.layer_scale
        factor = factor.to(style.dtype)[:, :, None, None]
        width = style.shape[-1]
        style = style.view(b, factor.shape[1], -1, width)
        return torch.addcmul(text.view_as(style), style, factor).view_as(text)


class StyleBlindProcessor:
    """Stands before a processor that knows nothing of styles, and keeps the style arguments from it.

    diffusers hands `cross_attention_kwargs` to every attention of a block; without this, each layer outside
    the adapter would warn about them in every step.
    """

    def __init__(self, base: Callable[..., Tensor]) -> None:
        self.base = base

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        num_frames: int | None = None,
    ) -> Tensor:
        """Run the base attention."""
        return self.base(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
