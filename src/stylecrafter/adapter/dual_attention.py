"""Dual cross-attention: the text's attention plus a scaled, normalised attention to the style tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecrafter.adapter.style_processor import Call, StyleAttentionProcessor


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


class DualCrossAttentionProcessor(StyleAttentionProcessor):
    """F_out = to_out(SDPA(text) + s LN(SDPA(style))), s the product of all factors.

    Both attentions have the layer's own queries and logits scaled by 1/sqrt(d) (paper, section 3.2, equation 1;
    published `DualCrossAttnProcessorAS`).

    Args:
        layer: The layer's style keys, values and norm.
        index: Position of this layer in `style_scales`.
        num_layers: L, the length of `style_scales`.
        base: The processor that this one stands in for.
    """

    def __init__(
        self, layer: StyleKeyValue, index: int, num_layers: int, base: Callable[..., Tensor]
    ) -> None:
        super().__init__(index, num_layers, base)
        self.layer = layer

    def fuse(self, call: Call) -> Tensor:
        """Text attention plus scaled, normalised style attention."""
        text = call.attend(*call.keys(call.context), call.mask)
        b, n = call.style_tokens.shape[0], call.query.shape[0]
        dtype, norm, stored = call.query.dtype, self.layer.norm, self.layer.to_k.weight.dtype
        # Weights may differ in type from the model's. Those kept in 8 bits are widened when they are used, to a type
        # that only the caller knows.
        tokens = call.style_tokens.to(stored) if stored.itemsize > 1 else call.style_tokens
        style_key = call.heads(self.layer.to_k(tokens)).to(dtype)
        style_value = call.heads(self.layer.to_v(tokens)).to(dtype)
        # All entries of one sample share its style, so its frames become one long row of queries.
        query = call.query if n == b else _one_row(call.query, b)
        style = F.scaled_dot_product_attention(query, style_key, style_value)
        style = norm(style.transpose(1, 2).reshape(text.shape).to(norm.weight.dtype)).to(text.dtype)
        if isinstance(call.factor, float):
            return torch.add(text, style, alpha=call.factor)
        return torch.addcmul(call.per_frame(text), call.per_frame(style), call.factor).view_as(text)


def _one_row(query: Tensor, b: int) -> Tensor:
    """(b f, heads, t, width) -> (b, heads, f t, width)."""
    _, heads, _, width = query.shape
    return query.transpose(1, 2).reshape(b, -1, heads, width).transpose(1, 2)
