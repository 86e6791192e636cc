"""A batch spread over workers: the files of one process, whatever becomes of the workers."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from stylecrafter import StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, InvalidInputError, MissingDependencyError, OutputError
from stylecrafter.generation import ray_cluster, workers
from stylecrafter.generation.batch import Progress, run_batch
from stylecrafter.generation.batch_file import Entry
from stylecrafter.generation.engine import versions
from stylecrafter.generation.processes import Processes
from stylecrafter.generation.results import RESULTS_NAME
from stylecrafter.generation.settings import GenerationSettings, StyleInput, prepare
from stylecrafter.generation.spread import Spread
from stylecrafter.generation.workers import FileMaker, Reply, Task, WorkerSpec
from stylecrafter.media.video import write_frames
from tests.inline_workers import spread_over
from tests.tiny import tiny_picture

STYLE = Path(__file__).parents[2] / "examples" / "style.jpg"


@pytest.fixture
def settings(tiny_model: Path) -> GenerationSettings:
    return GenerationSettings(prompt="-", model=str(tiny_model), seed=5, steps=1, frames=2, device="cpu")


def batch_file(folder: Path, count: int, **last: Any) -> Path:
    entries: list[dict[str, Any]] = [
        {"prompt": f"a dog number {i}", "style_path": str(STYLE)} for i in range(count)
    ]
    entries[-1] |= last
    file = folder / "batch.json"
    file.write_text(json.dumps(entries))
    return file


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


def assert_same(alone: Path, spread: Path) -> None:
    assert contents(alone) == contents(spread)
    assert lines(alone) == lines(spread)
    assert (alone / "batch.json").read_bytes() == (spread / "batch.json").read_bytes()


def test_files_lines_and_report_are_those_of_one_process(
    settings: GenerationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of everything that an entry may name, as a worker is told it."""
    saved = StyleCrafterPipeline.from_pretrained(settings.model).save_style(tmp_path / "s.safetensors", STYLE)
    write_frames([tiny_picture(k, 24, 16) for k in range(3)], tmp_path / "in.mp4", fps=8)
    tiny_picture(3, 24, 16).save(tmp_path / "mask.png")
    entries = [
        {"prompt": "a dog", "style_path": str(STYLE), "steps": 2},
        {"prompt": "a dog", "style_path": str(saved)},
        {"prompt": "a dog", "style_path": str(STYLE), "video_path": "in.mp4", "denoise": 0.5, "steps": 2},
        {
            "prompt": "a dog",
            "style_path": str(STYLE),
            "negative_style_path": "mask.png",
            "style_mask_path": "mask.png",
        },
    ]
    file = tmp_path / "batch.json"
    file.write_text(json.dumps(entries))
    alone = run_batch(file, tmp_path / "alone", settings)
    pool = spread_over(monkeypatch, 2, {})
    spread = run_batch(file, tmp_path / "spread", settings, spread=Spread(workers=2))
    assert_same(tmp_path / "alone", tmp_path / "spread")
    assert len(alone.done) == 4 and (alone.done, alone.failed) == (spread.done, spread.failed)
    assert spread.done == sorted(spread.done)  # named by their numbers, finished in another order
    assert pool().started == pool().most == pool().ended == 2


