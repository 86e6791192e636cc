"""Names of the studies."""

from __future__ import annotations

from enum import StrEnum


class Study(StrEnum):
    """An experiment of the paper, or one that it leaves open."""

    ARTEFACTS = "artefacts"
    """Known temporal faults at known strength: which metrics notice them."""
