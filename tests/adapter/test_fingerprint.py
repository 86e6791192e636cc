"""An adapter is itself in every number format, and no other."""

from __future__ import annotations

import copy

import pytest
import torch

from stylecrafter.adapter.fingerprint import fingerprint, same_weights
from tests.tiny import tiny_components


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_number_format_is_no_other_adapter(dtype: torch.dtype) -> None:
    adapter = tiny_components()["style_adapter"]
    assert same_weights(fingerprint(copy.deepcopy(adapter).to(dtype)), fingerprint(adapter))


def test_other_weights_are() -> None:
    adapter, other = tiny_components(0)["style_adapter"], tiny_components(1)["style_adapter"]
    mine = fingerprint(adapter)
    assert torch.equal(mine, fingerprint(copy.deepcopy(adapter)))
    assert not same_weights(mine, fingerprint(other))
    trained = copy.deepcopy(adapter)
    with torch.no_grad():
        trained.layers[-1].to_v.weight += 0.1 * torch.randn_like(trained.layers[-1].to_v.weight)
    assert not same_weights(mine, fingerprint(trained))
    assert not same_weights(mine, mine[:-1])
