"""docs/how-to/own_base_model.md says what is so: a base model of one page draws, is guided and trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from stylecrafter.backbones import families
from stylecrafter.errors import InvalidInputError
from stylecrafter.training.stages import DiffusionConfig, TemporalStage

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "how-to" / "own_base_model.md").read_text("utf-8"), re.DOTALL
)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    known, patch = list(families._FAMILIES), pytest.MonkeyPatch()
    patch.chdir(ROOT)
    torch.manual_seed(0)
    made: dict[str, Any] = {"__name__": "own_base_model"}
    try:
        for block in BLOCKS:
            exec(block, made)
    finally:
        patch.undo()
    yield made
    families._FAMILIES[:] = known


def test_it_is_short() -> None:
    assert len(BLOCKS) == 3
    assert len(BLOCKS[0].splitlines()) < 60


def test_it_draws_and_is_guided(names: dict[str, Any]) -> None:
    assert names["image"].size == (48, 32)
    null, plain, styled = names["null"], names["plain"], names["styled"]
    assert names["guided"].shape == plain.shape == (1, 3, 1, 32, 48)
    assert not torch.equal(null, plain) and not torch.equal(plain, styled)
    pipe, text, style = names["pipe"], names["text"], names["style"]
    zeros = torch.zeros_like(names["scales"])
    assert torch.equal(pipe.predict_noise(names["noisy"], 500, text, style, zeros), plain)
    with pytest.raises(InvalidInputError, match="Toy makes images"):
        pipe("a red fox", num_frames=2)
    with pytest.raises(InvalidInputError, match="latents must be"):
        pipe.predict_noise(names["noisy"][:, :1], 500, text)


def test_stage_1_trains_it(names: dict[str, Any]) -> None:
    stage, adapter = names["stage"], names["adapter"]
    assert set(stage.trainable()) == {f"style_adapter.{name}" for name, _ in adapter.named_parameters()}
    inputs, losses = stage.inputs(99), []
    for _ in range(10):
        loss = stage.compute(inputs)
        loss.backward()
        names["optimizer"].step()
        names["optimizer"].zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert len(names["losses"]) == 4
    with pytest.raises(InvalidInputError, match="Toy has no temporal layers"):
        TemporalStage(names["parts"], DiffusionConfig(clip_ratio=0.0), pictures=names["pictures"])
