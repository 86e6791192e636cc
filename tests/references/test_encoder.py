"""The chain from style pictures to image tokens, and that training and sampling share it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.tensors import to_tensor
from stylecrafter.references.encoder import ReferenceEncoder
from stylecrafter.references.preprocessing import normalise_for_clip
from stylecrafter.training.stages import AdapterStage, DiffusionConfig
from tests.golden import regenerate
from tests.golden.support import expected
from tests.tiny import tiny_pipeline
from tests.training.tiny_parts import tiny_parts
from tests.training.tiny_sources import tiny_pictures


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(regenerate.picture(width, height))


@pytest.fixture(scope="module")
def references() -> ReferenceEncoder:
    return tiny_pipeline().references


def read(references: ReferenceEncoder, pictures: list[Image.Image], size: int) -> torch.Tensor:
    return references.tokens(references.crop(pictures, size))


def with_image_size(references: ReferenceEncoder, size: int) -> ReferenceEncoder:
    """The same chain for an encoder that reads that size; its pixels alone are looked at."""
    encoder = tiny_pipeline().image_encoder
    encoder.config.image_size = size
    return replace(references, image_encoder=encoder)


def test_pixels_are_the_published_ones(references: ReferenceEncoder) -> None:
    published = with_image_size(references, 224)
    for wanted, size, every in (("tiny/clip", (512, 512), 8), ("full/clip_image", (300, 200), 2)):
        pixels = published.pixels(published.crop([picture(*size)], 512))[..., ::every, ::every]
        name = "pixels" if wanted == "tiny/clip" else "pixels_512"
        torch.testing.assert_close(pixels, expected(wanted)[name], rtol=0, atol=1e-5)


def test_a_square_of_the_encoders_size_is_only_normalised(references: ReferenceEncoder) -> None:
    square = picture(16, 16)
    plain = normalise_for_clip(to_tensor(square)[None])
    torch.testing.assert_close(references.pixels(references.crop([square], 16)), plain)


def test_tokens_are_the_global_one_and_the_patches(references: ReferenceEncoder) -> None:
    crops = references.crop([picture(20, 30), picture(40, 16)], 16)
    tokens = references.tokens(crops)
    out = references.image_encoder(pixel_values=references.pixels(crops))
    assert tokens.shape == (2, 5, 16)
    assert torch.equal(tokens[:, 0], out.pooler_output)
    assert torch.equal(tokens[:, 1:], out.last_hidden_state[:, 1:])


def test_several_pictures_are_read_as_each_alone(references: ReferenceEncoder) -> None:
    pictures = [picture(50, 40), picture(30, 60)]
    together = read(references, pictures, 32)
    alone = torch.cat([read(references, [one], 32) for one in pictures])
    torch.testing.assert_close(together, alone)


def test_rounded_tokens_have_the_values_of_half_precision(references: ReferenceEncoder) -> None:
    rounded, exact = (
        read(replace(references, half_tokens=half), [picture(40, 40)], 32) for half in (True, False)
    )
    assert torch.equal(rounded, exact.half().float()) and not torch.equal(rounded, exact)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("size", [16, 40])
def test_training_and_sampling_find_the_same_tokens(half: bool, size: int) -> None:
    # Crops of another size than the encoder's: they are blurred and resized on both sides.
    parts = replace(tiny_parts(), half_tokens=half)
    images = [picture(size, size), Image.fromarray(np.full((size, size, 3), 77, np.uint8))]
    batch = replace(
        tiny_pictures().batch(0, slice(0, 2)), references=torch.stack([to_tensor(i) for i in images])
    )
    stage = AdapterStage(parts, DiffusionConfig(), pictures=tiny_pictures())
    learned_from = stage._encode(batch, 0, slice(0, 2), tiny_pictures()).reference_tokens

    pipe = tiny_pipeline()
    pipe.image_encoder = parts.image_encoder
    pipe.register_to_config(reference_size=size, image_tokens_half=half)
    assert learned_from is not None and torch.equal(pipe.encode_image(images), learned_from)


def test_refusals(references: ReferenceEncoder) -> None:
    with pytest.raises(InvalidInputError, match="at least one"):
        references.crop([], 32)
    with pytest.raises(InvalidInputError, match="PIL"):
        references.crop(["a.png"], 32)  # type: ignore[list-item]
