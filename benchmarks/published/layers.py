"""Layers of the published UNet, by the names of its checkpoints."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GroupNorm32(nn.GroupNorm):
    """In float32, whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).type(x.dtype)


class ResBlock(nn.Module):
    def __init__(self, c_in: int, emb: int, c_out: int, groups: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            GroupNorm32(groups, c_in), nn.SiLU(), nn.Conv2d(c_in, c_out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, c_out))
        self.out_layers = nn.Sequential(
            GroupNorm32(groups, c_out), nn.SiLU(), nn.Dropout(0.0), nn.Conv2d(c_out, c_out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Maps (b f, c, h, w) with the time's embedding, once per frame (b f, emb)."""
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class GEGLU(nn.Module):
    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(dim, 4 * dim), nn.Dropout(0.0), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Attention(nn.Module):
    """Attention of one layer, and of a style beside the text.

    Args:
        dim: Width of the queries.
        context: Width of keys and values.
        heads: How many.
        width: Of a head.
        fused: One call for softmax(QK')V, as with xformers; else the formula, step by step.

    Attributes:
        style: Keys, values and norm of the style's attention (`StyleKeyValue`), where an adapter is there.
    """

    def __init__(self, dim: int, context: int, heads: int, width: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.to_q = nn.Linear(dim, heads * width, bias=False)
        self.to_k = nn.Linear(context, heads * width, bias=False)
        self.to_v = nn.Linear(context, heads * width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * width, dim), nn.Dropout(0.0))
        self.style: Any = None

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        style: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> Tensor:
        """(n, t, dim) with context (n, l, d), style tokens (n, q, d) and their factor (n, 1, 1)."""
        context = x if context is None else context
        q = self.to_q(x)
        out = self.attend(q, self.to_k(context), self.to_v(context))
        if style is not None:
            read = self.attend(q, self.style.to_k(style), self.style.to_v(style))
            out = out + scale * self.style.norm(read)
        return self.to_out(out)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(QK' / sqrt(d)) V of all heads."""
        q, k, v = (self.split(part) for part in (q, k, v))
        if self.fused:
            return self.merge(F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0])
        weights = torch.einsum("bid,bjd->bij", q, k) * q.shape[-1] ** -0.5
        return self.merge(torch.einsum("bij,bjd->bid", weights.softmax(dim=-1), v))

    def split(self, x: Tensor) -> Tensor:
        """(n, t, heads d) -> (n heads, t, d)."""
        n, t, _ = x.shape
        return x.reshape(n, t, self.heads, -1).permute(0, 2, 1, 3).reshape(n * self.heads, t, -1)

    def merge(self, x: Tensor) -> Tensor:
        """(n heads, t, d) -> (n, t, heads d)."""
        _, t, d = x.shape
        return x.reshape(-1, self.heads, t, d).permute(0, 2, 1, 3).reshape(-1, t, self.heads * d)


class RelativePosition(nn.Module):
    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.embeddings_table = nn.Parameter(torch.empty(2 * reach + 1, width))

    def forward(self, frames: int) -> Tensor:
        """One entry for each pair of frames, (f, f, width)."""
        places = torch.arange(frames, device=self.embeddings_table.device)
        distance = (places[None, :] - places[:, None]).clamp(-self.reach, self.reach)
        return self.embeddings_table[distance + self.reach]


class TemporalAttention(Attention):
    """Over frames, with learned relative positions on keys and values; without xformers in any case."""

    def __init__(self, dim: int, heads: int, width: int, reach: int) -> None:
        super().__init__(dim, dim, heads, width, fused=False)
        self.relative_position_k = RelativePosition(width, reach)
        self.relative_position_v = RelativePosition(width, reach)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (self.split(part) for part in (q, k, v))
        frames, scale = q.shape[1], q.shape[-1] ** -0.5
        weights = torch.einsum("bid,bjd->bij", q, k) * scale
        weights = weights + torch.einsum("btd,tsd->bts", q, self.relative_position_k(frames)) * scale
        weights = weights.softmax(dim=-1)
        out = torch.einsum("bij,bjd->bid", weights, v)
        return self.merge(out + torch.einsum("bts,tsd->btd", weights, self.relative_position_v(frames)))


class Block(nn.Module):
    """Two attentions and the feed-forward, each behind its norm."""

    def __init__(self, dim: int, attn1: Attention, attn2: Attention) -> None:
        super().__init__()
        self.attn1, self.attn2, self.ff = attn1, attn2, FeedForward(dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))

    def forward(self, x: Tensor, *context: Tensor | None) -> Tensor:
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x), *context) + x
        return self.ff(self.norm3(x)) + x


class SpatialTransformer(nn.Module):
    def __init__(self, c: int, width: int, context: int, depth: int, groups: int, fused: bool) -> None:
        super().__init__()
        heads = c // width
        self.norm = nn.GroupNorm(groups, c, eps=1e-6)
        self.proj_in = nn.Linear(c, c)
        self.transformer_blocks = nn.ModuleList(
            Block(
                c,
                Attention(c, c, heads, width, fused),
                Attention(c, context, heads, width, fused),
            )
            for _ in range(depth)
        )
        self.proj_out = nn.Linear(c, c)

    def forward(self, x: Tensor, text: Tensor, style: Tensor | None, scales: list[Tensor | None]) -> Tensor:
        """Maps (b f, c, h, w) with text and style once per frame; one factor for each block."""
        n, c, h, w = x.shape
        y = self.norm(x).permute(0, 2, 3, 1).reshape(n, h * w, c).contiguous()
        y = self.proj_in(y)
        for block, scale in zip(self.transformer_blocks, scales, strict=True):
            y = block(y, text, style, scale)
        y = self.proj_out(y)
        return y.reshape(n, h, w, c).permute(0, 3, 1, 2).contiguous() + x


class TemporalTransformer(nn.Module):
    """Attention along time at every place; `linear`: how the layer goes in and out of its width."""

    def __init__(
        self, c: int, heads: int, width: int, depth: int, reach: int, groups: int, *, linear: bool = True
    ) -> None:
        super().__init__()
        inner = heads * width
        self.linear = linear
        self.norm = nn.GroupNorm(groups, c, eps=1e-6)
        self.proj_in: Any = nn.Linear(c, inner) if linear else nn.Conv1d(c, inner, 1)
        self.transformer_blocks = nn.ModuleList(
            Block(
                inner,
                TemporalAttention(inner, heads, width, reach),
                TemporalAttention(inner, heads, width, reach),
            )
            for _ in range(depth)
        )
        self.proj_out: Any = nn.Linear(inner, c) if linear else nn.Conv1d(inner, c, 1)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Maps (b f, c, h, w), the frames of a clip in a row."""
        n, c, h, w = x.shape
        b = n // frames
        clip = x.reshape(b, frames, c, h, w).permute(0, 2, 1, 3, 4).contiguous()
        y = self.norm(clip).permute(0, 3, 4, 1, 2).reshape(b * h * w, c, frames).contiguous()
        y = self.proj_in(y.permute(0, 2, 1)) if self.linear else self.proj_in(y).permute(0, 2, 1)
        for block in self.transformer_blocks:
            y = block(y)
        y = self.proj_out(y).permute(0, 2, 1) if self.linear else self.proj_out(y.permute(0, 2, 1))
        y = y.reshape(b, h, w, c, frames).permute(0, 3, 4, 1, 2).contiguous()
        return cast("Tensor", (y + clip).permute(0, 2, 1, 3, 4).reshape(n, c, h, w).contiguous())
