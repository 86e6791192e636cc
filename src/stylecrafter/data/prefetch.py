"""Batches loaded ahead by worker processes, and a place in the data that can be saved and returned to."""

from __future__ import annotations

import atexit
import signal
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from stylecrafter.data.batch import BatchSource, TrainingBatch
from stylecrafter.data.records import Problem
from stylecrafter.data.reporting import Described, Reporting, refuse_changes
from stylecrafter.errors import InvalidInputError


def split_rows(batch_size: int, parts: int, part: int) -> slice:
    """Rows of part `part` of `parts`: neighbouring parts touch, and the first ones have a row more where it must be.

    Raises:
        InvalidInputError: More parts than rows, or a part that does not exist.
    """
    if not 1 <= parts <= batch_size:
        raise InvalidInputError(
            f"a batch of {batch_size} cannot be shared by {parts}; choose a larger batch_size."
        )
    if not 0 <= part < parts:
        raise InvalidInputError(f"part must lie between 0 and {parts - 1}, got {part}.")
    least, more = divmod(batch_size, parts)
    first = part * least + min(part, more)
    return slice(first, first + least + (part < more))


class StepLoader:
    """The steps of a source in order, from any step on: for every step the parts that this process accumulates.

    Whatever the number of workers, the batches are the same bit for bit. Each iteration goes on where the last one
    stopped: what was loaded ahead and not yet given out is loaded again.
    """

    def __init__(
        self,
        source: BatchSource,
        *,
        rank: int = 0,
        world_size: int = 1,
        accumulation: int = 1,
        rows: Sequence[slice] | None = None,
        num_workers: int = 0,
        prefetch: int = 2,
        stop: int | None = None,
        step: int = 0,
    ) -> None:
        """
        Args:
            source: Where batches come from; copied to the workers.
            rank, world_size: Which of how many processes this is.
            accumulation: Parts of a process's rows that are computed one after the other.
            rows: Parts of a batch to give out instead of those that follow from the numbers above.
            num_workers: Processes that load ahead; 0 loads in this one.
            prefetch: Steps that each worker is ahead.
            stop: The step before which to stop; None goes on for ever.
            step: Where to begin.

        Raises:
            InvalidInputError: A number out of range, or a batch too small to be shared.
        """
        if num_workers < 0 or prefetch < 1 or accumulation < 1 or not 0 <= rank < world_size:
            raise InvalidInputError(
                f"num_workers {num_workers}, prefetch {prefetch}, accumulation {accumulation}, rank {rank} of "
                f"{world_size}: out of range."
            )
        parts = world_size * accumulation
        self._rows = (
            list(rows)
            if rows is not None
            else [
                split_rows(source.batch_size, parts, rank * accumulation + part)
                for part in range(accumulation)
            ]
        )
        self._source, self._num_workers, self._prefetch = source, num_workers, prefetch
        self._step, self._stop = step, stop

    def __iter__(self) -> Iterator[list[TrainingBatch]]:
        """For every step, the batches of this process's parts, in order."""
        loader = DataLoader(
            _Steps(self._source, self._rows),
            batch_size=None,
            sampler=_Ahead(self._step, self._stop),
            num_workers=self._num_workers,
            prefetch_factor=self._prefetch if self._num_workers else None,
            collate_fn=_as_it_is,
            worker_init_fn=_leave_stopping_to_the_reader,
        )
        batches: Any = iter(loader)
        if self._num_workers:
            atexit.register(_end_workers, weakref.ref(batches))
        for parts, problems in batches:
            if isinstance(self._source, Reporting):
                self._source.absorb(problems)
            self._step += 1
            yield parts

    def state_dict(self) -> dict[str, Any]:
        """The next step, and what the data was."""
        return {"step": self._step, "data": self._fingerprint()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at a saved step; takes effect at the next iteration.

        Raises:
            InvalidInputError: The data or its settings are others than those of the state; the message says which.
        """
        if not isinstance(state.get("step"), int) or not isinstance(state.get("data"), dict):
            raise InvalidInputError(
                f"a state of the loader has a step and data, got {', '.join(state) or 'nothing'}."
            )
        refuse_changes(state["data"], self._fingerprint())
        self._step = state["step"]

    def _fingerprint(self) -> dict[str, str | int | float | None]:
        if isinstance(self._source, Described):
            return self._source.fingerprint()
        return {"source": type(self._source).__name__, "batch_size": self._source.batch_size}


_Item = tuple[list[TrainingBatch], Counter[Problem]]


class _Steps(Dataset[_Item]):
    """A source by step, with what it met on the way."""

    def __init__(self, source: BatchSource, rows: list[slice]) -> None:
        self._source, self._rows = source, rows

    def __getitem__(self, step: int) -> _Item:
        reporting = self._source if isinstance(self._source, Reporting) else None
        if reporting is not None and get_worker_info() is not None:
            reporting.drain()  # what the main process had met before this copy of it was made
        parts = [self._source.batch(step, rows) for rows in self._rows]
        return parts, reporting.drain() if reporting is not None else Counter()


def _leave_stopping_to_the_reader(worker: int) -> None:
    # Launchers and terminals stop whole groups of processes. A reader whose workers die cannot save any more; it ends
    # them itself.
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _end_workers(batches: weakref.ref[Any]) -> None:
    # At exit torch would send them SIGTERM, which they ignore, and wait for them without end.
    still_open = batches()
    if still_open is not None:
        still_open._shutdown_workers()


def _as_it_is(item: Any) -> Any:
    return item  # torch's own conversion would add a counter's counts to themselves


class _Ahead(Sampler[int]):
    def __init__(self, first: int, stop: int | None) -> None:
        self._first, self._stop = first, stop

    def __iter__(self) -> Iterator[int]:
        step = self._first
        while self._stop is None or step < self._stop:
            yield step
            step += 1
