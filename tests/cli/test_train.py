"""`stylecrafter train` in a process of its own: its lines, its exit codes, and what a kill leaves."""

from __future__ import annotations

import io
import logging
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from stylecrafter.cli.progress import training_progress
from stylecrafter.runtime.locks import only_one
from stylecrafter.training.checkpoint import list_checkpoints
from tests.cli.support import assert_one_line_error, invoke

COMMAND = [sys.executable, "-m", "stylecrafter.cli", "train"]
QUICK = [
    argument
    for change in (
        "train.sample_every=0",
        "train.checkpoint_minutes=0",
        "train.log_every=1",
        "train.ema_decay=0.5",
        "train.warmup_steps=4",
    )
    for argument in ("--set", f"stages.extractor.{change}")
]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        Image.new("RGB", (80, 80), (60 * i, 90, 250 - 60 * i)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text("a dog in a meadow")
    return folder


def command(pictures: Path, output: Path, steps: int, *more: str) -> list[str]:
    changes = (
        f"data.mine.path={pictures}",
        "data.mine.batch_size=2",
        f"stages.extractor.train.steps={steps}",
    )
    settings = [argument for change in changes for argument in ("--set", change)]
    return [*COMMAND, "finetune", "-o", str(output), *settings, *QUICK, *more]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300)


