"""A progress bar for training, on terminals only: elsewhere the log says how far it is.

Of several processes that train together, one says it for all of them.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from stylecrafter.runtime.ranks import is_main_process

OnStep = Callable[[str, int, int, float], None]


@contextlib.contextmanager
def training_progress() -> Iterator[OnStep | None]:
    """Show stage, step, loss, speed and time left; lines of the log where stderr is no terminal."""
    if not is_main_process():
        yield None
        return
    if not sys.stderr.isatty():
        log = logging.getLogger("stylecrafter")
        before = log.level
        log.setLevel(logging.INFO)
        try:
            yield None
        finally:
            log.setLevel(before)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[speed]:.2f} steps/s"),
        TimeRemainingColumn(),
    )
    console = Console(file=cast("TextIO", _Forgiving(sys.stderr)))
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}
        means: dict[str, float] = {}

        def on_step(stage: str, step: int, steps: int, loss: float) -> None:
            # A running mean: single losses jump with their timesteps.
            means[stage] = loss if stage not in means else 0.98 * means[stage] + 0.02 * loss
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=steps, completed=step - 1, loss=loss, speed=0.0)
            task = progress.tasks[progress.task_ids.index(tasks[stage])]
            progress.update(tasks[stage], completed=step, loss=means[stage], speed=task.speed or 0.0)

        yield on_step


class _Forgiving:
    """A terminal that may be closed while a run goes on, or saves what it has: nobody misses the bar then."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
