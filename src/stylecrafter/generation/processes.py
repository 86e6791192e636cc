"""Workers as processes of this machine, each on a device of its own where there are several."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
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
        with _visible(self.devices[place % len(self.devices)] if self.devices else None), _deaf():
            process.start()
        theirs.close()  # so that its end is noticed here
        return WorkerProcess(process, ours, place)

    def _give(self, worker: WorkerProcess, task: Task) -> Connection:
        try:
            # Whole: `send` would leave tensors in memory that the workers would have to share.
            worker.pipe.send_bytes(pickle.dumps(task))
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
            name = signal.Signals(-code).name
            return f"was killed by {name}" + (" (often for want of memory)" if name == "SIGKILL" else "")
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
    """Hands answers, and what is logged by any thread, to the process that waits for them."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self.pipe, self._one_at_a_time = pipe, threading.RLock()

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        try:
            self.send(record)
        except OSError:
            pass  # nobody is there any more to be told

    def send(self, said: logging.LogRecord | Reply) -> None:
        with self._one_at_a_time:
            self.pipe.send(said)


def _serve(pipe: Connection, spec: WorkerSpec, level: int) -> None:
    """What a worker process does: tasks, until the pipe is closed."""
    # Ctrl-C reaches all processes of a terminal; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = _ToParent(pipe)
    logging.basicConfig(level=level, handlers=[parent], force=True)
    from tqdm import tqdm

    # Its own is a semaphore of the system's, which a process that is ended leaves behind.
    tqdm.set_lock(threading.RLock())
    maker = FileMaker(spec)
    while True:
        try:
            parent.send(maker.make(pickle.loads(pipe.recv_bytes())))
        except (EOFError, OSError):
            return


@contextmanager
def _deaf() -> Iterator[None]:
    """A process that is started now never hears Ctrl-C, this one hears it later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would end this at its own start
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
