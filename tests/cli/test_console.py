from __future__ import annotations

import subprocess
import sys

import pytest

STOPPED_WHILE_FINALISING = """
import signal, sys, time
import typer
from stylecrafter.cli.console import CommandGroup, prepare_process

app = typer.Typer(cls=CommandGroup)

class Held:
    def __del__(self):
        signal.raise_signal(int(sys.argv[1]))  # Python drops what a finaliser raises

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
    command = [sys.executable, "-c", STOPPED_WHILE_FINALISING, str(number)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == code, result.stderr
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
