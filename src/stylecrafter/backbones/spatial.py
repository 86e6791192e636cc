"""Spatial transformer of a frame: self-attention, attention to the text (and style), feed-forward."""

from __future__ import annotations

from typing import Any

from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn


class SpatialBlock(nn.Module):
    """Pre-norm block: self-attention in each frame, cross-attention to the text, gated feed-forward."""

    def __init__(self, dim: int, num_heads: int, head_dim: int, text_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn1 = Attention(dim, heads=num_heads, dim_head=head_dim)
        self.norm2 = nn.LayerNorm(dim)
        self.attn2 = Attention(dim, cross_attention_dim=text_dim, heads=num_heads, dim_head=head_dim)
        self.norm3 = nn.LayerNorm(dim)
        self.ff = FeedForward(dim)

    def forward(self, x: Tensor, text: Tensor, style: dict[str, Any]) -> Tensor:
        """Map x (b * f, hw, dim) with text (b, l, text_dim) and the style arguments to the same shape."""
        x = x + self.attn1(self.norm1(x))
        # All frames of a clip read the same text: as one row of queries per clip, its keys and values are
        # computed once instead of once per frame.
        queries = self.norm2(x).view(text.shape[0], -1, x.shape[-1])
        x = x + self.attn2(queries, encoder_hidden_states=text, **style).view_as(x)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Attention within each frame and to the text, added to the feature maps.

    Args:
        channels: Channels of the feature maps, a multiple of `norm_num_groups` and of `head_dim`.
        head_dim: Width of an attention head.
        text_dim: Width of the text embeddings.
        num_layers: Blocks.
        norm_num_groups: Groups of the norm (statistics per frame).
    """

    def __init__(
        self, channels: int, head_dim: int, text_dim: int, num_layers: int = 1, norm_num_groups: int = 32
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            SpatialBlock(channels, channels // head_dim, head_dim, text_dim) for _ in range(num_layers)
        )
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, text: Tensor, style: dict[str, Any]) -> Tensor:
        """Map x (b * f, c, h, w) with text (b, l, text_dim) and the style arguments to the same shape."""
        n, c, h, w = x.shape
        y = self.proj_in(self.norm(x).permute(0, 2, 3, 1).reshape(n, h * w, c))
        for block in self.transformer_blocks:
            y = block(y, text, style)
        return x + self.proj_out(y).view(n, h, w, c).permute(0, 3, 1, 2)
