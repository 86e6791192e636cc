"""Extractors of IP-Adapter and IP-Adapter-Plus: style tokens off what CLIP makes of a picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecrafter.adapter.image_tokens import check_image_tokens, check_token_weights, log_weights
from stylecrafter.adapter.style_processor import split_heads

#: Width of an attention head of the published resamplers, of 12 heads (SD 1.5) and 20 (SDXL).
HEAD_WIDTH = 64


class LinearExtractor(nn.Module):
    """IP-Adapter: the projected embedding of a picture, mapped to all style tokens at once and normed.

    Args:
        in_dim: Width of the embedding.
        out_dim: Width of the style tokens.
        num_tokens: Style tokens to produce.
    """

    def __init__(self, in_dim: int, out_dim: int, num_tokens: int) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.proj = nn.Linear(in_dim, num_tokens * out_dim)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, tokens: Tensor, token_weights: Tensor | None = None) -> Tensor:
        """Style tokens (b, num_tokens, out_dim) of the mean of all pictures' embeddings.

        Args:
            tokens: Embeddings (b, pictures, in_dim).
            token_weights: Of the mean (b, pictures), >= 0. None: all 1.

        Raises:
            InvalidInputError: Shapes that do not fit, negative weights, or a sample of weights 0 alone.
        """
        check_image_tokens(tokens, self.proj.in_features)
        if token_weights is None:
            pooled = tokens.float().mean(dim=1)
        else:
            check_token_weights(tokens, token_weights)
            share = token_weights.float() / token_weights.float().sum(dim=1, keepdim=True)
            pooled = (tokens.float() * share[:, :, None]).sum(dim=1)
        return self.norm(self.proj(pooled.to(tokens.dtype)).unflatten(1, (self.num_tokens, -1)))


class ResamplerBlock(nn.Module):
    """Latents attend to image tokens and to themselves, then an MLP (4x, GELU); pre-norm, without biases.

    Args:
        dim: Width of latents and image tokens.
        num_heads: Heads of `HEAD_WIDTH`.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        inner = num_heads * HEAD_WIDTH
        self.num_heads = num_heads
        self.norm_image = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, 4 * dim, bias=False),
            nn.GELU(),
            nn.Linear(4 * dim, dim, bias=False),
        )

    def forward(self, image: Tensor, latents: Tensor, key_bias: Tensor | None = None) -> Tensor:
        """Map latents (b, q, dim) to (b, q, dim); `key_bias` (b, 1, 1, n + q) is added to the attention logits."""
        own = self.norm_latents(latents)
        context = torch.cat([self.norm_image(image), own], dim=1)
        query, key, value = (
            split_heads(x, self.num_heads) for x in (self.to_q(own), *self.to_kv(context).chunk(2, dim=-1))
        )
        bias = None if key_bias is None else key_bias.to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        latents = latents + self.to_out(mixed.transpose(1, 2).flatten(2))
        return latents + self.mlp(latents)


class Resampler(nn.Module):
    """IP-Adapter-Plus: learned latents that read all image tokens.

    Args:
        in_dim: Width of the image tokens.
        dim: Width of the latents.
        out_dim: Width of the style tokens.
        num_heads: Heads of `HEAD_WIDTH`.
        num_tokens: Style tokens to produce.
        num_layers: Blocks.
    """

    def __init__(
        self, in_dim: int, dim: int, out_dim: int, num_heads: int, num_tokens: int, num_layers: int
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(num_tokens, dim) * dim**-0.5)
        self.proj_in = nn.Linear(in_dim, dim)
        self.layers = nn.ModuleList(ResamplerBlock(dim, num_heads) for _ in range(num_layers))
        self.proj_out = nn.Linear(dim, out_dim)
        self.norm_out = nn.LayerNorm(out_dim)

    def forward(self, tokens: Tensor, token_weights: Tensor | None = None) -> Tensor:
        """Style tokens (b, num_tokens, out_dim).

        Args:
            tokens: Image tokens (b, n, in_dim), the pictures' tokens one after the other.
            token_weights: Weights (b, n), >= 0, log(weight) on the keys: weight 2 is the token given twice, weight 0
                the token left out. None: all 1.

        Raises:
            InvalidInputError: Shapes that do not fit, negative weights, or a sample of weights 0 alone.
        """
        check_image_tokens(tokens, self.proj_in.in_features)
        key_bias = None
        if token_weights is not None:
            check_token_weights(tokens, token_weights)
            key_bias = F.pad(log_weights(token_weights), (0, self.latents.shape[0]))
        image = self.proj_in(tokens)
        latents = self.latents.to(image.dtype).expand(tokens.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(image, latents, key_bias)
        return self.norm_out(self.proj_out(latents))
