"""Training at toy size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stylecrafter.training.recipe_run import RecipeRun
from tests.conftest import MadeOnce
from tests.training.short_run import few_measured_pictures, finished_run


@pytest.fixture(scope="module", autouse=True)
def measured_on_few_pictures() -> Iterator[None]:
    with few_measured_pictures():
        yield


@pytest.fixture(scope="module")
def trained(made_once: MadeOnce) -> RecipeRun:
    return finished_run(made_once)
