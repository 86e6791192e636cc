"""Studies at toy size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def few_fresh_renders() -> Iterator[None]:
    """Probes are tried on a few renders: no study says anything of their accuracy but the figure itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stylecrafter.evaluation.evaluate.FRESH_RENDERS", 16)
        yield
