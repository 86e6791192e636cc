"""The forms in which style scales may be given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from stylecrafter.adapter.scales import frame_scales, layer_scales
from stylecrafter.errors import InvalidInputError, UnknownNameError

NAMES = ("down.0.attn", "down.1.attn", "up.0.attn")


@pytest.mark.parametrize(
    ("scale", "wanted"),
    [
        (0.5, (0.5, 0.5, 0.5)),
        (np.float32(0.5), (0.5, 0.5, 0.5)),
        (torch.tensor(2), (2.0, 2.0, 2.0)),
        ((0, 0.5, 1), (0.0, 0.5, 1.0)),
        (np.array([0, 0.5, 1]), (0.0, 0.5, 1.0)),
        (torch.tensor([0, 0.5, 1]), (0.0, 0.5, 1.0)),
        ({"down": 0.5, "down.1": -1}, (0.5, -1.0, 1.0)),
        ({"": 0, "up": np.float64(2)}, (0.0, 0.0, 2.0)),
    ],
)
def test_forms(scale: Any, wanted: tuple[float, ...]) -> None:
    assert layer_scales(scale, NAMES) == wanted
    assert all(type(value) is float for value in layer_scales(scale, NAMES))


@pytest.mark.parametrize(
    "scale", [None, "0.5", "abc", [1, None, 1], {"up": "x"}, torch.ones(3, 2), [1, np.nan, 1]]
)
def test_what_is_no_number(scale: Any) -> None:
    with pytest.raises(InvalidInputError, match="style scales must be finite numbers, got"):
        layer_scales(scale, NAMES)


def test_names_and_counts() -> None:
    with pytest.raises(UnknownNameError, match="unknown layer 'dwn'"):
        layer_scales({"dwn": 1.0}, NAMES)
    with pytest.raises(UnknownNameError, match="unknown layer '3'"):
        layer_scales({3: 1.0}, NAMES)  # type: ignore[dict-item]
    with pytest.raises(InvalidInputError, match="need 3 scales, one per layer, got 2"):
        layer_scales(np.ones(2), NAMES)  # type: ignore[arg-type]


def test_frames() -> None:
    assert frame_scales(np.array([0, 0.5])) == (0.0, 0.5)
    with pytest.raises(InvalidInputError, match="one number per frame, got 0.5"):
        frame_scales(0.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="got none"):
        frame_scales([])
    with pytest.raises(InvalidInputError, match="finite numbers, got inf"):
        frame_scales([1.0, float("inf")])
