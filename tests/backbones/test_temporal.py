"""Temporal attention with relative positions against its formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylecrafter.backbones.temporal import RelativeTemporalAttention, TemporalTransformer

Draw = Callable[..., Tensor]


def formula(attention: RelativeTemporalAttention, x: Tensor) -> Tensor:
    """The published attention, one pair of frames at a time."""
    n, f, _ = x.shape
    heads, reach = attention.num_heads, attention.max_relative_position
    q, k, v = (layer(x).view(n, f, heads, -1) for layer in (attention.to_q, attention.to_k, attention.to_v))
    out = torch.zeros_like(q)
    for i in range(f):
        rows = [min(max(j - i, -reach), reach) + reach for j in range(f)]
        logits = torch.stack(
            [(q[:, i] * (k[:, j] + attention.key_positions[rows[j]])).sum(-1) for j in range(f)], -1
        )
        weights = (logits / q.shape[-1] ** 0.5).softmax(-1)
        for j in range(f):
            out[:, i] += weights[..., j, None] * (v[:, j] + attention.value_positions[rows[j]])
    return attention.to_out(out.reshape(n, f, -1))


@pytest.mark.parametrize("frames", [1, 3, 7])
def test_attention_formula_within_and_beyond_the_tables(frames: int, draw: Draw) -> None:
    torch.manual_seed(0)
    attention = RelativeTemporalAttention(12, num_heads=2, head_dim=5, max_relative_position=3)
    x = draw(4, frames, 12)
    torch.testing.assert_close(attention(x), formula(attention, x))


def test_attention_gradients(draw: Draw) -> None:
    torch.manual_seed(0)
    attention = RelativeTemporalAttention(4, num_heads=2, head_dim=3, max_relative_position=2).double()
    x = draw(2, 4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(attention, (x,))
    attention(x).square().sum().backward()
    fast = [p.grad.clone() for p in attention.parameters()]
    attention.zero_grad()
    formula(attention, x).square().sum().backward()
    for one, other in zip(fast, attention.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad)


def test_position_tables_have_an_effect(draw: Draw) -> None:
    torch.manual_seed(0)
    attention = RelativeTemporalAttention(12, num_heads=2, head_dim=5, max_relative_position=3)
    x = draw(4, 5, 12)
    before = attention(x)
    for table in (attention.key_positions, attention.value_positions):
        kept = table.detach().clone()
        with torch.no_grad():
            table[4:].add_(1)
        assert not torch.allclose(attention(x), before, atol=1e-3)
        with torch.no_grad():
            table.copy_(kept)


@pytest.fixture
def layer() -> TemporalTransformer:
    torch.manual_seed(0)
    layer = TemporalTransformer(16, num_heads=3, head_dim=5, max_relative_position=2, norm_num_groups=4)
    torch.nn.init.normal_(layer.proj_out.weight, std=0.3)
    torch.nn.init.normal_(layer.norm.weight)
    torch.nn.init.normal_(layer.norm.bias)
    return layer


def test_layer_is_a_residual_with_norm_over_all_frames(layer: TemporalTransformer, draw: Draw) -> None:
    b, f, h, w = 2, 4, 3, 5
    x = draw(b * f, 16, h, w) * torch.linspace(1, 4, b * f)[:, None, None, None]
    clips = x.view(b, f, 16, h, w).transpose(1, 2)
    normed = F.group_norm(clips, 4, layer.norm.weight, layer.norm.bias, eps=1e-6)
    tokens = layer.proj_in(normed.permute(0, 3, 4, 2, 1).reshape(b * h * w, f, 16))
    for block in layer.transformer_blocks:
        tokens = tokens + block.attn1(block.norm1(tokens))
        tokens = tokens + block.attn2(block.norm2(tokens))
        tokens = tokens + block.ff(block.norm3(tokens))
    change = layer.proj_out(tokens).view(b, h, w, f, 16).permute(0, 3, 4, 1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x, f), x + change)


def test_batch_equals_clips_one_by_one(layer: TemporalTransformer, draw: Draw) -> None:
    x = draw(2 * 3, 16, 4, 4)
    torch.testing.assert_close(layer(x, 3), torch.cat([layer(x[:3], 3), layer(x[3:], 3)]))


def test_fresh_layer_is_the_identity(draw: Draw) -> None:
    x = draw(6, 16, 4, 4)
    assert torch.equal(TemporalTransformer(16, 2, 8, norm_num_groups=4)(x, 3), x)


def test_gradients_when_all_before_is_frozen(layer: TemporalTransformer, draw: Draw) -> None:
    """The input needs no gradient: the case of the first temporal layer in stage 2."""
    x = draw(6, 16, 4, 4)
    layer(x, 3).square().sum().backward()
    frozen = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    layer(x.requires_grad_(), 3).square().sum().backward()
    assert x.grad is not None
    for one, other in zip(frozen, layer.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad)


def test_stretched_positions_are_those_of_fewer_frames(draw: Draw) -> None:
    """Distance d has the entries that d / factor had, between two of them their mean by distance."""
    torch.manual_seed(0)
    attention = RelativeTemporalAttention(12, num_heads=2, head_dim=5, max_relative_position=15)
    before = attention.key_positions.detach().clone(), attention.value_positions.detach().clone()
    attention.stretch_positions(5)
    for old, new in zip(before, (attention.key_positions, attention.value_positions), strict=True):
        assert new[15 + 5].equal(old[15 + 1]) and new[15 - 15].equal(old[15 - 3]) and new[15].equal(old[15])
        torch.testing.assert_close(new[15 + 2], 0.6 * old[15] + 0.4 * old[15 + 1])
        torch.testing.assert_close(new[15 - 7], 0.6 * old[15 - 1] + 0.4 * old[15 - 2])


def test_time_stretched_by_one_is_as_it_was() -> None:
    torch.manual_seed(0)
    attention = RelativeTemporalAttention(12, num_heads=2, head_dim=5, max_relative_position=3)
    before = {name: value.clone() for name, value in attention.state_dict().items()}
    attention.stretch_positions(1)
    assert all(value.equal(before[name]) for name, value in attention.state_dict().items())
