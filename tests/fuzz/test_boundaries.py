"""Every boundary against damaged and absurd input: data or an error of ours, soon and in little memory.

The same few hundred inputs every time; `python scripts/fuzz.py --minutes 20` tries others for as long as it is told to.
"""

from __future__ import annotations

import pytest

from tests.fuzz.attempt import try_boundary
from tests.fuzz.boundaries import BOUNDARIES, Boundary


@pytest.mark.process
@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda boundary: boundary.name.replace(" ", "-"))
def test_only_our_errors(boundary: Boundary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tried = try_boundary(boundary, boundary.examples, seed=None)
    assert tried.refused or not boundary.refuses, "nothing was refused: these inputs are no test"
