"""Running the command line, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from stylecrafter.cli.main import app


def invoke(*arguments: object) -> Result:
    """Run a command in this process; stdout and stderr are kept apart."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="stylecrafter")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "stylecrafter.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2] / "src")
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(),
        timeout=300,
        check=False,
    )


def assert_one_line_error(result: Result | subprocess.CompletedProcess[str], *says: str) -> None:
    """Bad input: exit code 2, one line on stderr, nothing on stdout, no traceback."""
    code = result.exit_code if isinstance(result, Result) else result.returncode
    assert code == 2, (result.stdout, result.stderr)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    for words in says:
        assert words in result.stderr
