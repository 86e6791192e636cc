"""Style pictures in, image tokens out: what sampling reads is what training has learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

from stylecrafter.errors import InvalidInputError
from stylecrafter.references.preprocessing import (
    crop_for_clip,
    crop_square,
    normalise_for_clip,
    resize_smoothly,
    resize_with_blur,
)


@dataclass(frozen=True)
class ReferenceEncoder:
    """The chain from a style picture to image tokens. What may differ between models is its data.

    Attributes:
        image_encoder: CLIP image tower.
        half_tokens: Round image tokens to float16, as the published code does.
        features: What of the encoder is read (`adapter.adapter_options.ImageFeatures`).
        preprocessing: What pictures go through before it (`adapter.adapter_options.Preprocessing`).
    """

    image_encoder: CLIPVisionModel | CLIPVisionModelWithProjection
    half_tokens: bool = False
    features: str = "last_normed"
    preprocessing: str = "blur"

    @property
    def image_size(self) -> int:
        """Side in pixels of what the encoder reads."""
        return int(self.image_encoder.config.image_size)

    def crop(self, pictures: Sequence[Image.Image], size: int) -> Tensor:
        """The middles of n pictures of any size and mode: (n, 3, size, size), float32 in [0, 1]; for "clip", of the
        encoder's own size.

        Raises:
            InvalidInputError: No pictures, or something that is none.
        """
        for picture in pictures:
            if not isinstance(picture, Image.Image):
                raise InvalidInputError(
                    f"a style picture must be a PIL image, got {type(picture).__name__}; "
                    "stylecrafter.media.images.load_picture reads files and arrays"
                )
        if not pictures:
            raise InvalidInputError("need at least one style picture, got none")
        if self.preprocessing == "clip":
            return torch.stack([crop_for_clip(picture, self.image_size) for picture in pictures])
        return torch.stack([crop_square(picture, size) for picture in pictures])

    def pixels(self, crops: Tensor) -> Tensor:
        """What the encoder sees of crops (n, 3, s, s) in [0, 1]: (n, 3, image_size, image_size), CLIP's mean and
        deviation taken out (published CLIP embedder)."""
        if self.preprocessing == "clip":
            return normalise_for_clip(resize_smoothly(crops, self.image_size))
        # Resized in [-1, 1], as published: where the blur and the bicubic filter round is part of the result.
        return normalise_for_clip((resize_with_blur(crops * 2 - 1, self.image_size) + 1) / 2)

    def tokens(self, crops: Tensor, device: torch.device | None = None) -> Tensor:
        """Image tokens (n, t, w) of crops (n, 3, s, s) in [0, 1], in the encoder's own number format.

        By `features`: "last_normed", 1 + patches tokens, the first behind the last norm, the others as the last layer
        leaves them; "last", all as it leaves them; "penultimate", as the layer before does; "embedding", one token, the
        projected embedding.

        Args:
            crops: From `crop`, or from training data.
            device: Where the encoder runs, if that is not where the crops are: with offloading, the encoder itself
                does not know. Pixels are prepared where the crops are.
        """
        pixels = self.pixels(crops)
        pixels = pixels.to(device if device is not None else pixels.device, self.image_encoder.dtype)
        tokens = self._features(pixels)
        return tokens.half().to(tokens.dtype) if self.half_tokens else tokens

    def embeddings(self, crops: Tensor, device: torch.device | None = None) -> Tensor:
        """Projected embeddings (n, w) of crops (n, 3, s, s) in [0, 1]; see `tokens`.

        Raises:
            InvalidInputError: The encoder has no projection.
        """
        feature_width(self.image_encoder, "embedding")
        return replace(self, features="embedding").tokens(crops, device)[:, 0]

    def null_tokens(self, device: torch.device) -> Tensor:
        """Image tokens (1, t, w) of pixels that are all 0 where the encoder sees them: "no style" of some adapters."""
        size = self.image_size
        return self._features(torch.zeros(1, 3, size, size, device=device, dtype=self.image_encoder.dtype))

    def _features(self, pixels: Tensor) -> Tensor:
        encoder = self.image_encoder
        if self.features == "embedding":
            return encoder(pixel_values=pixels).image_embeds[:, None]
        if self.features == "penultimate":
            return encoder(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
        # Its inner model runs alone, so that a hook that fetches the weights to a GPU has to be told.
        hook = getattr(encoder, "_hf_hook", None)
        if hook is not None:
            hook.pre_forward(encoder)
        out = getattr(encoder, "vision_model", encoder)(pixel_values=pixels)
        if self.features == "last":
            return out.last_hidden_state
        return torch.cat([out.pooler_output[:, None], out.last_hidden_state[:, 1:]], dim=1)


def feature_width(image_encoder: CLIPVisionModel | CLIPVisionModelWithProjection, features: str) -> int:
    """Width of the image tokens that `ReferenceEncoder` gives.

    Raises:
        InvalidInputError: The projected embedding is asked of an encoder without a projection.
    """
    if features != "embedding":
        return int(image_encoder.config.hidden_size)
    if not isinstance(image_encoder, CLIPVisionModelWithProjection):
        raise InvalidInputError(
            f"the adapter reads the projected embedding, which {type(image_encoder).__name__} does not give; it needs "
            "a CLIPVisionModelWithProjection"
        )
    return int(image_encoder.config.projection_dim)
