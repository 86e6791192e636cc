"""A tiny pipeline, built once per module, and pictures for it."""

from __future__ import annotations

import pytest
from PIL import Image

from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from tests.tiny import tiny_picture, tiny_pipeline


@pytest.fixture(scope="module")
def pipe() -> StyleCrafterPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    return tiny_picture(0)


@pytest.fixture(scope="session")
def other_picture() -> Image.Image:
    return tiny_picture(1, width=16, height=30)
