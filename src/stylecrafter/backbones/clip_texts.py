"""Whether a tokenizer and a text encoder go together."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stylecrafter.errors import InvalidInputError


def check_tokenizer(tokenizer: Any, text_encoder: Any) -> None:
    """Check that a text encoder reads everything that a tokenizer may give it.

    Raises:
        InvalidInputError: Tokens or lengths that it has no place for, or no token to fill texts up with.
    """
    config = text_encoder.config
    length, places = tokenizer.model_max_length, config.max_position_embeddings
    if not isinstance(length, int) or not 3 <= length <= places:
        shown = "very many" if isinstance(length, int) and length >= 10**30 else repr(length)
        raise InvalidInputError(
            f"the tokenizer makes texts of {shown} tokens (model_max_length), the text encoder reads up to {places}"
        )
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if not 0 <= largest < config.vocab_size:
        raise InvalidInputError(
            f"the tokenizer has tokens up to {largest}, the text encoder reads 0 to {config.vocab_size - 1} "
            "(vocab_size): they are of different models"
        )
    if tokenizer.pad_token_id is None:
        raise InvalidInputError("the tokenizer has no pad_token, which fills texts up to their length")


def check_ids(ids: Tensor, text_encoder: Any) -> None:
    """Check tokens (b, l) before the text encoder looks them up.

    Raises:
        InvalidInputError: One that it does not have.
    """
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= text_encoder.config.vocab_size:
        raise InvalidInputError(
            f"the tokenizer gave token {low if low < 0 else high}, the text encoder reads 0 to "
            f"{text_encoder.config.vocab_size - 1} (vocab_size)"
        )
