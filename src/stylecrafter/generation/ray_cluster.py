"""Workers as actors of a Ray cluster, over as many machines as it has."""

from __future__ import annotations

from typing import Any

from stylecrafter.errors import InvalidInputError, MissingDependencyError
from stylecrafter.generation.workers import FileMaker, Pool, Reply, Task, WorkerSpec

#: The cluster of this machine alone, started for the call.
LOCAL = "local"


class RayCluster(Pool[Any]):
    """Actors that hold a model each.

    Style pictures travel with their tasks, and files back; models (but for embedded ones and those of the hub) and
    videos have to lie at the same path on every machine.

    Args:
        spec: What every worker is told; its threads are the processors that Ray sets aside for each.
        count: How many there are at most; None: as many as the cluster has devices, or processors for.
        address: Of the cluster ("auto": the one that this machine is part of; a host and port), or `LOCAL`.
        gpu: Whether each is given a GPU of its own.

    Raises:
        InvalidInputError: There is no such cluster, or it has no room for one worker.
        MissingDependencyError: Ray is not installed.
    """

    def __init__(
        self, spec: WorkerSpec, count: int | None, address: str = LOCAL, *, gpu: bool = False
    ) -> None:
        self._ray = _ray()
        self._own = not self._ray.is_initialized()
        if self._own:
            local = address == LOCAL
            try:
                self._ray.init(
                    address=LOCAL if local else address,
                    **({"include_dashboard": False} if local else {}),
                    log_to_driver=False,
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise InvalidInputError(
                    f"there is no Ray cluster at {address!r}: {error} Start one with `ray start --head`, or leave the "
                    "address out for this machine alone."
                ) from error
        threads = spec.threads or 1
        self._needs = {"num_cpus": threads, **({"num_gpus": 1} if gpu else {})}
        there = self._ray.cluster_resources()
        room = int(there.get("GPU", 0)) if gpu else int(there.get("CPU", 0) // threads)
        if room < 1:
            self.close()
            what = "a GPU" if gpu else f"{threads} processors"
            raise InvalidInputError(f"the Ray cluster has no {what} for a worker; it has {there}.")
        super().__init__(spec, min(count or room, room))
        self._actor = self._ray.remote(**self._needs, max_restarts=0)(FileMaker)

    def _start(self) -> Any:
        return self._actor.remote(self.spec)

    def _give(self, worker: Any, task: Task) -> Any:
        return worker.make.remote(task)

    def _answers(self) -> list[tuple[Any, Reply | str]]:
        ready, _ = self._ray.wait(list(self._busy), num_returns=1)
        found: list[tuple[Any, Reply | str]] = []
        for key in ready:
            try:
                found.append((key, self._ray.get(key)))
            except self._ray.exceptions.ActorDiedError as error:
                found.append((key, f"died ({str(error).strip().splitlines()[0]})"))
            except self._ray.exceptions.ActorUnavailableError:
                found.append((key, "cannot be reached any more"))
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
