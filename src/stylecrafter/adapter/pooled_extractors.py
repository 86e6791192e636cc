"""Extractors without learned queries: the style is read off the mean of the processed image tokens.

The paper's table S8 compares an MLP and a transformer with its query transformer and says no more about them than their
names. Ours form a ladder, with the same blocks, depth and image tokens on every rung: the MLP takes every token for
itself, the transformer lets them see each other, the query transformer has its queries in place of the mean.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from stylecrafter.adapter.image_tokens import check_image_tokens, check_token_weights, log_weights
from stylecrafter.adapter.query_transformer import JointAttentionBlock


class TokenwiseBlock(nn.Module):
    """The second half of a `JointAttentionBlock`: pre-norm MLP (4x, GELU) of every token for itself.

    Args:
        dim: Width of the tokens.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, key_bias: Tensor | None = None) -> Tensor:
        """Map x (b, n, dim) to (b, n, dim); there is no attention that `key_bias` could enter."""
        return x + self.mlp(self.norm(x))


class PooledExtractor(nn.Module):
    """Blocks over the image tokens, then their weighted mean, then one linear map to all style tokens.

    Args:
        in_dim: Width of the image tokens.
        out_dim: Width of the style tokens (the text width of the model that reads them).
        num_tokens: Style tokens to produce.
        blocks: What the image tokens pass through; called with tokens and the bias on attention to them.
    """

    def __init__(self, in_dim: int, out_dim: int, num_tokens: int, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.norm_in = nn.LayerNorm(in_dim)
        self.blocks = nn.ModuleList(blocks)
        self.norm_out = nn.LayerNorm(in_dim)
        self.proj = nn.Linear(in_dim, num_tokens * out_dim, bias=False)

    def forward(self, tokens: Tensor, token_weights: Tensor | None = None) -> Tensor:
        """Read the style of all tokens together.

        Args:
            tokens: Image tokens (b, n, in_dim), the pictures' tokens one after the other.
            token_weights: Weights (b, n), >= 0: weight 2 is the token given twice, weight 0 the token left out.
                None: all 1.

        Returns:
            Style tokens (b, num_tokens, out_dim).

        Raises:
            InvalidInputError: Shapes that do not fit, negative weights, or a sample of weights 0 alone.
        """
        check_image_tokens(tokens, self.proj.in_features)
        key_bias = None
        if token_weights is not None:
            check_token_weights(tokens, token_weights)
            key_bias = log_weights(token_weights)
        x = self.norm_in(tokens)
        for block in self.blocks:
            x = block(x, key_bias)
        # Summed in float32: a thousand tokens of a few references would lose digits in half precision.
        if token_weights is None:
            pooled = x.float().mean(dim=1)
        else:
            share = token_weights.float() / token_weights.float().sum(dim=1, keepdim=True)
            pooled = (x.float() * share[:, :, None]).sum(dim=1)
        style: Tensor = self.proj(self.norm_out(pooled.to(x.dtype)))
        return style.unflatten(1, (self.num_tokens, -1))


def mlp_extractor(in_dim: int, out_dim: int, num_tokens: int, num_layers: int) -> PooledExtractor:
    """`num_layers` MLP blocks without any attention."""
    return PooledExtractor(in_dim, out_dim, num_tokens, (TokenwiseBlock(in_dim) for _ in range(num_layers)))


def transformer_extractor(
    in_dim: int, out_dim: int, num_heads: int, num_tokens: int, num_layers: int
) -> PooledExtractor:
    """`num_layers` transformer blocks in which the image tokens attend to each other."""
    blocks = (JointAttentionBlock(in_dim, num_heads) for _ in range(num_layers))
    return PooledExtractor(in_dim, out_dim, num_tokens, blocks)
