"""Several sources as one, mixed by weights: exactly, and the same in every run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction

import torch

from stylecrafter.data.batch import BatchSource, TrainingBatch
from stylecrafter.data.records import Problem, Report
from stylecrafter.data.reporting import Described, Reporting
from stylecrafter.errors import InvalidInputError, choose

_LONGEST_CYCLE = 100_000


class MixUnit(StrEnum):
    """What is given to one source at a time."""

    ROWS = "rows"
    """Every batch is mixed; the sources' rows must have one shape."""
    STEPS = "steps"
    """A batch comes from one source: pictures and clips can be mixed."""


class MixedSource:
    """A `BatchSource` that takes its rows, or whole steps, from others.

    The turns repeat in a cycle in which every source has exactly its share, spread as evenly as possible: after any
    number of turns no source is more than one turn away from it. A source's own rows come in its own order, none left
    out, so its epochs stay whole.
    """

    def __init__(
        self,
        sources: Sequence[BatchSource],
        weights: Sequence[float],
        *,
        batch_size: int | None = None,
        unit: MixUnit | str = MixUnit.ROWS,
    ) -> None:
        """
        Args:
            sources: At least one.
            weights: One per source, above 0; only their ratio counts.
            batch_size: Rows of a step; by default that of the sources, which then must have one.
            unit: Whether single rows or whole steps alternate.

        Raises:
            InvalidInputError: Other numbers of weights than sources, a weight not above 0, weights whose ratio has a
                cycle of more than 100,000 turns, or batch sizes that differ where they must not.
        """
        self._sources, self._unit = list(sources), choose("unit", MixUnit, unit)
        if not self._sources or len(self._sources) != len(weights):
            raise InvalidInputError(f"{len(self._sources)} sources need as many weights, got {len(weights)}.")
        sizes = {source.batch_size for source in self._sources}
        if len(sizes) > 1 and (batch_size is None or self._unit is MixUnit.STEPS):
            raise InvalidInputError(
                f"the sources have batches of {sorted(sizes)} rows; give all the same batch_size."
            )
        if self._unit is MixUnit.STEPS and batch_size not in (None, *sizes):
            raise InvalidInputError(
                f"batch_size must be {sizes.pop()} as that of the sources, not {batch_size}."
            )
        self._batch_size = batch_size or sizes.pop()
        self._shares = whole_shares(weights)
        self._turns = spread_turns(self._shares)
        self._before = _counts_before(self._turns, len(self._shares))
        self._met = Report()

    @property
    def batch_size(self) -> int:
        """Rows of one step, over all processes and accumulated parts together."""
        return self._batch_size

    def turn(self, number: int) -> tuple[int, int]:
        """Which source has turn `number` of the endless sequence, and which of its own turns that is."""
        cycle, at = divmod(number, len(self._turns))
        source = self._turns[at]
        return source, cycle * self._shares[source] + self._before[at]

    def batch(self, step: int, rows: slice) -> TrainingBatch:
        """Rows of the batch of a step.

        Raises:
            InvalidInputError: The sources' rows do not fit together.
        """
        if self._unit is MixUnit.STEPS:
            source, own_step = self.turn(step)
            return self._sources[source].batch(own_step, rows)
        places = range(step * self._batch_size, (step + 1) * self._batch_size)[rows]
        turns = [self.turn(place) for place in places]
        parts: list[TrainingBatch | None] = [None] * len(turns)
        for source in {source for source, _ in turns}:
            at = [index for index, (owner, _) in enumerate(turns) if owner == source]
            for index, row in zip(at, self._rows_of(source, [turns[i][1] for i in at]), strict=True):
                parts[index] = row
        return _concatenate([part for part in parts if part is not None])

    def report(self) -> Report:
        """What the sources did not use."""
        counts = Counter(self._met.counts)
        for source in self._sources:
            if isinstance(source, Reporting):
                counts += source.report().counts
        return Report(counts)

    def drain(self) -> Counter[Problem]:
        """What the sources met while loading since the last call."""
        counts, self._met = self._met.counts, Report()
        for source in self._sources:
            if isinstance(source, Reporting):
                counts += source.drain()
        return counts

    def absorb(self, problems: Counter[Problem]) -> None:
        """Take over what a worker met."""
        self._met.counts += problems

    def fingerprint(self) -> dict[str, str | int | float | None]:
        """The sources' own, and how they are mixed."""
        mine: dict[str, str | int | float | None] = {
            "batch_size": self._batch_size,
            "unit": self._unit.value,
            "weights": " : ".join(map(str, self._shares)),
        }
        for number, source in enumerate(self._sources):
            if isinstance(source, Described):
                mine |= {f"source {number}: {name}": value for name, value in source.fingerprint().items()}
        return mine

    def _rows_of(self, source: int, places: list[int]) -> list[TrainingBatch]:
        """A source's own rows `places` (ascending), each as a batch of one; asked for in runs."""
        owner = self._sources[source]
        rows: list[TrainingBatch] = []
        first = 0
        while first < len(places):
            step, row = divmod(places[first], owner.batch_size)
            last = first
            while (
                last + 1 < len(places)
                and places[last + 1] == places[last] + 1
                and places[last + 1] // owner.batch_size == step
            ):
                last += 1
            batch = owner.batch(step, slice(row, row + last - first + 1))
            rows += [batch[slice(i, i + 1)] for i in range(len(batch))]
            first = last + 1
        return rows


