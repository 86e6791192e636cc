"""StyleMaster's extractor: tokens read off the patches that a prompt selects, and tokens of the picture as a whole."""

from __future__ import annotations

from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecrafter.adapter.image_tokens import check_image_tokens, check_token_weights
from stylecrafter.adapter.query_transformer import QueryTransformer
from stylecrafter.errors import InvalidInputError

#: Part of the image tokens that is left out: those least similar to the prompt (published code).
LEFT_OUT = 0.95


class PatchSelection(nn.Module):
    """[local; global]: queries over selected image tokens, and a linear map of the embedding of a shuffled picture.

    Args:
        in_dim: Width of the image tokens.
        out_dim: Width of the style tokens.
        embed_dim: Width of the picture's embedding.
        num_heads: Attention heads; divides `in_dim`.
        num_local: Style tokens from the selected image tokens.
        num_global: Style tokens from the embedding.
        num_layers: Blocks of the query transformer.
    """

    needs = ("image_embeds", "text")

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        embed_dim: int,
        num_heads: int,
        num_local: int,
        num_global: int,
        num_layers: int,
    ) -> None:
        super().__init__()
        self.num_global = num_global
        self.local = QueryTransformer(in_dim, out_dim, num_heads, num_local, num_layers)
        self.proj = nn.Linear(embed_dim, num_global * out_dim)
        self.norm = nn.LayerNorm(out_dim)

    def forward(
        self, tokens: Tensor, token_weights: Tensor | None = None, *, image_embeds: Tensor, text: Tensor
    ) -> Tensor:
        """Read the style of all tokens together.

        Args:
            tokens: Image tokens (b, n, in_dim), the pictures' tokens one after the other.
            token_weights: Weights (b, n), >= 0, as in `QueryTransformer`. None: all 1.
            image_embeds: Of the shuffled pictures (b, embed_dim), their mean where there are several.
            text: States of the prompts (b, l, d); tokens of zeros in them count for nothing.

        Returns:
            Style tokens (b, num_local + num_global, out_dim).

        Raises:
            InvalidInputError: Shapes that do not fit, negative weights, or a sample of weights 0 alone.
        """
        b = tokens.shape[0]
        if image_embeds.shape != (b, self.proj.in_features):
            raise InvalidInputError(
                f"image_embeds must be ({b}, {self.proj.in_features}), got {tuple(image_embeds.shape)}"
            )
        kept = kept_weights(tokens, text, token_weights)
        whole = self.norm(self.proj(image_embeds.to(tokens.dtype)).unflatten(1, (self.num_global, -1)))
        return torch.cat([self.local(tokens, kept), whole], dim=1)


def kept_weights(tokens: Tensor, text: Tensor, token_weights: Tensor | None = None) -> Tensor:
    """What is left of the weights of image tokens (b, n) once those least like the prompt are taken out.

    Of n tokens of weight 1, n - int(0.95 n) keep it. A token of weight 2 is the token given twice, so that one may keep
    a part of its weight.

    Args:
        tokens: Image tokens (b, n, w).
        text: States of the prompts (b, l, d).
        token_weights: See `PatchSelection`.

    Raises:
        InvalidInputError: Shapes that do not fit, or weights that cannot be.
    """
    check_image_tokens(tokens, tokens.shape[-1])
    if text.ndim != 3 or text.shape[0] != tokens.shape[0]:
        raise InvalidInputError(
            f"text must be states ({tokens.shape[0]}, tokens, width) of the prompts, got {tuple(text.shape)}"
        )
    weights = tokens.new_ones(tokens.shape[:2], dtype=torch.float64)
    if token_weights is not None:
        check_token_weights(tokens, token_weights)
        weights = token_weights.double()
    # Widths differ, so that the text is pooled to that of the image tokens.
    about = F.adaptive_avg_pool1d(text.float(), tokens.shape[-1]).mean(dim=1, keepdim=True)
    similarity = F.cosine_similarity(tokens.float(), about, dim=2)
    order = similarity.masked_fill(weights == 0, -2).argsort(dim=1, descending=True)
    ordered = weights.gather(1, order)
    total = ordered.sum(dim=1, keepdim=True)
    room = total - (total * LEFT_OUT).floor()
    before = ordered.cumsum(dim=1) - ordered
    left = torch.minimum((room - before).clamp_min(0), ordered)
    return torch.zeros_like(weights).scatter(1, order, left).float()


class NoExtractor(nn.Module):
    """Stands where a file holds the layers of an adapter alone, without what reads pictures."""

    def forward(self, tokens: Tensor, token_weights: Tensor | None = None) -> NoReturn:
        """Refuse to read pictures.

        Raises:
            InvalidInputError: Always.
        """
        raise InvalidInputError(
            "this adapter came without its style model, so it cannot read pictures; give style_tokens"
        )
