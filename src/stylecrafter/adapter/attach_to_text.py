"""The paper's alternative to dual attention: style tokens behind the text tokens, in one attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylecrafter.adapter.style_processor import Call, StyleAttentionProcessor
from stylecrafter.errors import InvalidInputError


class AttachToTextProcessor(StyleAttentionProcessor):
    """F_out = to_out(SDPA([text; style])): one softmax over text and style, keys and values of the frozen base.

    The paper's ablation "w/o dual cross-attention". It has no factor there; here the product of all factors is a
    weight w of the style tokens, which enters the softmax as log(w) on their logits: w = 1 is the ablation, w = 2
    every style token twice, and w towards 0 the base.
    """

    def fuse(self, call: Call) -> Tensor:
        """Attention to text and style tokens together.

        Raises:
            InvalidInputError: A negative factor: it has no logarithm.
        """
        n, b = call.query.shape[0], call.style_tokens.shape[0]
        style = call.style_tokens.to(call.context.dtype).repeat_interleave(n // b, 0)
        length, count = call.context.shape[1], style.shape[1]
        key, value = call.keys(torch.cat([call.context, style], 1))
        mask = self._mask(call, n, length, count)
        return call.joined(F.scaled_dot_product_attention(call.query, key, value, attn_mask=mask))

    def _mask(self, call: Call, n: int, length: int, count: int) -> Tensor | None:
        """What is added to the logits (n, 1 or heads, 1 or t, length + count): the text's own mask, and log(w)."""
        if call.mask is None and call.factor is None and self.layer_scale == 1.0:
            return None
        query = call.query
        text = query.new_zeros(n, 1, 1, length)
        if call.mask is not None:
            text = call.mask
            if text.dtype == torch.bool:
                text = query.new_zeros(text.shape).masked_fill(~text, float("-inf"))
            text = text.to(query.dtype)
        bias = self._log_weight(call, n)[..., None]
        rows = max(text.shape[2], bias.shape[2])
        text = text.expand(n, -1, rows, -1)
        return torch.cat([text, bias.expand(n, text.shape[1], rows, count)], -1)

    def _log_weight(self, call: Call, n: int) -> Tensor:
        """log(w) per entry (n, 1, 1), or per query (n, 1, t) where the frames lie in the token axis."""
        query = call.query
        factor = query.new_ones(1, 1) if call.factor is None else call.factor.to(query.dtype)
        weight = factor * self.layer_scale
        if bool((weight < 0).any()):
            raise InvalidInputError(
                f"attach_to_text takes style scales from 0, got {float(weight.min()):g}; only dual fusion can invert"
            )
        weight = weight.expand(call.style_tokens.shape[0], -1)
        b, frames = weight.shape
        if frames > 1 and n == b:
            per_query = weight.repeat_interleave(query.shape[2] // frames, 1)
            return per_query.log()[:, None]
        return weight.repeat_interleave(n // (b * frames), 1).reshape(n, 1, 1).log()
