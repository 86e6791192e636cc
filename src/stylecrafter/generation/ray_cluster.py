"""Workers as actors of a Ray cluster, over as many machines as it has."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stylecrafter.errors import InvalidInputError, MissingDependencyError
from stylecrafter.generation.engine import is_own, read_files
from stylecrafter.generation.models import PART_OPTIONS
from stylecrafter.generation.settings import GenerationSettings
from stylecrafter.generation.spread import LOCAL
from stylecrafter.generation.workers import FileMaker, Pool, Reply, Task, WorkerSpec
from stylecrafter.media.documents import expand_home
from stylecrafter.media.images import Picture

logger = logging.getLogger(__name__)


class RayCluster(Pool[Any]):
    """Actors that hold a model each.

    Style pictures travel with their tasks, and files back; models (but for embedded ones and those of the hub) and
    videos have to lie at the same path on every machine.

    Args:
        spec: What every worker is told; its threads are the processors that Ray sets aside for each.
        count: How many there are at most; None: as many as the cluster has GPUs, or processors for.
        address: Of the cluster ("auto": the one that this machine is part of; a host and port), or `LOCAL`.

    Raises:
        InvalidInputError: There is no such cluster, or it has no room for one worker, or a GPU is asked for by number.
        MissingDependencyError: Ray is not installed.
    """

    def __init__(self, spec: WorkerSpec, count: int | None, address: str = LOCAL) -> None:
        device = spec.settings.device
        if device.startswith("cuda:"):
            raise InvalidInputError(f"Ray chooses which GPU a worker has: --device cuda, not {device}.")
        self._ray = _ray()
        self._own = not self._ray.is_initialized()
        threads = spec.threads or 1
        if self._own:
            self._join(address, None if count is None else count * threads)
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpu = device == "cuda" or (device == "auto" and any(there.get("GPU", 0) >= 1 for there in machines))
        room = sum(_room(there, threads, gpu) for there in machines)
        if room < 1:
            self.close()
            what = f"a GPU and {threads} processors" if gpu else f"{threads} processors"
            raise InvalidInputError(
                f"no machine of the Ray cluster has {what} for a worker; they have {_listed(machines)}."
            )
        if count is not None and count > room:
            logger.warning("the Ray cluster has room for %d workers, not %d", room, count)
        super().__init__(replace(spec, settings=_from_anywhere(spec.settings, gpu)), min(count or room, room))
        self._actor = self._ray.remote(num_cpus=threads, num_gpus=int(gpu), max_restarts=0)(FileMaker)

    def _join(self, address: str, processors: int | None) -> None:
        """Join a cluster, or start one with at least so many processors to share out."""
        own: dict[str, Any] = {}
        if address == LOCAL:
            there = os.cpu_count() or 1
            own = {"include_dashboard": False, "num_cpus": max(there, processors or there)}
        try:
            with _same_handlers():
                self._ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **own)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InvalidInputError(
                f"there is no Ray cluster at {address!r}: {error} Start one with `ray start --head`, or say "
                f"--ray {LOCAL} for one of this machine alone."
            ) from error

    def _start(self) -> Any:
        return self._actor.remote(self.spec)

    def _give(self, worker: Any, task: Task) -> Any:
        return worker.make.remote(_anywhere(task))

    def _answers(self) -> list[tuple[Any, Reply | str]]:
        ready, _ = self._ray.wait(list(self._busy), num_returns=1)
        found: list[tuple[Any, Reply | str]] = []
        for key in ready:
            try:
                found.append((key, _as_asked(self._ray.get(key), self._busy[key][1])))
            except self._ray.exceptions.RayTaskError:
                raise  # of the worker's own code, which tells what it can
            except self._ray.exceptions.RayError as error:
                lines = str(error).strip().splitlines() or [""]
                found.append((key, f"was lost ({type(error).__name__}: {lines[0]})"))
        return found

    def _end(self, worker: Any) -> None:
        self._ray.kill(worker)

    def close(self) -> None:
        """End all workers, and the cluster where this one started it."""
        if hasattr(self, "_busy"):
            super().close()
        if self._own:
            self._ray.shutdown()


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingDependencyError(
            "work over a cluster needs Ray, which is not installed: pip install 'stylecrafter[ray]'"
        ) from error
    return ray


@contextmanager
def _same_handlers() -> Iterator[None]:
    """Signals mean afterwards what they meant before: Ray would exit in its own way at SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _room(there: dict[str, float], threads: int, gpu: bool) -> int:
    """How many workers a machine with these resources takes."""
    room = int(there.get("CPU", 0) // threads)
    return min(room, int(there.get("GPU", 0))) if gpu else room


def _listed(machines: list[dict[str, float]]) -> str:
    return " and ".join(
        f"{there.get('CPU', 0):g} processors, {there.get('GPU', 0):g} GPUs" for there in machines
    )


def _from_anywhere(settings: GenerationSettings, gpu: bool) -> GenerationSettings:
    """Settings that mean the same in any working folder."""
    names: dict[str, str] = {"model": settings.model}
    names |= {part: name for part in PART_OPTIONS if (name := getattr(settings, part)) is not None}
    places = {key: os.path.abspath(expand_home(name)) for key, name in names.items() if is_own(name)}
    return settings.changed(**places, **({"device": "cuda"} if gpu else {}))


def _anywhere(task: Task) -> Task:
    """The task with whole paths: records say how files are seen from the output's folder, wherever they are made."""
    job = task.job
    styles = tuple(s.model_copy(update={"path": _whole(s.path)}) for s in job.settings.styles)
    steering = replace(
        job.steering,
        masks=tuple(map(_whole_picture, job.steering.masks)),
        negatives=tuple(map(_whole_picture, job.steering.negatives)),
    )
    video = job.video
    if video is not None:
        asked = video.asked.model_copy(update={"path": _whole(video.asked.path)})
        video = replace(video, asked=asked, clip=replace(video.clip, path=_whole(video.clip.path)))
    settings = job.settings.model_copy(update={"styles": styles})
    job = replace(job, settings=settings, steering=steering, video=video)
    # A record follows links to its output, which are not there on other machines.
    output = Path(os.path.realpath(task.output.parent)) / task.output.name
    return replace(task, job=job, output=output)


def _as_asked(reply: Reply, task: Task) -> Reply:
    """The reply with paths as they were given, not as the worker was told them."""
    if not reply.error:
        return reply
    error = reply.error
    for told, given in zip(read_files(_anywhere(task).job), read_files(task.job), strict=True):
        error = error.replace(os.fspath(told), os.fspath(given))
    return replace(reply, error=error)


def _whole(path: Path) -> Path:
    return Path(os.path.realpath(path.parent)) / path.name


def _whole_picture(picture: Picture) -> Picture:
    return picture if picture.path is None else replace(picture, path=_whole(picture.path))
