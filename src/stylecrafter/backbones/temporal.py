"""Temporal attention with relative positions, as in VideoCrafter."""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn


class RelativeTemporalAttention(nn.Module):
    """Self-attention over frames with learned relative positions on keys and on values.

    logits_ij = (q_i . k_j + q_i . Rk[j - i]) / sqrt(d);  out_i = sum_j softmax(logits)_ij (v_j + Rv[j - i]),
    with j - i clamped to +-max_relative_position (published `CrossAttention` with relative_position).

    Args:
        dim: Width of the tokens.
        num_heads: Attention heads.
        head_dim: Width of a head.
        max_relative_position: Largest distance in frames that has its own entry.
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int, max_relative_position: int) -> None:
        super().__init__()
        inner = num_heads * head_dim
        self.num_heads = num_heads
        self.max_relative_position = max_relative_position
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_k = nn.Linear(dim, inner, bias=False)
        self.to_v = nn.Linear(dim, inner, bias=False)
        self.to_out = nn.Linear(inner, dim)
        table = 2 * max_relative_position + 1
        self.key_positions = nn.Parameter(torch.empty(table, head_dim))
        self.value_positions = nn.Parameter(torch.empty(table, head_dim))
        nn.init.xavier_uniform_(self.key_positions)
        nn.init.xavier_uniform_(self.value_positions)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (n, f, dim), n independent sequences of f frames, to the same shape."""
        n, f, _ = x.shape
        q, k, v = (self._heads(layer(x)) for layer in (self.to_q, self.to_k, self.to_v))
        steps = torch.arange(f, device=x.device)
        distance = steps[None, :] - steps[:, None]
        index = distance.clamp(-self.max_relative_position, self.max_relative_position)
        index = index + self.max_relative_position
        key_positions = self.key_positions[index].to(q.dtype)
        value_positions = self.value_positions[index].to(v.dtype)
        # The position terms depend on the query's frame: one matrix product per frame over all n * heads
        # rows, read through transposed views.
        scale = q.shape[-1] ** -0.5
        positional = torch.bmm(q.transpose(0, 1), key_positions.transpose(1, 2)).transpose(0, 1)
        weights = torch.baddbmm(positional, q, k.transpose(1, 2), beta=scale, alpha=scale).softmax(dim=-1)
        weights = weights.to(v.dtype)
        positional = torch.bmm(weights.transpose(0, 1), value_positions).transpose(0, 1)
        out = torch.baddbmm(positional, weights, v)
        return self.to_out(out.view(n, self.num_heads, f, -1).transpose(1, 2).reshape(n, f, -1))

    @torch.no_grad()
    def stretch_positions(self, factor: float) -> None:
        """Give distance d the entries that distance d / factor has, interpolated between neighbours.

        What was learned on few frames then holds for `factor` times as many, as position interpolation does for
        text (Chen et al., arXiv 2306.15595).

        Args:
            factor: At least 1; (16 - 1) / (4 - 1) = 5 makes 16 frames of 4.
        """
        reach = self.max_relative_position
        places = torch.arange(-reach, reach + 1) / factor + reach
        below = places.floor().long().clamp(max=2 * reach - 1)
        share = (places - below)[:, None]
        for table in (self.key_positions, self.value_positions):
            table.copy_(torch.lerp(table[below], table[below + 1], share.to(table)))

    def _heads(self, x: Tensor) -> Tensor:
        """(n, f, heads * d) -> (n * heads, f, d)."""
        n, f, _ = x.shape
        return x.view(n, f, self.num_heads, -1).transpose(1, 2).reshape(n * self.num_heads, f, -1)


class TemporalBlock(nn.Module):
    """Pre-norm block of two temporal self-attentions and a gated feed-forward."""

    def __init__(self, dim: int, num_heads: int, head_dim: int, max_relative_position: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn1 = RelativeTemporalAttention(dim, num_heads, head_dim, max_relative_position)
        self.norm2 = nn.LayerNorm(dim)
        self.attn2 = RelativeTemporalAttention(dim, num_heads, head_dim, max_relative_position)
        self.norm3 = nn.LayerNorm(dim)
        self.ff = FeedForward(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (n, f, dim) to the same shape."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x))
        return x + self.ff(self.norm3(x))


class TemporalTransformer(nn.Module):
    """Attention along time at every place of a clip's feature maps, added to them.

    The group norm at its head takes its statistics over all frames of a clip, unlike the norms of the spatial
    layers. A fresh layer is the identity (`proj_out` starts at zero).

    Args:
        channels: Channels of the feature maps, a multiple of `norm_num_groups`.
        num_heads: Attention heads.
        head_dim: Width of a head; heads x width may differ from `channels`.
        num_layers: Blocks.
        max_relative_position: Largest distance in frames that has its own entry.
        norm_num_groups: Groups of the norm.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        head_dim: int,
        num_layers: int = 1,
        max_relative_position: int = 16,
        norm_num_groups: int = 32,
    ) -> None:
        super().__init__()
        inner = num_heads * head_dim
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner)
        self.transformer_blocks = nn.ModuleList(
            TemporalBlock(inner, num_heads, head_dim, max_relative_position) for _ in range(num_layers)
        )
        self.proj_out = nn.Linear(inner, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Map x (b * num_frames, c, h, w), the frames of a clip in a row, to the same shape."""
        _, c, h, w = x.shape
        maps = x.view(-1, num_frames, c, h * w)
        # Copied to (b, c, f, hw) because torch's group norm on other layouts is many times slower in the
        # backward pass, and crashes there if its input needs no gradient.
        tokens = self.norm(maps.transpose(1, 2).contiguous()).permute(0, 3, 2, 1)
        y = self.proj_in(tokens.reshape(-1, num_frames, c))
        for block in self.transformer_blocks:
            y = block(y)
        y = self.proj_out(y).view(-1, h * w, num_frames, c)
        return (maps + y.permute(0, 2, 3, 1)).view(x.shape)
