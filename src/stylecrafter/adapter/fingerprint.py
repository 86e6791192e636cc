"""Telling one adapter from another by its weights, in whatever number format they are loaded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Of every tensor so many numbers are looked at, spread evenly over it.
_SAMPLES = 4096
#: Radians from one number's weight to the next; the golden angle has no period.
_TURN = 2.399963229728653
#: Rounding to bfloat16 moves a row by some thousandths of a tensor's norm, other training by far more.
TOLERANCE = 0.01


@torch.no_grad()
def fingerprint(module: nn.Module) -> Tensor:
    """What weights are told apart by: (n, 2), float64, on the CPU, a row for each tensor in order of its name.

    A row has a weighted sum of numbers of that tensor, and their norm. A hash would be another for the same weights
    in another number format.
    """
    rows = []
    for _, value in sorted(module.state_dict().items()):
        flat = value.detach().reshape(-1)
        some = flat[:: max(1, -(-flat.numel() // _SAMPLES))].to("cpu", torch.float64)
        weights = torch.arange(some.numel(), dtype=torch.float64).mul_(_TURN).cos_()
        rows.append(torch.stack([some @ weights, some.norm()]))
    return torch.stack(rows)


def same_weights(one: Tensor, other: Tensor) -> bool:
    """Whether two fingerprints are of the same weights, up to rounding."""
    if one.shape != other.shape:
        return False
    room = TOLERANCE * torch.maximum(one[:, 1], other[:, 1])
    return bool(((one - other).abs() <= room[:, None]).all())
