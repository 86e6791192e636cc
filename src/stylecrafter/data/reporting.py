"""What a source of batches may tell besides its batches."""

from __future__ import annotations

from collections import Counter
from typing import Protocol, runtime_checkable

from stylecrafter.data.records import Problem, Report


@runtime_checkable
class Described(Protocol):
    """A source that says what decides its batches."""

    def fingerprint(self) -> dict[str, str | int | float | None]:
        """Name -> value of everything that, changed, changes a batch."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """A source that may meet data which it cannot use."""

    def report(self) -> Report:
        """All of it so far."""
        ...

    def drain(self) -> Counter[Problem]:
        """What was met since the last call; it then counts as handed on."""
        ...

    def absorb(self, problems: Counter[Problem]) -> None:
        """Take over what was drained elsewhere."""
        ...
