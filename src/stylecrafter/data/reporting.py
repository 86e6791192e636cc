"""What a source of batches may tell besides its batches."""

from __future__ import annotations

from collections import Counter
from typing import Protocol, runtime_checkable

from stylecrafter.data.records import Problem, Report
from stylecrafter.errors import InvalidInputError

#: Name -> value of what decides the batches of a source.
Fingerprint = dict[str, str | int | float | None]
_WORDS_OF_CHANGE = 3


@runtime_checkable
class Described(Protocol):
    """A source that says what decides its batches."""

    def fingerprint(self) -> Fingerprint:
        """Name -> value of everything that, changed, changes a batch."""
        ...


def refuse_changes(saved: Fingerprint, now: Fingerprint) -> None:
    """Check that a run goes on with the data it was stopped with.

    Raises:
        InvalidInputError: The data or its settings are others; the message says which.
    """
    changed = [name for name in {**saved, **now} if saved.get(name) != now.get(name)]
    if changed:
        words = "; ".join(
            f"{name} was {saved.get(name)}, is {now.get(name)}" for name in changed[:_WORDS_OF_CHANGE]
        )
        raise InvalidInputError(
            f"the training data is not what it was when the run stopped: {words}. Going on would show some of it "
            "twice and some never; restore it, or begin a new run."
        )


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
