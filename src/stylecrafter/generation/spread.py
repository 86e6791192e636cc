"""How a batch is spread: over processes of this machine, or over a Ray cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylecrafter.errors import InvalidInputError
from stylecrafter.generation.settings import GenerationSettings

if TYPE_CHECKING:
    from stylecrafter.generation.engine import Engine
    from stylecrafter.generation.workers import Executor

#: As many workers as there are devices.
AUTO = "auto"
#: The Ray cluster of this machine alone, started for the call.
LOCAL = "local"
#: Threads of a worker on processors, where nobody says how many workers or threads there are.
USUAL_THREADS = 4


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Workers that make the files of a batch, each with a model of its own.

    Attributes:
        workers: How many, or `AUTO`: one for each GPU; on processors one for four of them, over Ray as many as it has
            room for.
        threads: Of each, on processors; None: they share those of this machine, and have four on a cluster.
        ray: Address of a Ray cluster, `LOCAL` for one of this machine's own; None: processes of this machine.

    Raises:
        InvalidInputError: A number below 1.
    """

    workers: int | str = AUTO
    threads: int | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.workers != AUTO and (not isinstance(self.workers, int) or self.workers < 1):
            raise InvalidInputError(f"workers must be {AUTO!r} or at least 1, got {self.workers!r}")
        if self.threads is not None and self.threads < 1:
            raise InvalidInputError(f"threads per worker must be at least 1, got {self.threads}")

    @classmethod
    def asked(cls, workers: str | None, threads: int | None, ray: str | None) -> Spread | None:
        """What a command was told; None where it is to make the files itself.

        Raises:
            InvalidInputError: `workers` is neither `AUTO` nor a number, or threads without workers.
        """
        if workers is None and ray is None:
            if threads is not None:
                raise InvalidInputError("--worker-threads goes with --workers or --ray")
            return None
        text = AUTO if workers is None else workers.strip().lower()
        if text != AUTO and not text.isdecimal():
            raise InvalidInputError(f"--workers is {AUTO} or a whole number, got {workers!r}")
        return cls(workers=text if text == AUTO else int(text), threads=threads, ray=ray)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the work is done on machines that may have other devices than this one."""
        return self.ray not in (None, LOCAL)

    def executor(
        self, settings: GenerationSettings, engine: Engine, *, embed: bool, lossless: bool
    ) -> Executor:
        """Who does the work.

        Args:
            settings: Name the model, the device and the dtype.
            engine: The model and the device of this machine.
            embed: Keep the settings inside each file.
            lossless: Keep every pixel of the outputs as it is.

        Raises:
            InvalidInputError: See `RayCluster`.
            MissingDependencyError: Likewise.
        """
        from stylecrafter.generation.processes import Processes, cuda_devices
        from stylecrafter.generation.ray_cluster import RayCluster
        from stylecrafter.generation.workers import WorkerSpec

        asked = None if self.workers == AUTO else int(self.workers)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        gpu = not self.is_elsewhere and engine.device.type == "cuda"
        threads = self.threads
        if self.is_elsewhere:
            threads = threads or USUAL_THREADS
        elif threads is None and not gpu:
            threads = min(USUAL_THREADS, cores) if asked is None else max(1, cores // asked)
        spec = WorkerSpec(
            settings=settings,
            model=engine.identity,
            embed=embed,
            lossless=lossless,
            threads=threads,
            here=os.getcwd(),
        )
        if self.ray is not None:
            return RayCluster(spec, asked, self.ray)
        # A device that was named is that of all of them.
        devices = cuda_devices() if gpu and settings.device in ("auto", "cuda") else ()
        usual = len(devices) if devices else max(1, cores // (threads or cores))
        return Processes(spec, asked or usual, devices)
