"""Dual cross-attention: the text's attention plus a scaled attention to the style tokens."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecrafter.adapter.style_processor import ActingStyle, Call, StyleAttentionProcessor

#: Of the published norm of style keys.
KEY_NORM_EPS = 1e-5


class StyleKeyValue(nn.Module):
    """What one layer learns: keys and values of the style tokens, and the norm of what they give.

    Published adapters differ in their fusion by no more than these arguments.

    Args:
        style_dim: Width of the style tokens.
        inner_dim: Width of the layer's attention (heads x head width).
        bias: Of keys and values (StyleMaster).
        output_norm: LayerNorm of the style's attention, before its factor (StyleCrafter).
        key_norm: RMSNorm of the keys over all heads together (StyleMaster).
    """

    def __init__(
        self,
        style_dim: int,
        inner_dim: int,
        *,
        bias: bool = False,
        output_norm: bool = True,
        key_norm: bool = False,
    ) -> None:
        super().__init__()
        self.to_k = nn.Linear(style_dim, inner_dim, bias=bias)
        self.to_v = nn.Linear(style_dim, inner_dim, bias=bias)
        self.norm = nn.LayerNorm(inner_dim) if output_norm else None
        self.norm_k = nn.RMSNorm(inner_dim, eps=KEY_NORM_EPS) if key_norm else None

    @torch.no_grad()
    def start_from(self, layer: Any) -> None:
        """Copy keys and values of the text from a layer of the base model, bias and norm where both have them."""
        owns: tuple[tuple[Any, str], ...] = (
            (self.to_k, "to_k"),
            (self.to_v, "to_v"),
            (self.norm_k, "norm_k"),
        )
        for own, name in owns:
            theirs = getattr(layer, name)
            if own is None or theirs is None:
                continue
            own.weight.copy_(theirs.weight)
            if getattr(own, "bias", None) is not None and theirs.bias is not None:
                own.bias.copy_(theirs.bias)

    def keys(self, tokens: Tensor) -> Tensor:
        """(b, q, style_dim) -> (b, q, inner_dim)."""
        key: Tensor = self.to_k(tokens)
        return key if self.norm_k is None else self.norm_k(key)

    def normed(self, out: Tensor) -> Tensor:
        """What the style's attention gives (…, inner_dim), normed where this layer does so, in its own dtype."""
        return out if self.norm is None else self.norm(out.to(self.norm.weight.dtype)).to(out.dtype)


class DualCrossAttentionProcessor(StyleAttentionProcessor):
    """F_out = to_out(SDPA(text) + s LN(SDPA(style))), s the product of all factors; LN where the layer has it.

    Both attentions have the layer's own queries and logits scaled by 1/sqrt(d) (paper, section 3.2, equation 1;
    published `DualCrossAttnProcessorAS`).

    Args:
        layer: The layer's style keys, values and norm.
        *place: As of the base class.
    """

    def __init__(self, layer: StyleKeyValue, *place: Any) -> None:
        super().__init__(*place)
        self.layer = layer

    def fuse(self, call: Call) -> Tensor:
        """Text attention plus scaled style attention."""
        out = call.attend(*call.keys(call.context), call.mask)
        for style in call.styles:
            out = self._with_style(call, style, out)
        return out

    def _with_style(self, call: Call, style: ActingStyle, out: Tensor) -> Tensor:
        """What was attended to so far (n, t, heads · width), plus one style."""
        b, n = style.tokens.shape[0], call.query.shape[0]
        dtype, stored = call.query.dtype, self.layer.to_k.weight.dtype
        # Weights may differ in type from the model's. Those kept in 8 bits are widened when they are used, to a type
        # that only the caller knows.
        tokens = style.tokens.to(stored) if stored.itemsize > 1 else style.tokens
        style_key = call.heads(self.layer.keys(tokens)).to(dtype)
        style_value = call.heads(self.layer.to_v(tokens)).to(dtype)
        # All entries of one sample share its style, so its frames become one long row of queries.
        query = call.query if n == b else _one_row(call.query, b)
        read = F.scaled_dot_product_attention(query, style_key, style_value)
        read = self.layer.normed(read.transpose(1, 2).reshape(out.shape))
        if isinstance(style.factor, float):
            return torch.add(out, read, alpha=style.factor)
        return torch.addcmul(style.per_frame(out), style.per_frame(read), style.factor).view_as(out)


def _one_row(query: Tensor, b: int) -> Tensor:
    """(b f, heads, t, width) -> (b, heads, f t, width)."""
    _, heads, _, width = query.shape
    return query.transpose(1, 2).reshape(b, -1, heads, width).transpose(1, 2)
