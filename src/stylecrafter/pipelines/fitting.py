"""Whether the components of a pipeline, and the numbers it is built with, go together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModel

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError

#: No picture, clip or number of steps is larger.
MOST = 2**20


def check_widths(
    unet: VideoCrafterUNet,
    text_encoder: CLIPTextModel,
    image_encoder: CLIPVisionModel | None,
    adapter: StyleAdapter | None,
) -> None:
    """Check that every component reads the width that another gives.

    Raises:
        InvalidInputError: One does not.
    """
    width = unet.config["cross_attention_dim"]
    pairs = [("text encoder", text_encoder.config.hidden_size, "UNet", width)]
    if adapter is not None:
        pairs.append(("style adapter", adapter.config["text_dim"], "UNet", width))
        if image_encoder is not None:
            image_width = image_encoder.config.hidden_size
            pairs.append(("image encoder", image_width, "style adapter", adapter.config["image_dim"]))
    for giver, given, reader, expected in pairs:
        if given != expected:
            raise InvalidInputError(f"the {giver} gives width {given}, the {reader} reads width {expected}")


def check_tokenizer(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> None:
    """Check that a text encoder reads everything that a tokenizer may give it.

    Raises:
        InvalidInputError: Tokens or lengths that it has no place for, or no token to fill texts up with.
    """
    config = text_encoder.config
    length, places = tokenizer.model_max_length, config.max_position_embeddings
    if not isinstance(length, int) or not 3 <= length <= places:
        raise InvalidInputError(
            f"the tokenizer makes texts of {_brief(length)} tokens (model_max_length), the text encoder reads up to "
            f"{places}"
        )
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if not 0 <= largest < config.vocab_size:
        raise InvalidInputError(
            f"the tokenizer has tokens up to {largest}, the text encoder reads 0 to {config.vocab_size - 1} "
            "(vocab_size): they are of different models"
        )
    if tokenizer.pad_token_id is None:
        raise InvalidInputError("the tokenizer has no pad_token, which fills texts up to their length")


def check_ids(ids: Tensor, text_encoder: CLIPTextModel) -> None:
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


def check_defaults(counts: Mapping[str, Any], numbers: Mapping[str, Any]) -> None:
    """Check what a pipeline uses where a call says nothing.

    Args:
        counts: Whole numbers of at least 1.
        numbers: Finite numbers.

    Raises:
        InvalidInputError: Something else among them.
    """
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST:
            raise InvalidInputError(f"{name} must be a whole number from 1 to {MOST:,}, got {_brief(value)}")
    for name, value in numbers.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            raise InvalidInputError(f"{name} must be a finite number, got {_brief(value)}")


def _brief(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "very many"
    return text if len(text) <= 80 else f"{text[:80]}…"
