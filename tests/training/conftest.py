"""Training at toy size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stylecrafter.training.recipe_run import RecipeRun
from tests.conftest import MadeOnce
from tests.training.short_run import few_measured_pictures, finished_run
from tests.training.tiny_bases import save_bases


@pytest.fixture(scope="module", autouse=True)
def measured_on_few_pictures() -> Iterator[None]:
    with few_measured_pictures():
        yield


@pytest.fixture(scope="session")
def bases(made_once: MadeOnce) -> Path:
    """Base models in the layout of diffusers, and pictures and clips to train with (`tiny_bases.save_bases`)."""
    return made_once("bases", save_bases)


@pytest.fixture(scope="module")
def trained(made_once: MadeOnce) -> RecipeRun:
    return finished_run(made_once)