@pytest.mark.process
def test_killed_and_gone_on_with(pictures: Path, tmp_path: Path) -> None:
    whole = run(*command(pictures, tmp_path / "whole", 4))
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.split() == [str(tmp_path / "whole" / "model")]
    assert "step 4 of 4" in whole.stderr

    folder = tmp_path / "killed"
    process = subprocess.Popen(command(pictures, folder, 4000), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list_checkpoints(folder / "extractor") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = int(list_checkpoints(folder / "extractor")[-1].stem.split("-")[1])
    again = run(*command(pictures, folder, max(4, done + 1), "--resume"))
    assert again.returncode == 0, again.stderr
    assert f"going on at step {done}" in again.stderr
    if done < 4:
        first, second = (
            (tmp_path / name / "extractor" / "weights.safetensors").read_bytes()
            for name in ("whole", "killed")
        )
        assert first == second


@pytest.mark.process
def test_terminated_it_saves_and_says_how_to_go_on(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = [a for a in command(pictures, folder, 4000) if "checkpoint_minutes" not in a]
    arguments = [
        a for i, a in enumerate(arguments) if a != "--set" or not arguments[i + 1 : i + 2] == ["--set"]
    ]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while not (folder / "extractor" / "losses.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 143, errors
    assert list_checkpoints(folder / "extractor")
    # What it says how to go on with needs nothing of the first command.
    said = next(line for line in errors.splitlines() if line.startswith("stopped; go on with: "))
    words = shlex.split(said.removeprefix("stopped; go on with: "))
    assert words == ["stylecrafter", "train", "-o", str(folder), "--resume"]
    steps = "stages.extractor.train.steps=" + list_checkpoints(folder / "extractor")[-1].stem.split("-")[1]
    again = run(*COMMAND, *words[2:], "--set", steps)
    assert again.returncode == 0, again.stderr
    assert "going on at step" in again.stderr and again.stdout.split() == [str(folder / "model")]


def test_of_several_processes_one_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finished:
        def __init__(self, *arguments: object) -> None:
            pass

        def run(self, **options: object) -> bool:
            return True

        def exported_to(self, until: str | None) -> Path:
            return tmp_path / "model"

    monkeypatch.setattr("sys.stderr", _Terminal())
    monkeypatch.setattr("stylecrafter.training.recipe_run.RecipeRun", Finished)
    for rank, bar, said in (("0", True, f"{tmp_path / 'model'}\n"), ("1", False, "")):
        monkeypatch.setenv("RANK", rank)
        with training_progress() as on_step:
            assert (on_step is not None) is bar
        assert invoke("train", "smoke", "-o", tmp_path / "run").stdout == said


@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this torch has no gloo to talk between processes",
)
@pytest.mark.parametrize("finished", [True, False])
def test_processes_part_when_the_run_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    class InAGroup:
        stopped_by = None

        def __init__(self, *arguments: object) -> None:
            pass

        def run(self, **options: object) -> bool:
            store = torch.distributed.HashStore()
            torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
            return finished

        def exported_to(self, until: str | None) -> Path:
            return tmp_path / "model"

    monkeypatch.setattr("stylecrafter.training.recipe_run.RecipeRun", InAGroup)
    try:
        assert invoke("train", "smoke", "-o", tmp_path / "run").exit_code == (
            0 if finished else 128 + signal.SIGTERM
        )
        assert not torch.distributed.is_initialized()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def test_the_log_is_as_quiet_as_before_once_training_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    log = logging.getLogger("stylecrafter")
    before = log.level
    with pytest.raises(KeyboardInterrupt), training_progress():
        assert log.level == logging.INFO
        raise KeyboardInterrupt
    assert log.level == before != logging.INFO


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_loss_that_is_no_number_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    changes = (
        "stages.autoencoder.train.learning_rate=1.0e+38",
        "stages.autoencoder.train.warmup_steps=0",
        "stages.autoencoder.train.log_every=1",
        "data.pictures.batch_size=2",
    )
    settings = [argument for change in changes for argument in ("--set", change)]
    result = invoke("train", "smoke", "-o", tmp_path / "run", "--until", "autoencoder", *settings)
    assert result.exit_code == 1, result.stderr
    *_, last = result.stderr.splitlines()
    assert last.startswith("error: autoencoder: the loss is nan") and "--set stages.autoencoder.train" in last


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals there")
def test_it_saves_when_its_terminal_is_closed(pictures: Path, tmp_path: Path) -> None:
    """A dropped connection: every process of the group gets SIGHUP, and nothing can be shown any more."""
    import pty

    folder = tmp_path / "run"
    changes = [a for a in command(pictures, folder, 4000) if "checkpoint_minutes" not in a]
    arguments = [a for i, a in enumerate(changes) if a != "--set" or changes[i + 1 : i + 2] != ["--set"]]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(arguments[0], [*arguments, "--set", "data.mine.workers=2"])
    deadline = time.monotonic() + 200
    while not (folder / "extractor" / "losses.csv").is_file() and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.02)[0]:
            os.read(terminal, 65536)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGHUP
    done = int(list_checkpoints(folder / "extractor")[-1].stem.split("-")[1])
    steps = f"stages.extractor.train.steps={done + 1}"
    again = run(*COMMAND, "-o", str(folder), "--resume", "--set", steps)
    assert again.returncode == 0, again.stderr
    assert f"going on at step {done}" in again.stderr


@pytest.mark.parametrize("content", ["", "[1, 2", "- a", None])
def test_a_damaged_record_says_how_to_go_on(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    if content is None:
        (folder / "recipe.yaml").mkdir()
    else:
        (folder / "recipe.yaml").write_text(content)
    says = "no run was begun" if content is None else f"train RECIPE -o '{folder}' --resume"
    assert_one_line_error(invoke("train", "-o", folder, "--resume"), "recipe.yaml", says)


def test_a_second_process_is_told_that_one_is_at_work(tmp_path: Path) -> None:
    with only_one(tmp_path / "run", "run"):
        assert_one_line_error(invoke("train", "smoke", "-o", tmp_path / "run"), "another run is at work in")


def test_the_gpu_of_a_process_is_the_current_one_before_models_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, torch.device]] = []

    class Noted:
        def __init__(self, recipe: object, folder: Path, device: torch.device) -> None:
            done.append(("built", device))

        def run(self, **options: object) -> bool:
            return True

        def exported_to(self, until: str | None) -> Path:
            return tmp_path

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: done.append(("current", device)))
    monkeypatch.setattr("stylecrafter.training.recipe_run.RecipeRun", Noted)
    result = invoke("train", "smoke", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    assert done == [("current", torch.device("cuda:1")), ("built", torch.device("cuda:1"))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mimi", "-o", "run"], "'mini'"),
        (["finetune", "-o", "run", "--set", "data.mine.path=nowhere"], "nowhere"),
        (["finetune", "-o", "run", "--set", "data.mine.pth=x"], "'path'"),
        (["smoke", "-o", "run", "--strategy", "two"], "two_stage"),
        (["smoke", "-o", "run", "--device", "cudaa"], "cudaa"),
        (["-o", "run"], "finetune"),
        (["finetune", "-o", "run"], "add --set data.mine.path=FOLDER"),
        (["finetune", "-o", "run", "--until", "nowhere"], "unknown stage to stop after 'nowhere'"),
        (["-o", "run", "--resume"], "no run was begun in run"),
        (["-o", "run", "--resume", "--strategy", "joint"], "name a recipe"),
        (["smoke", "-o", "run", "--until", "bass"], "'base'"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line_error(invoke("train", *arguments), message)
    assert not list(tmp_path.iterdir())
