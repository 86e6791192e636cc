"""Masks in the forms that callers give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stylecrafter.errors import InvalidInputError
from stylecrafter.references.masks import mask_on_latents, masks_per_sample, read_mask

LEFT = np.zeros((4, 6), bool)
LEFT[:, :3] = True


@pytest.mark.parametrize(
    "mask",
    [
        LEFT,
        LEFT.astype(np.float32),
        LEFT.astype(np.uint8) * 255,
        torch.from_numpy(LEFT),
        Image.fromarray(LEFT),
    ],
)
def test_forms_of_one_mask(mask: Any, tmp_path: Path) -> None:
    assert torch.equal(read_mask(mask), torch.from_numpy(LEFT).float()[None])


def test_a_file_and_masks_per_frame(tmp_path: Path) -> None:
    Image.fromarray(LEFT.astype(np.uint8) * 51).save(tmp_path / "mask.png")
    torch.testing.assert_close(read_mask(tmp_path / "mask.png"), 0.2 * torch.from_numpy(LEFT).float()[None])
    assert read_mask(np.stack([LEFT, ~LEFT])).shape == (2, 4, 6)


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (3, "a picture, an array or a tensor .* got int"),
        (np.zeros((2, 3, 4, 5)), r"\(h, w\), or \(frames, h, w\) .* got \(2, 3, 4, 5\)"),
        (np.zeros((0, 4)), r"got \(0, 4\)"),
        (np.full((4, 6), 1.5), "lie in .* values from 1.5 to 1.5"),
        (np.full((4, 6), np.nan), "values from nan"),
        (LEFT.astype(np.int64), "bool, uint8 or floating-point numbers, got torch.int64"),
        (LEFT.astype(np.uint8), "from 0 to 255, this one to 1"),
    ],
)
def test_what_is_no_mask(mask: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        read_mask(mask)


def test_one_or_one_per_reference_or_such_lists_per_prompt() -> None:
    assert masks_per_sample(LEFT, 2) == [[LEFT]] * 2
    assert [len(row) for row in masks_per_sample([LEFT, LEFT], 3)] == [2, 2, 2]
    assert [len(row) for row in masks_per_sample([[LEFT], [LEFT]], 2)] == [1, 1]
    for masks, says in (
        ([], r"got \[0\]"),
        ([[LEFT], [LEFT, LEFT]], r"got \[1, 2\]"),
        ([[LEFT]], "1 prompts, there are 2"),
    ):
        with pytest.raises(InvalidInputError, match=says):
            masks_per_sample(masks, 2)


def test_the_grid_of_latents_by_area_and_by_groups_of_frames() -> None:
    mask = read_mask(LEFT)
    assert mask_on_latents(mask, (24, 16), 5, (5, 2, 2), 1).tolist() == [[[1, 0], [1, 0]]]
    frames = torch.tensor([1.0, 0, 0, 1, 1]).view(5, 1, 1).expand(-1, 4, 6)
    # The first frame has a latent frame of its own, then four share one.
    assert mask_on_latents(frames, (24, 16), 5, (2, 1, 1), 4).flatten().tolist() == [1, 0.5]
    assert mask_on_latents(frames[:3], (24, 16), 3, (2, 1, 1), 4).flatten().tolist() == [1, 0]


def test_masks_that_do_not_fit_the_clip() -> None:
    with pytest.raises(
        InvalidInputError, match="6x4 does not fit a clip of 16x16: it must have the same proportions"
    ):
        mask_on_latents(read_mask(LEFT), (16, 16), 1, (1, 2, 2), 1)
    with pytest.raises(InvalidInputError, match="masks for 2 frames, the clip has 3"):
        mask_on_latents(read_mask(np.stack([LEFT, LEFT])), (24, 16), 3, (3, 2, 3), 1)
