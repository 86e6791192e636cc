"""Texts of bases that read a T5 encoder: of one length, filled up with zeros."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylecrafter.backbones.protocol import Backbone
from stylecrafter.backbones.texts import Texts
from stylecrafter.errors import InvalidInputError

#: Tokens that a text is filled up or cut to, as published.
TEXT_LENGTH = 512


class T5Texts(Backbone):
    """Components `text_encoder` and `tokenizer`, and a base pipeline that encodes with them."""

    @property
    def text_length(self) -> int:
        """Tokens of every text."""
        return int(min(TEXT_LENGTH, self.component("tokenizer").model_max_length))

    def check_texts(self) -> None:
        """Refuse a text encoder of another width, or a tokenizer of another text encoder.

        Raises:
            InvalidInputError: Such a one.
        """
        encoder, tokenizer = self.components.get("text_encoder"), self.components.get("tokenizer")
        if encoder is None:
            return
        if encoder.config.d_model != self.text_dim:
            raise InvalidInputError(
                f"the text encoder gives width {encoder.config.d_model}, the {self.denoiser_name} reads width "
                f"{self.text_dim}"
            )
        if tokenizer is not None and len(tokenizer) > encoder.config.vocab_size:
            raise InvalidInputError(
                f"the tokenizer has {len(tokenizer)} tokens, the text encoder reads {encoder.config.vocab_size} "
                "(vocab_size): they are of different models"
            )

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return self.component("tokenizer")(
            [_cleaned(text) for text in texts],
            padding="max_length",
            max_length=self.text_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    def encode_tokens(self, ids: Tensor) -> Tensor:
        encoder = self.component("text_encoder")
        mask = ids != encoder.config.pad_token_id
        return encoder(ids, mask.long()).last_hidden_state * mask[..., None]

    def encode_texts(self, texts: Sequence[str], device: torch.device) -> Texts:
        self.component("text_encoder")
        states, _ = self.base_pipeline().encode_prompt(
            list(texts),
            do_classifier_free_guidance=False,
            max_sequence_length=self.text_length,
            device=device,
        )
        return Texts(states)

    def cut_off(self, text: str) -> tuple[str, int, int]:
        tokenizer = self.component("tokenizer")
        room = self.text_length - tokenizer.num_special_tokens_to_add()
        ids = tokenizer(_cleaned(text), add_special_tokens=False, verbose=False).input_ids
        return tokenizer.decode(ids[room:]) if len(ids) > room else "", len(ids), room


def _cleaned(text: str) -> str:
    """A text as the base pipeline gives it to its tokenizer."""
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    return prompt_clean(text)
