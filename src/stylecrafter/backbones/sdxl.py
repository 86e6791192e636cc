"""SDXL: images, from two text encoders, a pooled embedding and the size of the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from stylecrafter.backbones.clip_texts import check_ids, check_tokenizer
from stylecrafter.backbones.stable_diffusion import StableDiffusion
from stylecrafter.backbones.texts import Texts
from stylecrafter.errors import InvalidInputError

#: Numbers of a picture's size that the UNet reads: original size, crop, target size.
SIZES = 6
#: Behind the names of both text encoders and tokenizers.
NUMBERS = ("", "_2")
#: Tokens of a text where there is no tokenizer to ask.
TEXT_LENGTH = 77


class SDXL(StableDiffusion):
    """As `StableDiffusion`, with `text_encoder_2` and `tokenizer_2`; token ids are (n, 2, l), those of both tokenizers.

    A text's states are those before the last layer of either encoder, side by side. `force_zeros_for_empty_prompt`
    among the components says that "no text" is zeros, as in the published model.
    """

    label = "SDXL"
    for_clips = "clips come from Stable Diffusion 1.5 with motion modules (--motion-adapter), or from Wan"
    pipelines = ("StableDiffusionXLPipeline", "StableDiffusionXLControlNetPipeline")

    @classmethod
    def accepts(cls, denoiser: Any) -> bool:
        is_unet = isinstance(denoiser, UNet2DConditionModel)
        return is_unet and denoiser.config.addition_embed_type == "text_time"

    @property
    def pooled_dim(self) -> int:
        """Width of a text's pooled embedding."""
        config = self.denoiser.config
        sizes = SIZES * int(config["addition_time_embed_dim"])
        return int(config["projection_class_embeddings_input_dim"]) - sizes

    def check_texts(self) -> None:
        encoders: list[Any] = [self.components.get(f"text_encoder{number}") for number in NUMBERS]
        tokenizers: list[Any] = [self.components.get(f"tokenizer{number}") for number in NUMBERS]
        if None not in encoders:
            given = sum(encoder.config.hidden_size for encoder in encoders)
            if given != self.text_dim:
                raise InvalidInputError(
                    f"the text encoders give width {given}, the UNet reads width {self.text_dim}"
                )
        if encoders[1] is not None and encoders[1].config.projection_dim != self.pooled_dim:
            raise InvalidInputError(
                f"text_encoder_2 gives pooled embeddings of width {encoders[1].config.projection_dim}, the UNet reads "
                f"width {self.pooled_dim}"
            )
        for tokenizer, encoder in zip(tokenizers, encoders, strict=True):
            if tokenizer is not None and encoder is not None:
                check_tokenizer(tokenizer, encoder)
        if None not in tokenizers and len({tokenizer.model_max_length for tokenizer in tokenizers}) > 1:
            lengths = " and ".join(str(tokenizer.model_max_length) for tokenizer in tokenizers)
            raise InvalidInputError(f"the tokenizers make texts of different lengths: {lengths} tokens")

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        rows = []
        for number in NUMBERS:
            ids = self.padded(texts, f"tokenizer{number}")
            if (encoder := self.components.get(f"text_encoder{number}")) is not None:
                check_ids(ids, encoder)
            rows.append(ids)
        return torch.stack(rows, dim=1)

    def encode_tokens(self, ids: Tensor) -> Tensor:
        encoders = [self.component(f"text_encoder{number}") for number in NUMBERS]
        states = [
            encoder(input_ids=rows, output_hidden_states=True).hidden_states[-2]
            for encoder, rows in zip(encoders, ids.unbind(1), strict=True)
        ]
        return torch.cat(states, dim=-1)

    def text_arguments(self, ids: Tensor) -> dict[str, Any]:
        return {"pooled_prompt_embeds": self.component("text_encoder_2")(input_ids=ids[:, 1]).text_embeds}

    def encode_texts(self, texts: Sequence[str], device: torch.device) -> Texts:
        self.tokenize(texts)  # refuses a tokenizer of another text encoder
        for number in NUMBERS:
            self.component(f"text_encoder{number}")
        states, _, pooled, _ = self.text_pipeline().encode_prompt(
            list(texts), device=device, do_classifier_free_guidance=False
        )
        return Texts(states, {"pooled_prompt_embeds": pooled.to(device)})

    def encode_no_text(self, device: torch.device) -> Texts:
        if not self.components.get("force_zeros_for_empty_prompt", True):
            return super().encode_no_text(device)
        length = getattr(self.components.get("tokenizer"), "model_max_length", TEXT_LENGTH)
        states = torch.zeros(1, length, self.text_dim, device=device, dtype=self.dtype)
        return Texts(states, {"pooled_prompt_embeds": states.new_zeros(1, self.pooled_dim)})

    def predict(
        self,
        latents: Tensor,
        timestep: Tensor | float | int,
        text: Tensor,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        *,
        pooled_prompt_embeds: Tensor | None = None,
        time_ids: Tensor | None = None,
        **arguments: Any,
    ) -> Tensor:
        """As `StableDiffusion.predict`, with what the UNet reads beside a text: `added_cond_kwargs` as they are, or

        `pooled_prompt_embeds` (n, pooled_dim), as `encode_texts` gives them, and `time_ids` (6,) or (n, 6): original
        size, top left of the crop and target size, (height, width) each, in pixels; None: those of the latents, uncut.
        """
        if arguments.get("added_cond_kwargs") is None:
            if pooled_prompt_embeds is None:
                raise InvalidInputError(
                    "SDXL reads a pooled embedding beside text states: give pooled_prompt_embeds (`encode_texts`), or "
                    "added_cond_kwargs"
                )
            if time_ids is None:
                height, width = (side * self.pixels_per_latent for side in latents.shape[-2:])
                time_ids = torch.tensor([height, width, 0, 0, height, width])
            arguments["added_cond_kwargs"] = {
                "text_embeds": pooled_prompt_embeds.to(text),
                "time_ids": time_ids.to(text).expand(len(latents), SIZES),
            }
        return super().predict(latents, timestep, text, style_tokens, style_scales, **arguments)

    @contextmanager
    def autoencoder(self) -> Iterator[Any]:
        """In float32 where it would overflow in float16, as the published one does."""
        vae = self.component("vae")
        if vae.dtype != torch.float16 or not vae.config.force_upcast:
            yield vae
            return
        vae.to(torch.float32)
        try:
            yield vae
        finally:
            vae.to(torch.float16)
