"""Workers in the process of a test."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from stylecrafter.generation.engine import Engine
from stylecrafter.generation.spread import Spread
from stylecrafter.generation.workers import FileMaker, Pool, Reply, Task, WorkerSpec


class Inline(Pool[FileMaker]):
    """Workers in this very process that do what `deaths` says of an entry, once for each number it has there."""

    def __init__(self, spec: WorkerSpec, count: int, deaths: dict[int, int]) -> None:
        super().__init__(spec, count)
        self.deaths, self.started, self.ended, self.most = deaths, 0, 0, 0
        self.given: dict[int, tuple[FileMaker, bytes]] = {}

    def _start(self) -> FileMaker:
        self.started += 1
        return FileMaker(self.spec)

    def _give(self, worker: FileMaker, task: Task) -> int:
        assert len(self._idle) + len(self._busy) == self.started - self.ended
        self.given[task.entry.index] = worker, pickle.dumps(task)
        return task.entry.index

    def _answers(self) -> list[tuple[Any, Reply | str]]:
        self.most = max(self.most, len(self._busy))
        key = max(self._busy)  # not in the order in which they were handed out
        if self.deaths.get(key, 0) > 0:
            self.deaths[key] -= 1
            return [(key, "was killed")]
        worker, told = self.given[key]
        return [(key, pickle.loads(pickle.dumps(worker.make(pickle.loads(told)))))]

    def _end(self, worker: FileMaker) -> None:
        self.ended += 1


def spread_over(
    monkeypatch: pytest.MonkeyPatch, count: int, deaths: dict[int, int], **told: Any
) -> Callable[[], Inline]:
    """Have batches made by such workers, which are `told` other things than they should be; returns the last pool."""
    made: list[Inline] = []

    def executor(self: Spread, settings: Any, engine: Engine, **how: bool) -> Inline:
        kept = {"settings": settings, "model": engine.identity, "threads": None, "here": os.getcwd()}
        made.append(Inline(WorkerSpec(**{**kept, **how, **told}), count, deaths))
        return made[-1]

    monkeypatch.setattr(Spread, "executor", executor)
    return lambda: made[-1]
