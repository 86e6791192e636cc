"""One dual cross-attention layer against its formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

from stylecrafter.adapter.dual_attention import (
    DualCrossAttentionProcessor,
    StyleKeyValue,
)
from stylecrafter.adapter.style_processor import StyleBlindProcessor
from stylecrafter.errors import InvalidInputError

Draw = Callable[..., Tensor]


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    return Attention(16, cross_attention_dim=12, heads=2, dim_head=8)


@pytest.fixture
def dual(attention: Attention) -> DualCrossAttentionProcessor:
    torch.manual_seed(1)
    layer = StyleKeyValue(12, 16)
    torch.nn.init.normal_(layer.norm.weight)
    torch.nn.init.normal_(layer.norm.bias)
    processor = DualCrossAttentionProcessor(layer, 1, 2, attention.get_processor())
    attention.set_processor(processor)
    return processor


def formula(attn: Attention, layer: StyleKeyValue, x: Tensor, text: Tensor, style: Tensor, s: Any) -> Tensor:
    """to_out(softmax(q k / sqrt(d)) v + s LN(softmax(q k' / sqrt(d)) v')), written out per head."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = []
        for i in range(attn.heads):
            part = slice(8 * i, 8 * i + 8)
            logits = q[..., part] @ k[..., part].transpose(1, 2) / 8**0.5
            heads.append(logits.softmax(-1) @ v[..., part])
        return torch.cat(heads, -1)

    q = x @ attn.to_q.weight.T
    plain = attend(q, text @ attn.to_k.weight.T, text @ attn.to_v.weight.T)
    styled = attend(q, style @ layer.to_k.weight.T, style @ layer.to_v.weight.T)
    styled = F.layer_norm(styled, (16,), layer.norm.weight, layer.norm.bias)
    return F.linear(plain + s * styled, attn.to_out[0].weight, attn.to_out[0].bias)


def test_formula(attention: Attention, dual: DualCrossAttentionProcessor, draw: Draw) -> None:
    x, text, style = draw(2, 9, 16), draw(2, 5, 12, seed=1), draw(2, 3, 12, seed=2)
    scales = torch.tensor([[0.3, 0.6], [1.0, 1.7]])
    dual.layer_scale = 0.5
    actual = attention(x, text, style_tokens=style, style_scales=scales)
    wanted = formula(attention, dual.layer, x, text, style, 0.5 * scales[:, 1][:, None, None])
    torch.testing.assert_close(actual, wanted)
    dual.layer_scale = 1.0
    torch.testing.assert_close(
        attention(x, text, style_tokens=style), formula(attention, dual.layer, x, text, style, 1.0)
    )


def test_without_style_the_base_processor_runs(
    attention: Attention, dual: DualCrossAttentionProcessor, draw: Draw
) -> None:
    x, text = draw(2, 9, 16), draw(2, 5, 12, seed=1)
    assert torch.equal(attention(x, text), AttnProcessor2_0()(attention, x, text))


def test_scales_of_zero_give_the_base_bit_for_bit(
    attention: Attention, dual: DualCrossAttentionProcessor, draw: Draw
) -> None:
    x, text, style = draw(2, 9, 16), draw(2, 5, 12, seed=1), draw(2, 3, 12, seed=2)
    base = attention(x, text)
    assert torch.equal(attention(x, text, style_tokens=style, style_scales=torch.zeros(2, 2)), base)
    dual.layer_scale = 0.0
    assert torch.equal(attention(x, text, style_tokens=style), base)


def test_frames_in_the_batch_or_in_the_row_of_queries(
    attention: Attention, dual: DualCrossAttentionProcessor, draw: Draw
) -> None:
    """(b * f, hw) with repeated text and (b, f * hw) with one text per clip are the same attention."""
    b, f, hw = 2, 3, 4
    x, text, style = draw(b * f, hw, 16), draw(b, 5, 12, seed=1), draw(b, 3, 12, seed=2)
    per_frame = draw(b, f, 2, seed=3)
    dual.frame_scales = (0.2, 0.4, 0.6)
    in_batch = attention(
        x, text.repeat_interleave(f, 0), style_tokens=style, style_scales=per_frame, num_frames=f
    )
    in_row = attention(x.view(b, f * hw, 16), text, style_tokens=style, style_scales=per_frame, num_frames=f)
    torch.testing.assert_close(in_batch, in_row.view(b * f, hw, 16))
    factors = per_frame[..., 1] * torch.tensor([0.2, 0.4, 0.6])
    wanted = formula(
        attention,
        dual.layer,
        x,
        text.repeat_interleave(f, 0),
        style.repeat_interleave(f, 0),
        factors.reshape(-1, 1, 1),
    )
    torch.testing.assert_close(in_batch, wanted)


def test_text_mask_hides_text_only(
    attention: Attention, dual: DualCrossAttentionProcessor, draw: Draw
) -> None:
    x, text, style = draw(2, 9, 16), draw(2, 5, 12, seed=1), draw(2, 3, 12, seed=2)
    mask = torch.zeros(2, 1, 5)
    mask[..., 3:] = -1e4
    masked = attention(x, text, attention_mask=mask, style_tokens=style)
    torch.testing.assert_close(masked, attention(x, text[:, :3], style_tokens=style))


def test_maps_with_norm_and_residual(draw: Draw) -> None:
    """The forms of `Attention` in other models: (n, c, h, w), group norm, residual, output factor."""
    torch.manual_seed(0)
    attention = Attention(
        16, 12, heads=2, dim_head=8, norm_num_groups=4, residual_connection=True, rescale_output_factor=2.0
    )
    x, text, style = draw(2, 16, 3, 3), draw(2, 5, 12, seed=1), draw(2, 3, 12, seed=2)
    base = attention(x, text)
    attention.set_processor(
        DualCrossAttentionProcessor(StyleKeyValue(12, 16), 0, 1, attention.get_processor())
    )
    zero = attention(x, text, style_tokens=style, style_scales=torch.zeros(2, 1))
    assert torch.equal(zero, base)
    assert not torch.allclose(attention(x, text, style_tokens=style), base, atol=1e-3)


@pytest.mark.parametrize(
    ("style", "scales", "message"),
    [
        ((3, 3, 12), (3, 2), "divides 2"),
        ((2, 3, 12), (1, 2), r"style scales must be \(2, 2\)"),
        ((2, 3, 12), (2, 1), r"must be \(2, 2\), .* got \(2, 1\)"),
        ((2, 3, 12), (2, 4, 2), r"\(2, 1, 2\) with one per frame, got \(2, 4, 2\)"),
    ],
)
def test_bad_shapes_are_named(
    attention: Attention,
    dual: DualCrossAttentionProcessor,
    draw: Draw,
    style: tuple[int, ...],
    scales: tuple[int, ...],
    message: str,
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        attention(draw(2, 9, 16), draw(2, 5, 12), style_tokens=draw(*style), style_scales=draw(*scales))


def test_frame_scales_must_match_the_clip(
    attention: Attention, dual: DualCrossAttentionProcessor, draw: Draw
) -> None:
    dual.frame_scales = (1.0, 0.0)
    with pytest.raises(InvalidInputError, match="2 frame scales, the clip has 1"):
        attention(draw(2, 9, 16), draw(2, 5, 12), style_tokens=draw(2, 3, 12))


def test_blind_processor_drops_the_style(attention: Attention, draw: Draw) -> None:
    x, text = draw(2, 9, 16), draw(2, 5, 12, seed=1)
    base = attention(x, text)
    attention.set_processor(StyleBlindProcessor(attention.get_processor()))
    assert torch.equal(attention(x, text, style_tokens=draw(2, 3, 12), style_scales=draw(2, 2)), base)
