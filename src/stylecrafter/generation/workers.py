"""Who makes the files of a batch: this process, or workers that each hold a model of their own.

Whoever makes them, the batch's own process writes them, so that the folder looks the same, and a worker that dies
leaves nothing half done. Work is handed out entry by entry, to whoever is free.
"""

from __future__ import annotations

import logging
import os
import platform
import tempfile
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

from stylecrafter import errors
from stylecrafter.errors import CheckpointError, InvalidInputError, OutputError, StyleCrafterError
from stylecrafter.generation.batch_file import Entry
from stylecrafter.generation.engine import Engine, make_file, remember_places, versions
from stylecrafter.generation.record import GenerationRecord
from stylecrafter.generation.settings import GenerationSettings, Job, look_up
from stylecrafter.media.documents import is_file, shown
from stylecrafter.media.files import write_atomic

logger = logging.getLogger(__name__)

#: How often an entry is tried whose worker dies.
TRIES = 2


@dataclass(frozen=True, kw_only=True)
class Task:
    """One file to make."""

    entry: Entry
    job: Job
    output: Path
    started: float
    """`time.monotonic()` of when its preparation began."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task: the record of its file and how long it took, or an error."""

    task: Task
    record: GenerationRecord | None = None
    seconds: float = 0.0
    error: str = ""


class Executor(Protocol):
    """Makes files, of which it asks for the next when it can begin it."""

    def work(self, tasks: Iterator[Task]) -> Generator[Outcome, None, None]:
        """Make all of them; outcomes come in the order in which files are finished, each file in place by then.

        Whoever closes this before its end ends all work.

        Raises:
            OutputError: The disk does not take a file.
            CheckpointError: The model cannot be loaded.
        """
        ...


class InProcess:
    """Makes them here, one after the other.

    Args:
        engine: The model.
        embed: Keep the settings inside each file.
        lossless: See `make_file`.
    """

    def __init__(self, engine: Engine, *, embed: bool, lossless: bool) -> None:
        self.engine, self.embed, self.lossless = engine, embed, lossless

    def work(self, tasks: Iterator[Task]) -> Generator[Outcome, None, None]:
        for task in tasks:
            try:
                made = make_file(self.engine, task.job, task.output, embed=self.embed, lossless=self.lossless)
            except (OutputError, CheckpointError):
                raise  # the next entry would fare no better
            except InvalidInputError as error:
                yield Outcome(task=task, error=str(error))
            else:
                yield Outcome(task=task, record=made.record, seconds=made.seconds)


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What a worker is told before its first task.

    Attributes:
        settings: Name the model, the device and the dtype.
        model: Hashes of all that the model is, see `Engine.identity`.
        embed: Keep the settings inside each file.
        lossless: See `make_file`.
        threads: Of torch, on processors; None: as many as torch takes.
        here: The working folder, from which relative paths are told.
    """

    settings: GenerationSettings
    model: Mapping[str, str]
    embed: bool
    lossless: bool
    threads: int | None
    here: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a worker says of a task: the bytes of the file and their record, or what went wrong."""

    data: bytes = b""
    record: GenerationRecord | None = None
    seconds: float = 0.0
    error: str = ""
    """Of this entry."""
    fatal: tuple[str, str] | None = None
    """Kind and text of an error that the next entry would meet as well."""


