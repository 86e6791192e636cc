"""Studies at toy size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stylecrafter.evaluation.truth.world_metric import accuracy_on_renders


@pytest.fixture(scope="module", autouse=True)
def few_fresh_renders() -> Iterator[None]:
    """Probes are tried on a few renders: no study says anything of their accuracy but the figure itself."""

    def few(probes: Any, spec: Any, count: int = 0) -> dict[str, float]:
        return accuracy_on_renders(probes, spec, 16)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stylecrafter.evaluation.truth.world_metric.accuracy_on_renders", few)
        yield
