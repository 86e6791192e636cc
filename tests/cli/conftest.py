from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import tiny_picture


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Path:
    return tiny_model


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "style.png"
    tiny_picture().save(path)
    return path
