from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STOPPED_WHILE_FINALISING = """
import signal, sys, time
import typer
from stylecrafter.cli.console import CommandGroup, prepare_process

app = typer.Typer(cls=CommandGroup)
app.callback()(lambda: None)

class Held:
    def __del__(self):
        signal.raise_signal(int(sys.argv[2]))  # Python drops what a finaliser raises

@app.command()
def run(number: int) -> None:
    Held()
    for _ in range(100):
        time.sleep(0.1)

prepare_process()
app()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently there")
@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_a_stop_that_arrives_in_a_finaliser_is_not_lost(number: int, code: int) -> None:
    command = [sys.executable, "-c", STOPPED_WHILE_FINALISING, "run", str(number)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr


STOPPED_WHILE_DEFINING = """
import signal
import typer
from stylecrafter.cli.console import CommandGroup, prepare_process

app = typer.Typer(cls=CommandGroup)
app.callback()(lambda: None)

@app.command()
def run() -> None:
    exec("import signal; signal.raise_signal(signal.SIGINT)")  # as a module that defines a dataclass does

prepare_process()
app()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently there")
def test_a_stop_while_a_module_is_read_ends_as_every_other(tmp_path: Path) -> None:
    (tmp_path / "stopped.py").write_text(STOPPED_WHILE_DEFINING)
    command = [sys.executable, "-m", "stopped", "run"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 130, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently there")
def test_a_stop_before_anyone_listens_ends_as_every_other(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    command = [sys.executable, "-m", "stylecrafter.cli", "models"]
    paths = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    result = subprocess.run(
        command, env={**os.environ, **paths}, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 130, result.stderr
    assert "Traceback" not in result.stderr


def test_other_dropped_exceptions_are_still_shown() -> None:
    script = """
from stylecrafter.cli.console import prepare_process
prepare_process()
class Broken:
    def __del__(self):
        raise ValueError("seen")
Broken()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "ValueError: seen" in result.stderr
