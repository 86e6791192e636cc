"""Style pictures in, image tokens out: what sampling reads is what training has learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModel

from stylecrafter.errors import InvalidInputError
from stylecrafter.references.preprocessing import crop_square, normalise_for_clip, resize_with_blur


@dataclass(frozen=True)
class ReferenceEncoder:
    """The chain from a style picture to image tokens. What may differ between models is its data.

    Attributes:
        image_encoder: CLIP image tower.
        half_tokens: Round image tokens to float16, as the published code does.
    """

    image_encoder: CLIPVisionModel
    half_tokens: bool = False

    @property
    def image_size(self) -> int:
        """Side in pixels of what the encoder reads."""
        return int(self.image_encoder.config.image_size)

    def crop(self, pictures: Sequence[Image.Image], size: int) -> Tensor:
        """The middles of n pictures of any size and mode: (n, 3, size, size), float32 in [0, 1].

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
        return torch.stack([crop_square(picture, size) for picture in pictures])

    def pixels(self, crops: Tensor) -> Tensor:
        """What the encoder sees of crops (n, 3, s, s) in [0, 1]: (n, 3, image_size, image_size), CLIP's mean and
        deviation taken out (published CLIP embedder)."""
        # Resized in [-1, 1], as published: where the blur and the bicubic filter round is part of the result.
        return normalise_for_clip((resize_with_blur(crops * 2 - 1, self.image_size) + 1) / 2)

    def tokens(self, crops: Tensor, device: torch.device | None = None) -> Tensor:
        """Image tokens (n, 1 + patches, w) of crops (n, 3, s, s) in [0, 1], in the encoder's own number format.

        The first token is the global one, behind the last norm; those of patches come as the last layer leaves them.

        Args:
            crops: From `crop`, or from training data.
            device: Where the encoder runs, if that is not where the crops are: with offloading, the encoder itself
                does not know. Pixels are prepared where the crops are.
        """
        pixels = self.pixels(crops)
        pixels = pixels.to(device if device is not None else pixels.device, self.image_encoder.dtype)
        out = self.image_encoder(pixel_values=pixels)
        tokens = torch.cat([out.pooler_output[:, None], out.last_hidden_state[:, 1:]], dim=1)
        return tokens.half().to(tokens.dtype) if self.half_tokens else tokens
