"""Where weights come from: embedded models, folders, and published checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["from_official", "load_adapter"]

if TYPE_CHECKING:
    from stylecrafter.pipelines.adapters import load_adapter
    from stylecrafter.pipelines.official import from_official


def __getattr__(name: str) -> Any:
    if name == "from_official":
        from stylecrafter.pipelines.official import from_official

        return from_official
    if name == "load_adapter":
        from stylecrafter.pipelines.adapters import load_adapter

        return load_adapter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
