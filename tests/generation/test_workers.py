"""A batch spread over workers: the files of one process, whatever becomes of the workers."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylecrafter.errors import InvalidInputError, MissingDependencyError, OutputError
from stylecrafter.generation.batch import Progress, run_batch
from stylecrafter.generation.processes import Processes
from stylecrafter.generation.results import RESULTS_NAME
from stylecrafter.generation.settings import GenerationSettings
from stylecrafter.generation.spread import Spread
from stylecrafter.generation.workers import FileMaker, Pool, Reply, Task, WorkerSpec

SETTINGS = GenerationSettings(prompt="-", seed=5, steps=1, frames=2, device="cpu")
STYLE = Path(__file__).parents[2] / "examples" / "style.jpg"


def batch_file(folder: Path, count: int, **last: Any) -> Path:
    entries: list[dict[str, Any]] = [
        {"prompt": f"a dog number {i}", "style_path": str(STYLE)} for i in range(count)
    ]
    entries[-1] |= last
    file = folder / "batch.json"
    file.write_text(json.dumps(entries))
    return file


class Inline(Pool[FileMaker]):
    """Workers in this very process that do what `deaths` says of an entry, once for each number it has there."""

    def __init__(self, spec: WorkerSpec, count: int, deaths: dict[int, int]) -> None:
        super().__init__(spec, count)
        self.deaths, self.started, self.ended, self.most = deaths, 0, 0, 0
        self.given: dict[int, tuple[FileMaker, Task]] = {}

    def _start(self) -> FileMaker:
        self.started += 1
        return FileMaker(self.spec)

    def _give(self, worker: FileMaker, task: Task) -> int:
        self.given[task.entry.index] = worker, task
        return task.entry.index

    def _answers(self) -> list[tuple[Any, Reply | str]]:
        self.most = max(self.most, len(self._busy))
        key = max(self._busy)  # not in the order in which they were handed out
        if self.deaths.get(key, 0) > 0:
            self.deaths[key] -= 1
            return [(key, "was killed")]
        worker, task = self.given[key]
        return [(key, worker.make(task))]

    def _end(self, worker: FileMaker) -> None:
        self.ended += 1


def spread_over(monkeypatch: pytest.MonkeyPatch, count: int, deaths: dict[int, int]) -> Callable[[], Inline]:
    made: list[Inline] = []

    def executor(self: Spread, settings: Any, device: Any, *, embed: bool, lossless: bool) -> Inline:
        spec = WorkerSpec(settings=settings, embed=embed, lossless=lossless, threads=None, here=os.getcwd())
        made.append(Inline(spec, count, deaths))
        return made[-1]

    monkeypatch.setattr(Spread, "executor", executor)
    return lambda: made[-1]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".mp4"}


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / RESULTS_NAME).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in found]


def nobody_is_left(group: int) -> bool:
    """Whether the last process of a group ends soon; Python's own keeper of shared memory may be a moment late."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.2)
    return False


def test_files_lines_and_report_are_those_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = batch_file(tmp_path, 4, steps=2)
    alone = run_batch(file, tmp_path / "alone", SETTINGS)
    pool = spread_over(monkeypatch, 2, {})
    spread = run_batch(file, tmp_path / "spread", SETTINGS, spread=Spread(workers=2))
    assert contents(tmp_path / "alone") == contents(tmp_path / "spread") and len(alone.done) == 4
    assert lines(tmp_path / "alone") == lines(tmp_path / "spread")
    assert (alone.done, alone.failed) == (spread.done, spread.failed)
    assert (tmp_path / "alone" / "batch.json").read_bytes() == (
        tmp_path / "spread" / "batch.json"
    ).read_bytes()
    assert pool().started == pool().most == pool().ended == 2


def test_a_worker_that_dies_costs_its_entry_a_retry_and_one_that_kills_two_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = spread_over(monkeypatch, 1, {1: 1, 2: 2})
    told: list[Progress] = []
    report = run_batch(
        batch_file(tmp_path, 4), tmp_path / "out", SETTINGS, spread=Spread(workers=1), on_progress=told.append
    )
    assert [p.status for p in told] == ["done", "done", "failed", "done"]
    assert list(report.failed.values()) == ["its worker was killed, 2 times in a row."]
    assert len(contents(tmp_path / "out")) == 3 and "tried again" in caplog.text
    assert pool().started == pool().ended == 4
    # Gone on with by one process, what had failed is made and the rest is left as it is.
    before = contents(tmp_path / "out")
    again = run_batch(tmp_path / "batch.json", tmp_path / "out", SETTINGS, resume=True)
    assert len(again.done) == 1 and len(again.skipped) == 3
    assert {name: data for name, data in contents(tmp_path / "out").items() if name in before} == before