class FileMaker:
    """A worker: a model, loaded when the first task comes, and how files are made with it.

    Args:
        spec: What it is told.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        import torch

        self.spec = spec
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)
        if os.path.isdir(spec.here):
            os.chdir(spec.here)
        self._engine: Engine | None = None

    def make(self, task: Task) -> Reply:
        """Make a file; what goes wrong is told, not raised."""
        try:
            return self._made(task)
        except StyleCrafterError as error:
            own = isinstance(error, InvalidInputError) and not isinstance(
                error, (OutputError, CheckpointError)
            )
            if own and self._engine is not None:
                return Reply(error=str(error))
            return Reply(fatal=(type(error).__name__, str(error)))
        except Exception:
            return Reply(fatal=("", traceback.format_exc()))

    def _begin(self) -> Engine:
        """The engine of this worker.

        Raises:
            StyleCrafterError: No task can be done here.
        """
        s = self.spec.settings
        # A step that is told to nobody: bars of several workers would write over each other.
        engine = Engine(look_up(s), s.device, s.dtype, _tell_nobody, s.memory)
        here = engine.identity
        other = [part for part, sha256 in self.spec.model.items() if here.get(part) != sha256]
        if other:
            raise CheckpointError(
                f"the model {s.model} of {platform.node() or 'a worker'} is not the one that the batch was started "
                f"with: of its parts, {', '.join(other)} differ. Bring the same files to every machine."
            )
        return engine

    def _made(self, task: Task) -> Reply:
        started = time.monotonic()
        if self._engine is None:
            self._engine = self._begin()
        video = None if task.job.video is None else task.job.video.asked.path
        if video is not None and not is_file(video):
            raise InvalidInputError(f"{shown(video)} is not there for this worker: videos are read in place.")
        job = replace(task.job, model=self._engine.model)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / f"made{task.output.suffix}"
            made = make_file(
                self._engine,
                job,
                task.output,
                embed=self.spec.embed,
                lossless=self.spec.lossless,
                place=place,
            )
            data = place.read_bytes()
        return Reply(data=data, record=made.record, seconds=time.monotonic() - started)


def _tell_nobody(step: int, steps: int) -> None:
    pass


Worker = TypeVar("Worker")


class Pool(ABC, Generic[Worker]):
    """Workers that die one by one and not together: the entry of one that dies is tried again by another.

    Args:
        spec: What every worker is told.
        count: How many there are at most.

    Raises:
        InvalidInputError: Not one.
    """

    def __init__(self, spec: WorkerSpec, count: int) -> None:
        if count < 1:
            raise InvalidInputError(f"workers must be at least 1, not {count}.")
        self.spec, self.count = spec, count
        self._idle: list[Worker] = []
        self._busy: dict[Any, tuple[Worker, Task]] = {}
        self._made = self._deaths = 0
        self._versions = versions()

    @abstractmethod
    def _start(self) -> Worker:
        """A new worker."""

    @abstractmethod
    def _give(self, worker: Worker, task: Task) -> Any:
        """Hand it a task; returns what its answer is known by."""

    @abstractmethod
    def _answers(self) -> list[tuple[Any, Reply | str]]:
        """Wait for at least one answer: what it is known by, and the reply, or how the worker ended."""

    @abstractmethod
    def _end(self, worker: Worker) -> None:
        """End a worker, whatever it does."""

    def work(self, tasks: Iterator[Task]) -> Generator[Outcome, None, None]:
        again: deque[Task] = deque()
        deaths: dict[int, int] = {}
        try:
            while True:
                self._hand_out(tasks, again)
                if not self._busy:
                    return
                for key, reply in self._answers():
                    worker, task = self._busy.pop(key)
                    if isinstance(reply, str):
                        self._end(worker)
                        index = task.entry.index
                        deaths[index] = deaths.get(index, 0) + 1
                        self._count_death(reply)
                        if deaths[index] < TRIES:
                            logger.warning("entry %d: its worker %s; it is tried again", index, reply)
                            again.append(task)
                            continue
                        yield Outcome(task=task, error=f"its worker {reply}, {TRIES} times in a row.")
                        continue
                    self._idle.append(worker)
                    yield self._outcome(task, reply)
        finally:
            self.close()

    def close(self) -> None:
        """End all workers."""
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            self._end(worker)
        self._idle, self._busy = [], {}

    def _hand_out(self, tasks: Iterator[Task], again: deque[Task]) -> None:
        ready: list[Task] = []
        while len(self._busy) + len(ready) < self.count:
            task = again.popleft() if again else next(tasks, None)
            if task is None:
                break
            ready.append(task)
        # All are started before the first is told: pictures fill a pipe until its worker has begun to read.
        while len(self._idle) < len(ready):
            self._idle.append(self._start())
        for task in ready:
            # Workers look their models up themselves; these may hold whole pipelines.
            told = replace(task, job=replace(task.job, model=cast(Any, None)))
            key = self._give(self._idle[-1], told)
            self._busy[key] = self._idle.pop(), task

    def _count_death(self, how: str) -> None:
        self._deaths += 1
        if not self._made and self._deaths >= TRIES * self.count + 1:
            raise InvalidInputError(
                f"{self._deaths} workers ended before any had made a file (the last one {how}): this machine may "
                "have too little memory for so many models; ask for fewer workers."
            )

    def _outcome(self, task: Task, reply: Reply) -> Outcome:
        if reply.fatal is not None:
            kind, text = reply.fatal
            raise getattr(errors, kind, RuntimeError)(text)
        if reply.record is None:
            return Outcome(task=task, error=reply.error)
        self._made += 1
        self._compare_versions(reply.record)
        write_atomic(task.output, reply.data)
        if self.spec.embed:
            remember_places(task.job, reply.record)
        return Outcome(task=task, record=reply.record, seconds=reply.seconds)

    def _compare_versions(self, record: GenerationRecord) -> None:
        """Say it, once for each, where a worker computes with other versions than those that are here."""
        others = {
            name: version for name, version in record.versions.items() if self._versions.get(name) != version
        }
        if others:
            logger.warning(
                "a worker has %s: its clips may differ from those of this machine",
                ", ".join(
                    f"{name} {version}, not {self._versions.get(name)}" for name, version in others.items()
                ),
            )
            self._versions = {**self._versions, **others}
