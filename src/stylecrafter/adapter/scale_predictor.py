"""How strongly each layer follows the style, predicted from the style and the prompt."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stylecrafter.adapter.query_transformer import JointAttentionBlock
from stylecrafter.errors import InvalidInputError


class ScalePredictor(nn.Module):
    """One factor s = 1 + tanh(.) in (0, 2) per dual cross-attention layer (the paper's context-aware scale).

    Follows the published `ScaleEncoder`: joint self-attention of [queries; style tokens; text], one query
    per layer, no positional embedding.

    Args:
        dim: Width of style tokens and text, a multiple of `num_heads`.
        num_heads: Attention heads.
        num_scales: Factors to predict (dual cross-attention layers).
        num_layers: Transformer blocks.
        head_dim: Hidden width of the head that turns a query into its factor.
        text_dim: Width of the text, if it is mapped to `dim` first (StyleCrafter-SDXL); None: it is `dim`.
        style_dim: Width of the style tokens, likewise.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_scales: int,
        num_layers: int,
        head_dim: int = 32,
        text_dim: int | None = None,
        style_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.text_proj = None if text_dim is None else nn.Linear(text_dim, dim)
        self.style_proj = None if style_dim is None else nn.Linear(style_dim, dim)
        self.queries = nn.Parameter(torch.randn(num_scales, dim) * dim**-0.5)
        self.norm_in = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(JointAttentionBlock(dim, num_heads) for _ in range(num_layers))
        self.norm_out = nn.LayerNorm(dim)
        # Behind the transformer the published predictor that maps its inputs has one more map.
        self.proj = None if text_dim is None else nn.Linear(dim, dim, bias=False)
        self.head = nn.Sequential(nn.Linear(dim, head_dim), nn.GELU(), nn.Linear(head_dim, 1), nn.Tanh())

    def forward(self, style_tokens: Tensor, text_embeds: Tensor) -> Tensor:
        """Predict the factors (b, num_scales) from style tokens (b, q, style_dim) and text (b, l, text_dim).

        Raises:
            InvalidInputError: Shapes that do not fit.
        """
        count, dim = self.queries.shape
        maps = self.style_proj, self.text_proj
        check_conditions(style_tokens, text_embeds, *(dim if m is None else m.in_features for m in maps))
        if self.style_proj is not None:
            style_tokens = self.style_proj(style_tokens)
        if self.text_proj is not None:
            text_embeds = self.text_proj(text_embeds)
        queries = self.queries.to(style_tokens.dtype).expand(style_tokens.shape[0], -1, -1)
        x = self.norm_in(torch.cat([queries, style_tokens, text_embeds], dim=1))
        for block in self.blocks:
            x = block(x)
        x = self.norm_out(x[:, :count])
        return 1 + self.head(x if self.proj is None else self.proj(x)).squeeze(-1)


def check_conditions(style_tokens: Tensor, text_embeds: Tensor, style_dim: int, text_dim: int) -> None:
    """Refuse style tokens (b, q, style_dim) and text (b, l, text_dim) of other shapes, or of two batch sizes.

    Raises:
        InvalidInputError: Shapes that do not fit.
    """
    for name, value, dim in (
        ("style tokens", style_tokens, style_dim),
        ("text embeddings", text_embeds, text_dim),
    ):
        if value.ndim != 3 or value.shape[-1] != dim:
            raise InvalidInputError(f"{name} must be (batch, tokens, {dim}), got {tuple(value.shape)}")
    if style_tokens.shape[0] != text_embeds.shape[0]:
        raise InvalidInputError(
            f"style tokens and text must have one batch size, got {style_tokens.shape[0]} and "
            f"{text_embeds.shape[0]}"
        )
