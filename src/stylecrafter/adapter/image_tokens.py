"""Image tokens and how much each counts: what every style extractor takes."""

from __future__ import annotations

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError


def check_image_tokens(tokens: Tensor, width: int) -> None:
    """Refuse what is not (b, n, width) with at least one token.

    Raises:
        InvalidInputError: Another shape.
    """
    if tokens.ndim != 3 or tokens.shape[-1] != width or tokens.shape[1] == 0:
        raise InvalidInputError(f"image tokens must be (batch, tokens, {width}), got {tuple(tokens.shape)}")


def check_token_weights(tokens: Tensor, weights: Tensor) -> None:
    """Refuse weights that are not one finite number >= 0 per token, or that leave a sample without a token.

    Raises:
        InvalidInputError: Another shape, negative or infinite weights, or only zeros in a row.
    """
    if weights.shape != tokens.shape[:2]:
        raise InvalidInputError(
            f"token weights must be {tuple(tokens.shape[:2])} like the tokens, got {tuple(weights.shape)}"
        )
    if weights.is_meta:
        return  # without memory there are no values
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise InvalidInputError(f"token weights must be finite and >= 0, lowest is {float(weights.min())}")
    empty = (weights == 0).all(dim=1)
    if bool(empty.any()):
        raise InvalidInputError(
            f"token weights must leave at least one token per sample, those of sample "
            f"{int(empty.nonzero()[0])} are all 0"
        )


def log_weights(weights: Tensor) -> Tensor:
    """Weights (b, n) as a bias (b, 1, 1, n), float32, on the logits of attention to these tokens.

    A key with the logit z + log(w) takes part in the softmax as w keys with the logit z would.
    """
    return weights.float().log()[:, None, None, :]
