"""Learned queries that read the style out of image tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecrafter.adapter.image_tokens import check_image_tokens, check_token_weights, log_weights
from stylecrafter.errors import InvalidInputError


class JointAttentionBlock(nn.Module):
    """Pre-norm self-attention and MLP (4x, GELU) over one sequence of queries and inputs.

    Args:
        dim: Width of the tokens; a multiple of `num_heads`.
        num_heads: Attention heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise InvalidInputError(f"width {dim} is not a multiple of the number of heads {num_heads}")
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * dim)
        self.to_out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, key_bias: Tensor | None = None) -> Tensor:
        """Map x (b, n, dim) to (b, n, dim); `key_bias` (b, 1, 1, n) is added to the attention logits."""
        b, n, dim = x.shape
        q, k, v = self.to_qkv(self.norm1(x)).view(b, n, 3, self.num_heads, dim // self.num_heads).unbind(2)
        if key_bias is not None:
            key_bias = key_bias.to(q.dtype)
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=key_bias
        )
        x = x + self.to_out(mixed.transpose(1, 2).reshape(b, n, dim))
        return x + self.mlp(self.norm2(x))


class QueryTransformer(nn.Module):
    """Style tokens from image tokens: joint self-attention of [queries; image tokens], queries kept.

    Follows the published `StyleTransformer`: no positional embedding, so several pictures are simply
    more tokens and their order does not matter.

    Args:
        in_dim: Width of the image tokens and of the transformer.
        out_dim: Width of the style tokens (the text width of the model that reads them).
        num_heads: Attention heads; divides `in_dim`.
        num_queries: Style tokens to produce.
        num_layers: Transformer blocks.
    """

    def __init__(self, in_dim: int, out_dim: int, num_heads: int, num_queries: int, num_layers: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_queries, in_dim) * in_dim**-0.5)
        self.norm_in = nn.LayerNorm(in_dim)
        self.blocks = nn.ModuleList(JointAttentionBlock(in_dim, num_heads) for _ in range(num_layers))
        self.norm_out = nn.LayerNorm(in_dim)
        self.proj = nn.Linear(in_dim, out_dim, bias=False)

    def forward(self, tokens: Tensor, token_weights: Tensor | None = None) -> Tensor:
        """Read the style of all tokens together.

        Args:
            tokens: Image tokens (b, n, in_dim), the pictures' tokens one after the other.
            token_weights: Weights (b, n), >= 0. They enter the attention as log(weight) on the keys:
                weight 2 is the token given twice, weight 0 the token left out. None: all 1.

        Returns:
            Style tokens (b, num_queries, out_dim).

        Raises:
            InvalidInputError: Shapes that do not fit, negative weights, or a sample of weights 0 alone.
        """
        count, width = self.queries.shape
        check_image_tokens(tokens, width)
        b = tokens.shape[0]
        x = self.norm_in(torch.cat([self.queries.to(tokens.dtype).expand(b, -1, -1), tokens], dim=1))
        key_bias = None
        if token_weights is not None:
            check_token_weights(tokens, token_weights)
            key_bias = F.pad(log_weights(token_weights), (count, 0))
        for block in self.blocks:
            x = block(x, key_bias)
        return self.proj(self.norm_out(x[:, :count]))