def whole_shares(weights: Sequence[float]) -> list[int]:
    """The smallest whole numbers in the ratio of the weights, which are taken as they are written: 0.1 is a tenth.

    Raises:
        InvalidInputError: A weight not above 0, or a sum above 100,000.
    """
    fractions = []
    for weight in weights:
        if not (math.isfinite(weight) and weight > 0):
            raise InvalidInputError(f"weights must be above 0, got {weight}; leave a source out instead.")
        fractions.append(Fraction(str(weight)))
    scale = math.lcm(*(fraction.denominator for fraction in fractions))
    numbers = [int(fraction * scale) for fraction in fractions]
    shares = [number // math.gcd(*numbers) for number in numbers]
    if sum(shares) > _LONGEST_CYCLE:
        raise InvalidInputError(
            f"the ratio of the weights {', '.join(map(str, weights))} has a cycle of {sum(shares):,} turns; round them."
        )
    return shares


def spread_turns(shares: Sequence[int]) -> list[int]:
    """Source numbers for one cycle: source i has shares[i] turns, never more than one away from its part so far."""
    total, given = sum(shares), [0] * len(shares)
    turns = []
    for turn in range(1, total + 1):
        # Among those whose next turn is not too early, the one that is due first (Tijdeman's rule).
        early = [i for i in range(len(shares)) if given[i] * total < shares[i] * turn]
        due = min(early, key=lambda i: (Fraction((given[i] + 1) * total, shares[i]), i))
        given[due] += 1
        turns.append(due)
    return turns


def _counts_before(turns: Sequence[int], sources: int) -> list[int]:
    given, before = [0] * sources, []
    for source in turns:
        before.append(given[source])
        given[source] += 1
    return before


def _concatenate(parts: list[TrainingBatch]) -> TrainingBatch:
    if not parts:
        raise InvalidInputError("no rows are asked for.")
    shapes = {tuple(part.frames.shape[1:]) for part in parts}
    styles = {None if part.references is None else tuple(part.references.shape[1:]) for part in parts}
    if len(shapes) > 1 or len(styles) > 1:
        raise InvalidInputError(
            f"rows of frames {sorted(shapes)} and references {sorted(map(str, styles))} do not fit into one batch; "
            'mix by unit "steps", or give the sources one size.'
        )
    references = [part.references for part in parts if part.references is not None]
    return TrainingBatch(
        frames=torch.cat([part.frames for part in parts]),
        captions=[caption for part in parts for caption in part.captions],
        references=torch.cat(references) if references else None,
    )
