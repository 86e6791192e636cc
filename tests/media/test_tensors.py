from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.tensors import clip_to_tensor, to_pictures, to_tensor


def test_values_become_bytes() -> None:
    assert to_pictures(torch.full((1, 3, 16, 16), 0.5))[0].getpixel((3, 3)) == (128, 128, 128)
    assert to_pictures(torch.tensor([-1.0, 0.0, 2.0]).view(1, 3, 1, 1))[0].getpixel((0, 0)) == (0, 0, 255)


def test_bytes_become_values_of_0_to_1() -> None:
    values = to_tensor(Image.fromarray(np.array([[[0, 128, 255]]], np.uint8)))
    assert values.dtype == torch.float32
    assert values.flatten().tolist() == pytest.approx([0.0, 128 / 255, 1.0])


def test_there_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    frames = to_pictures(clip_to_tensor([Image.fromarray(p) for p in pixels]))
    assert (np.stack([np.asarray(frame) for frame in frames]) == pixels).all()


def test_a_clip_has_frames() -> None:
    with pytest.raises(InvalidInputError, match="without frames"):
        clip_to_tensor([])
