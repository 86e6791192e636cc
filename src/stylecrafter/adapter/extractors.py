"""What reads style tokens off image tokens: one function builds each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from stylecrafter.adapter.image_prompts import LinearExtractor, Resampler
from stylecrafter.adapter.patch_selection import NoExtractor, PatchSelection
from stylecrafter.adapter.pooled_extractors import mlp_extractor, transformer_extractor
from stylecrafter.adapter.query_transformer import QueryTransformer
from stylecrafter.errors import InvalidInputError


def make_extractor(config: Mapping[str, Any]) -> nn.Module:
    """The extractor that a `StyleAdapter` of that config has.

    It is called with image tokens (b, n, image_dim) and their weights, and gives (b, q, style_dim). One that reads more
    names it in an attribute `needs`: "image_embeds", "text".
    """
    kind = config["extractor_type"]
    sizes = config["image_dim"], config["style_dim"] or config["text_dim"]
    tokens, layers, heads = (
        config[name] for name in ("num_style_tokens", "extractor_layers", "extractor_heads")
    )
    if kind == "none":
        return NoExtractor()
    if kind == "patch_selection":
        embed_dim, local = config["embed_dim"], config["num_local_tokens"]
        if embed_dim is None or local is None or local >= tokens:
            raise InvalidInputError(
                f"patch_selection needs an embed_dim, and num_local_tokens below the {tokens} style tokens; got "
                f"{embed_dim} and {local}"
            )
        return PatchSelection(*sizes, embed_dim, heads, local, tokens - local, layers)
    if kind == "mlp":
        return mlp_extractor(*sizes, tokens, layers)
    if kind == "transformer":
        return transformer_extractor(*sizes, heads, tokens, layers)
    if kind == "linear":
        return LinearExtractor(*sizes, tokens)
    if kind == "resampler":
        return Resampler(sizes[0], config["extractor_dim"] or sizes[0], sizes[1], heads, tokens, layers)
    return QueryTransformer(*sizes, heads, tokens, layers)