def test_a_worker_that_dies_costs_its_entry_a_retry_and_one_that_kills_two_fails_alone(
    settings: GenerationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = spread_over(monkeypatch, 1, {1: 1, 2: 2})
    told: list[Progress] = []
    report = run_batch(
        batch_file(tmp_path, 4), tmp_path / "out", settings, spread=Spread(workers=1), on_progress=told.append
    )
    assert [p.status for p in told] == ["done", "done", "failed", "done"]
    assert list(report.failed.values()) == ["its worker was killed, 2 times in a row."]
    assert len(contents(tmp_path / "out")) == 3 and "tried again" in caplog.text
    assert pool().started == pool().ended == 4
    # Gone on with by one process, what had failed is made and the rest is left as it is.
    before = contents(tmp_path / "out")
    again = run_batch(tmp_path / "batch.json", tmp_path / "out", settings, resume=True)
    assert len(again.done) == 1 and len(again.skipped) == 3
    assert {name: data for name, data in contents(tmp_path / "out").items() if name in before} == before


def test_workers_that_only_die_end_the_batch(
    settings: GenerationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread_over(monkeypatch, 1, dict.fromkeys(range(9), 9))
    with pytest.raises(InvalidInputError, match="ask for fewer workers"):
        run_batch(batch_file(tmp_path, 6), tmp_path / "out", settings, spread=Spread(workers=1))


def test_what_a_worker_cannot_read_fails_its_entry_and_a_full_disk_ends_everything(
    settings: GenerationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread_over(monkeypatch, 2, {})
    report = run_batch(
        batch_file(tmp_path, 2, style_path="missing.png"),
        tmp_path / "out",
        settings,
        spread=Spread(workers=2),
    )
    assert len(report.done) == 1 and "missing.png" in next(iter(report.failed.values()))

    def full(*_: Any) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr("stylecrafter.generation.workers.write_atomic", full)
    with pytest.raises(OutputError, match="the disk is full"):
        run_batch(batch_file(tmp_path, 2), tmp_path / "full", settings, spread=Spread(workers=2))


def test_what_is_asked_of_workers_is_checked() -> None:
    assert Spread.asked(None, None, None) is None
    assert Spread.asked("AUTO", None, None) == Spread()
    assert Spread.asked("3", 2, "local") == Spread(workers=3, threads=2, ray="local")
    for count, threads in (("many", None), ("0", None), ("-1", None), ("2", 0), (None, 2)):
        with pytest.raises(InvalidInputError):
            Spread.asked(count, threads, None)


def test_a_worker_that_can_make_nothing_ends_the_batch(
    settings: GenerationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = batch_file(tmp_path, 2)
    spread_over(monkeypatch, 1, {}, model={"weights": "of another"})
    with pytest.raises(CheckpointError, match="is not the one .* weights differ"):
        run_batch(file, tmp_path / "other", settings, spread=Spread())
    monkeypatch.undo()
    spread_over(monkeypatch, 1, {}, settings=settings.changed(device="mps" if os.name == "posix" else "cuda"))
    monkeypatch.setattr("stylecrafter.runtime.devices.available_devices", lambda: ["cpu"])
    with pytest.raises(InvalidInputError, match="is not available here"):
        run_batch(file, tmp_path / "device", settings, spread=Spread())


def test_other_versions_of_a_worker_are_said_once(
    settings: GenerationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spread_over(monkeypatch, 1, {})
    monkeypatch.setattr(workers, "versions", lambda: {**versions(), "torch": "0.1"})
    run_batch(batch_file(tmp_path, 2), tmp_path / "out", settings, spread=Spread())
    assert caplog.text.count("a worker has torch") == 1 and "not 0.1" in caplog.text


def test_each_worker_has_a_gpu_of_its_own_unless_one_is_named(
    settings: GenerationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    engine: Any = SimpleNamespace(device=torch.device("cuda:0"), identity={})

    def made(device: str, spread: Spread) -> Any:
        return spread.executor(settings.changed(device=device), engine, embed=True, lossless=False)

    for device in ("auto", "cuda"):
        assert (made(device, Spread()).count, made(device, Spread()).devices) == (2, ("3", "5"))
        assert made(device, Spread()).spec.threads is None
        assert made(device, Spread(workers=4)).count == 4
    assert (made("cuda:0", Spread()).count, made("cuda:0", Spread()).devices) == (1, ())


def test_workers_on_processors_share_them(
    settings: GenerationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)), raising=False)
    engine: Any = SimpleNamespace(device=torch.device("cpu"), identity={})

    def made(**asked: Any) -> tuple[int, int | None]:
        pool: Any = Spread(**asked).executor(settings, engine, embed=True, lossless=False)
        return pool.count, pool.spec.threads

    assert made() == (3, 4) and made(workers=5) == (5, 2) and made(workers=20) == (20, 1)
    assert made(threads=2) == (6, 2) and made(workers=2, threads=1) == (2, 1)


def test_a_machine_of_a_cluster_takes_so_many() -> None:
    assert ray_cluster._room({"CPU": 7.0}, 3, False) == 2 and ray_cluster._room({"CPU": 2.0}, 3, False) == 0
    assert ray_cluster._room({"CPU": 7.0, "GPU": 1.0}, 1, True) == 1
    assert ray_cluster._room({"CPU": 7.0}, 1, True) == 0


def test_a_task_means_the_same_on_a_machine_without_its_folder(
    settings: GenerationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").symlink_to(settings.model)
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    tiny_picture().save(tmp_path / "out" / "style.png")
    monkeypatch.chdir(tmp_path)
    asked = settings.changed(model="model", prompt="a dog", styles=(StyleInput(path=Path("out/style.png")),))
    task = Task(
        entry=Entry(0, "a", "a dog", ()), job=prepare(asked, ".mp4"), output=Path("out/a.mp4"), started=0.0
    )
    spec = WorkerSpec(settings=asked, model={}, embed=True, lossless=False, threads=None, here=os.getcwd())
    here = FileMaker(spec).make(task)
    sent = ray_cluster._anywhere(task)
    spec = replace(spec, settings=ray_cluster._from_anywhere(asked, gpu=False), here="/not/there")
    monkeypatch.chdir(tmp_path / "elsewhere")
    there = FileMaker(spec).make(sent)
    assert here.record is not None and here.record.styles[0].path == "style.png" and here.data
    assert (there.data, there.record) == (here.data, here.record)
    monkeypatch.chdir(tmp_path)
    told = Reply(error=f"{tmp_path / 'out' / 'style.png'} is odd")
    assert ray_cluster._as_asked(told, task).error == "out/style.png is odd"


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_extra_is_named(settings: GenerationSettings, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'stylecrafter\[ray\]'"):
        run_batch(batch_file(tmp_path, 1), tmp_path / "out", settings, spread=Spread(ray="local"))


@pytest.mark.process
def test_processes_make_the_same_files_though_one_is_killed(
    settings: GenerationSettings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = batch_file(tmp_path, 6)
    run_batch(file, tmp_path / "alone", settings)
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
    report = run_batch(file, tmp_path / "spread", settings, spread=spread, on_progress=kill_one)
    assert len(report.done) == 6 and not report.failed
    assert "SIGKILL" in caplog.text
    assert_same(tmp_path / "alone", tmp_path / "spread")


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_stopped_batch_leaves_no_worker_and_can_be_gone_on_with(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """Ctrl-C reaches all processes of a terminal, SIGTERM the one that was started."""
    file = batch_file(tmp_path, 6)
    command = [sys.executable, "-m", "stylecrafter.cli", "batch", str(file), "-o", str(tmp_path / "out")]
    command += ["--seed", "5", "--steps", "1", "--frames", "2", "--workers", "2", "--device", "cpu"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    watch = threading.Timer(240, process.kill)
    watch.start()
    try:
        while not list(tmp_path.glob("out/*.mp4")) and process.poll() is None:
            time.sleep(0.05)
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == code
        assert nobody_is_left(process.pid)
        assert "Traceback" not in said and "leaked" not in said
    finally:
        watch.cancel()
        process.kill()
    made = contents(tmp_path / "out")
    assert made
    settings = GenerationSettings(prompt="-", seed=5, steps=1, frames=2, device="cpu")
    report = run_batch(file, tmp_path / "out", settings, resume=True)
    assert set(report.skipped) == {Path(name).stem for name in made} and len(report.done) == 6 - len(made)


@pytest.mark.process
def test_ray_makes_the_same_files_though_a_worker_is_killed(
    settings: GenerationSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'stylecrafter[ray]')")
    before = signal.getsignal(signal.SIGTERM)
    file = batch_file(tmp_path, 6)
    run_batch(file, tmp_path / "alone", settings)
    killed: list[int] = []

    def kill_one(progress: Progress) -> None:
        if not killed:
            assert signal.getsignal(signal.SIGTERM) == before
            ours = psutil.Process().children(recursive=True)
            actors = [p for p in ours if "FileMaker" in " ".join(p.cmdline())]
            killed.append(actors[0].pid)
            actors[0].kill()

    spread = Spread(workers=2, threads=torch.get_num_threads(), ray="local")
    report = run_batch(file, tmp_path / "spread", settings, spread=spread, on_progress=kill_one)
    assert len(report.done) == 6 and killed and "it is tried again" in caplog.text
    assert_same(tmp_path / "alone", tmp_path / "spread")
