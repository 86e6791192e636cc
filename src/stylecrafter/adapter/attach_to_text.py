"""The paper's alternative to dual cross-attention: style tokens behind the text tokens, in one attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylecrafter.adapter.style_processor import ActingStyle, Call, StyleAttentionProcessor


class AttachToTextProcessor(StyleAttentionProcessor):
    """F_out = to_out(A + s (A' - A)), A = SDPA(text), A' = SDPA([text; style]): one softmax over both.

    Keys and values are those of the frozen base, so that a layer has nothing to learn; s = 1 is the paper's ablation
    "w/o dual cross-attention", which has no factor. As in dual fusion, s is the product of all factors and multiplies
    what the style adds to the text's attention: 0 is the base, bit for bit. For s in [0, 1] the result still is one
    attention, in which the style has s times the weight that the softmax gave it. (A bias log(s) on the style's
    logits would also lead from the base to the ablation, but where the style takes nearly all attention, as the
    paper's figures say it does, that dial turns nothing before s is close to 0, and there its gradient is infinite.)
    """

    def fuse(self, call: Call) -> Tensor:
        """From the attention to the text, s of the way to the attention to text and style together."""
        key, value = call.keys(call.context)
        first, *others = call.styles
        joint = self._joint(call, first, key, value)
        if isinstance(first.factor, float):
            if first.factor == 1.0:
                return joint
            return torch.lerp(call.attend(key, value, call.mask), joint, first.factor)
        text = call.attend(key, value, call.mask)
        # `lerp` is exact at both ends.
        out = torch.lerp(first.per_frame(text), first.per_frame(joint), first.factor).view_as(text)
        for style in others:
            added = style.per_frame(self._joint(call, style, key, value) - text)
            out = out + (added * style.factor).view_as(text)
        return out

    def _joint(self, call: Call, style: ActingStyle, key: Tensor, value: Tensor) -> Tensor:
        """Attention to the text, by its keys and values, and one style together."""
        tokens = style.tokens.to(call.context.dtype)
        if call.attn.norm_cross:
            tokens = call.attn.norm_encoder_hidden_states(tokens)
        entries = call.query.shape[0] // tokens.shape[0]
        style_key, style_value = (x.repeat_interleave(entries, dim=0) for x in call.keys(tokens))
        mask = call.mask
        if mask is not None:
            # The text's mask hides no style token.
            mask = F.pad(mask, (0, tokens.shape[1]), value=mask.dtype == torch.bool)
        return call.attend(torch.cat([key, style_key], 2), torch.cat([value, style_value], 2), mask)
