"""Architectures as data: the sizes of every part of a model, without weights."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from stylecrafter.errors import unknown_name


def preset_names() -> list[str]:
    """Names that `load_preset` knows."""
    names = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def load_preset(name: str) -> dict[str, dict[str, Any]]:
    """Part of the pipeline -> its config values.

    Raises:
        UnknownNameError: No such preset.
    """
    if name not in preset_names():
        raise unknown_name("preset", name, preset_names())
    return json.loads((resources.files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
