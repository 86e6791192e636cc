from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import tiny_picture, tiny_pipeline


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of toy size: 3 frames of 24x16, sides in multiples of 4."""
    folder = tmp_path_factory.mktemp("models") / "toy"
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "style.png"
    tiny_picture().save(path)
    return path
