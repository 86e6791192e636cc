"""Style picture -> pixels -> image tokens against the published image path, tiny and at full size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModel

from stylecrafter.pipelines.official import build_image_encoder
from stylecrafter.references.preprocessing import crop_square, normalise_for_clip, resize_with_blur
from tests.golden import regenerate
from tests.golden.support import CLIP_VISION_HEADS, Comparison, checkpoint, expected


def encoder_pixels(picture: Tensor) -> Tensor:
    """(1, 3, h, w) in [-1, 1] -> what the encoder sees."""
    return normalise_for_clip((resize_with_blur(picture, 224) + 1) / 2)


def cropped(width: int, height: int) -> Tensor:
    return crop_square(Image.fromarray(regenerate.picture(width, height)), 512)[None] * 2 - 1


def uncropped(width: int, height: int) -> Tensor:
    pixels = torch.from_numpy(regenerate.picture(width, height)).permute(2, 0, 1)[None]
    return pixels.float() / 255 * 2 - 1


def tokens(encoder: CLIPVisionModel, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        out = encoder(pixels)
    return torch.cat([out.pooler_output[:, None], out.last_hidden_state[:, 1:]], dim=1)


def close(actual: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-5)


def test_pixels_of_an_uncropped_picture() -> None:
    close(encoder_pixels(uncropped(300, 200)), expected("full/clip_image")["pixels_300x200"])


def test_pixels_of_a_resized_and_cropped_picture() -> None:
    close(encoder_pixels(cropped(300, 200))[..., ::2, ::2], expected("full/clip_image")["pixels_512"])


def test_pixels_of_a_square_picture() -> None:
    close(encoder_pixels(cropped(512, 512))[..., ::8, ::8], expected("tiny/clip")["pixels"])


def test_tokens_of_the_tiny_encoder() -> None:
    encoder = build_image_encoder(checkpoint("tiny", "openclip"), CLIP_VISION_HEADS["tiny"], copy=False)
    comparison = Comparison(1e-5)
    comparison.add(
        "image", tokens(encoder, encoder_pixels(cropped(512, 512))), expected("tiny/clip")["image"]
    )
    comparison.check()


@pytest.mark.slow
def test_tokens_at_full_size() -> None:
    wanted = expected("full/clip_image")
    encoder = build_image_encoder(checkpoint("full", "openclip"), CLIP_VISION_HEADS["full"], copy=False)
    square, wide = (tokens(encoder, encoder_pixels(p)) for p in (cropped(300, 200), uncropped(300, 200)))
    comparison = Comparison(1e-5)
    comparison.add("tokens", square[:, ::8], wanted["tokens"])
    comparison.add("tokens_cls", square[:, 0], wanted["tokens_cls"])
    comparison.add("tokens_300x200", wide[:, ::8], wanted["tokens_300x200"])
    comparison.add("tokens_300x200_cls", wide[:, 0], wanted["tokens_300x200_cls"])
    comparison.check()
    # Rounding to float16 may fall on the other side of a tie, one unit in the last place; where values are
    # close to zero that unit is smaller than the error of float32.
    official, ours = wanted["tokens_official_half"], square[:, ::8].half()
    assert official.dtype == torch.float16
    unit = torch.from_numpy(np.spacing(official.abs().numpy())).float()
    assert ((official.float() - ours.float()).abs() <= unit + 1e-5 * official.float().std()).all()