def test_workers_that_only_die_end_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spread_over(monkeypatch, 1, dict.fromkeys(range(9), 9))
    with pytest.raises(InvalidInputError, match="ask for fewer workers"):
        run_batch(batch_file(tmp_path, 6), tmp_path / "out", SETTINGS, spread=Spread(workers=1))


def test_what_a_worker_cannot_read_fails_its_entry_and_a_full_disk_ends_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread_over(monkeypatch, 2, {})
    report = run_batch(
        batch_file(tmp_path, 2, style_path="missing.png"),
        tmp_path / "out",
        SETTINGS,
        spread=Spread(workers=2),
    )
    assert len(report.done) == 1 and "missing.png" in next(iter(report.failed.values()))

    def full(*_: Any) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr("stylecrafter.generation.workers.write_atomic", full)
    with pytest.raises(OutputError, match="the disk is full"):
        run_batch(batch_file(tmp_path, 2), tmp_path / "full", SETTINGS, spread=Spread(workers=2))


def test_what_is_asked_of_workers_is_checked() -> None:
    assert Spread.asked(None, None, None) is None
    assert Spread.asked("AUTO", None, None) == Spread()
    assert Spread.asked("3", 2, "local") == Spread(workers=3, threads=2, ray="local")
    for workers, threads in (("many", None), ("0", None), ("-1", None), ("2", 0), (None, 2)):
        with pytest.raises(InvalidInputError):
            Spread.asked(workers, threads, None)


def test_each_worker_has_a_gpu_of_its_own_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("stylecrafter.generation.processes.cuda_devices", lambda: ("0", "1"))
    for name, count, devices in (("auto", 2, ("0", "1")), ("cuda", 2, ("0", "1")), ("cuda:1", 1, ())):
        made = Spread().executor(
            SETTINGS.changed(device=name), torch.device("cuda", 0), embed=True, lossless=False
        )
        assert isinstance(made, Processes) and (made.count, made.devices) == (count, devices)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'stylecrafter\[ray\]'"):
        run_batch(batch_file(tmp_path, 1), tmp_path / "out", SETTINGS, spread=Spread(ray="local"))


@pytest.mark.process
def test_processes_make_the_same_files_though_one_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    file = batch_file(tmp_path, 6)
    run_batch(file, tmp_path / "alone", SETTINGS)
    pools: list[Processes] = []
    start = Processes._start

    def noted(self: Processes) -> Any:
        if self not in pools:
            pools.append(self)
        return start(self)

    monkeypatch.setattr(Processes, "_start", noted)

    def kill_one(progress: Progress) -> None:
        if progress.status == "done" and len(list((tmp_path / "spread").glob("*.mp4"))) == 1:
            worker = next(worker for worker, _ in pools[0]._busy.values())
            os.kill(worker.process.pid, signal.SIGKILL)

    spread = Spread(workers=2, threads=torch.get_num_threads())
    report = run_batch(file, tmp_path / "spread", SETTINGS, spread=spread, on_progress=kill_one)
    assert len(report.done) == 6 and not report.failed
    assert "SIGKILL" in caplog.text
    assert contents(tmp_path / "alone") == contents(tmp_path / "spread")
    assert lines(tmp_path / "alone") == lines(tmp_path / "spread")


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_stopped_batch_leaves_no_worker_and_can_be_gone_on_with(tmp_path: Path) -> None:
    import subprocess

    file = batch_file(tmp_path, 12)
    command = [sys.executable, "-m", "stylecrafter.cli", "batch", str(file), "-o", str(tmp_path / "out")]
    command += ["--seed", "5", "--steps", "1", "--frames", "2", "--workers", "2", "--device", "cpu"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    watch = threading.Timer(240, process.kill)
    watch.start()
    try:
        while not list(tmp_path.glob("out/*.mp4")) and process.poll() is None:
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) != 0
        assert nobody_is_left(process.pid)
    finally:
        watch.cancel()
        process.kill()
    made = contents(tmp_path / "out")
    assert made
    report = run_batch(file, tmp_path / "out", SETTINGS, resume=True)
    assert set(report.skipped) == {Path(name).stem for name in made} and len(report.done) == 12 - len(made)


@pytest.mark.process
def test_ray_makes_the_same_files(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'stylecrafter[ray]')")
    import torch

    logging.getLogger("ray").setLevel(logging.ERROR)
    file = batch_file(tmp_path, 3)
    run_batch(file, tmp_path / "alone", SETTINGS)
    spread = Spread(workers=1, threads=torch.get_num_threads(), ray="local")
    run_batch(file, tmp_path / "spread", SETTINGS, spread=spread)
    assert contents(tmp_path / "alone") == contents(tmp_path / "spread")
    assert lines(tmp_path / "alone") == lines(tmp_path / "spread")
