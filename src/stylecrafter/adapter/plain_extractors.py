"""Style extractors without learned queries, which the paper compares the query transformer with (table S8).

The paper names them "MLP" and "Transformer" and says no more; how they are built here is our choice: both end in the
mean over all image tokens, from which a linear layer makes the style tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stylecrafter.adapter.query_transformer import JointAttentionBlock, check_tokens, key_bias


class MLPExtractor(nn.Module):
    """Mean of the image tokens, then a perceptron of `num_layers` hidden layers (4x, GELU).

    Args:
        in_dim: Width of the image tokens.
        out_dim: Width of the style tokens.
        num_queries: Style tokens to produce.
        num_layers: Hidden layers.
    """

    def __init__(self, in_dim: int, out_dim: int, num_queries: int, num_layers: int) -> None:
        super().__init__()
        self.in_dim, self.num_queries = in_dim, num_queries
        self.norm_in = nn.LayerNorm(in_dim)
        widths = [in_dim, *[4 * in_dim] * num_layers]
        hidden: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            hidden += [nn.Linear(before, after), nn.GELU()]
        self.hidden = nn.Sequential(*hidden)
        self.proj = nn.Linear(widths[-1], num_queries * out_dim, bias=False)

    def forward(self, tokens: Tensor, token_weights: Tensor | None = None) -> Tensor:
        """Style tokens (b, num_queries, out_dim) from image tokens (b, n, in_dim); weights (b, n) weigh the mean.

        Raises:
            InvalidInputError: Shapes that do not fit, or negative weights.
        """
        check_tokens(tokens, token_weights, self.in_dim)
        mean = _weighted_mean(self.norm_in(tokens), token_weights)
        return self.proj(self.hidden(mean)).unflatten(-1, (self.num_queries, -1))


class TransformerExtractor(nn.Module):
    """Self-attention blocks over the image tokens alone, then their mean.

    Args:
        in_dim: Width of the image tokens and of the transformer.
        out_dim: Width of the style tokens.
        num_heads: Attention heads; divides `in_dim`.
        num_queries: Style tokens to produce.
        num_layers: Transformer blocks.
    """

    def __init__(self, in_dim: int, out_dim: int, num_heads: int, num_queries: int, num_layers: int) -> None:
        super().__init__()
        self.in_dim, self.num_queries = in_dim, num_queries
        self.norm_in = nn.LayerNorm(in_dim)
        self.blocks = nn.ModuleList(JointAttentionBlock(in_dim, num_heads) for _ in range(num_layers))
        self.norm_out = nn.LayerNorm(in_dim)
        self.proj = nn.Linear(in_dim, num_queries * out_dim, bias=False)

    def forward(self, tokens: Tensor, token_weights: Tensor | None = None) -> Tensor:
        """Style tokens (b, num_queries, out_dim) from image tokens (b, n, in_dim).

        Weights (b, n) count as in `QueryTransformer`: 2 is the token given twice, 0 the token left out.

        Raises:
            InvalidInputError: Shapes that do not fit, or negative weights.
        """
        check_tokens(tokens, token_weights, self.in_dim)
        bias = None if token_weights is None else key_bias(token_weights)
        x = self.norm_in(tokens)
        for block in self.blocks:
            x = block(x, bias)
        mean = _weighted_mean(self.norm_out(x), token_weights)
        return self.proj(mean).unflatten(-1, (self.num_queries, -1))


def _weighted_mean(tokens: Tensor, weights: Tensor | None) -> Tensor:
    """(b, n, w) -> (b, w)."""
    if weights is None:
        return tokens.mean(1)
    shares = weights.float() / weights.float().sum(1, keepdim=True)
    return torch.einsum("bn,bnw->bw", shares.to(tokens.dtype), tokens)
