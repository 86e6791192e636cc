"""What tells weights and pictures from others, so that scores can be kept by what they were measured with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch


def weights_digest(model: torch.nn.Module, *more: torch.Tensor) -> str:
    """16 hexadecimal digits of a model's weights, and of more that belong to it."""
    return _digest((*model.state_dict().values(), *more))


def pictures_digest(pictures: Iterable[torch.Tensor]) -> str:
    """16 hexadecimal digits of pictures in [0, 1], at 8 bits."""
    return _digest((picture * 255).round().to(torch.uint8) for picture in pictures)


def _digest(tensors: Iterable[torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
