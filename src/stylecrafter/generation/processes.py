"""Workers as processes of this machine, each on a device of its own where there are several."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from stylecrafter.generation.workers import FileMaker, Pool, Reply, Task, WorkerSpec

_VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Seconds that a worker is given to end after it was asked to.
_PATIENCE = 5.0


@dataclass(eq=False)
class WorkerProcess:
    """A process, the pipe to it, and the number of its device."""

    process: Any
    pipe: Connection
    place: int


class Processes(Pool[WorkerProcess]):
    """Workers started afresh (spawn), as every system can.

    Args:
        spec: What every worker is told.
        count: How many there are at most.
        devices: What CUDA is to see in each worker, in turn; empty: what this process sees.
    """

    def __init__(self, spec: WorkerSpec, count: int, devices: tuple[str, ...] = ()) -> None:
        super().__init__(spec, count)
        self.devices = devices
        self._context = multiprocessing.get_context("spawn")

    def _start(self) -> WorkerProcess:
        taken = {worker.place for worker in [*self._idle, *(w for w, _ in self._busy.values())]}
        place = min(set(range(self.count)) - taken)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, self.spec, logging.getLogger().level), daemon=True
        )
        with _visible(self.devices[place % len(self.devices)] if self.devices else None):
            process.start()
        theirs.close()  # so that its end is noticed here
        return WorkerProcess(process, ours, place)

    def _give(self, worker: WorkerProcess, task: Task) -> Connection:
        try:
            worker.pipe.send(task)
        except OSError:
            pass  # it has ended, as the next wait will find
        return worker.pipe

    def _answers(self) -> list[tuple[Any, Reply | str]]:
        found: list[tuple[Any, Reply | str]] = []
        while not found:
            for pipe in wait([worker.pipe for worker, _ in self._busy.values()]):
                worker, _ = self._busy[pipe]
                try:
                    said = worker.pipe.recv()
                except (EOFError, OSError):
                    found.append((pipe, self._how_it_ended(worker)))
                    continue
                if isinstance(said, logging.LogRecord):
                    logging.getLogger(said.name).handle(said)
                else:
                    found.append((pipe, said))
        return found

    def _how_it_ended(self, worker: WorkerProcess) -> str:
        worker.process.join(_PATIENCE)
        code = worker.process.exitcode
        if code is not None and code < 0:
            return f"was killed by signal {-code} ({signal.Signals(-code).name}; often for want of memory)"
        return f"ended with exit code {code}"

    def _end(self, worker: WorkerProcess) -> None:
        worker.pipe.close()
        worker.process.terminate()
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()


class _ToParent(logging.Handler):
    """Hands what is logged to the process that can show it."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self.pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        try:
            self.pipe.send(record)
        except OSError:
            pass  # nobody is there any more to be told


def _serve(pipe: Connection, spec: WorkerSpec, level: int) -> None:
    """What a worker process does: tasks, until the pipe is closed."""
    # Ctrl-C reaches all processes of a terminal; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=level, handlers=[_ToParent(pipe)], force=True)
    maker = FileMaker(spec)
    while True:
        try:
            pipe.send(maker.make(pipe.recv()))
        except (EOFError, OSError):
            return


@contextmanager
def _visible(devices: str | None) -> Iterator[None]:
    """What a process that is started now sees of CUDA."""
    before = os.environ.get(_VISIBLE)
    if devices is not None:
        os.environ[_VISIBLE] = devices
    try:
        yield
    finally:
        if devices is not None:
            if before is None:
                del os.environ[_VISIBLE]
            else:
                os.environ[_VISIBLE] = before


def cuda_devices() -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES may be for each device that this process sees."""
    import torch

    named = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return tuple(named or map(str, range(torch.cuda.device_count())))
