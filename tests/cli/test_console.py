from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stylecrafter.cli.console import show, show_json
from stylecrafter.cli.streams import visible
from tests.cli.support import command, environment, invoke

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


@pytest.mark.process
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


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently there")
def test_a_stop_while_a_module_is_read_ends_as_every_other(tmp_path: Path) -> None:
    (tmp_path / "stopped.py").write_text(STOPPED_WHILE_DEFINING)
    command = [sys.executable, "-m", "stopped", "run"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 130, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.process
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b1mC1 \x7f", "\\x9b1mC1 \\x7f"),
        ("gpj.\u202eexe\u2066\u2069\u200f", "gpj.\\u202eexe\\u2066\\u2069\\u200f"),
        ("line\u2028separators\u2029", "line\\u2028separators\\u2029"),
        ("caf\udce9", "caf\\udce9"),
        ("a fox 狐狸 é 👩‍🎨 → “…”", "a fox 狐狸 é 👩‍🎨 → “…”"),
    ],
)
def test_what_a_terminal_would_obey_is_made_visible(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visible(text) == shown
    show(text)
    assert capsys.readouterr().out == f"{shown}\n"


def test_errors_are_short_lines_without_escapes() -> None:
    odd = "\x1b[2J" + "x" * 60_000
    result = invoke("generate", "a fox", "--style", "a.png", "-o", "a.mp4", "--scheduler", odd)
    assert result.exit_code == 2 and "\x1b" not in result.stderr
    assert result.stderr.count("\n") == 1 and len(result.stderr) < 5000


def test_json_is_exact_and_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"prompt": "\x1b狐\u202e", "name": "caf\udce9", "numbers": [1.5, math.nan, -math.inf, 10**30]}
    show_json(content)
    text = capsys.readouterr().out
    assert text.isascii() and text.count("\n") == 1
    assert json.loads(text) == {**content, "numbers": [1.5, None, None, 10**30]}


SPEAKING = """
import sys
import typer
from stylecrafter.cli.console import CommandGroup, prepare_process, show, show_json

app = typer.Typer(cls=CommandGroup)
app.callback()(lambda: None)

@app.command()
def words() -> None:
    show("狐 caf\\udce9 end")
    show("x" * 200_000)

@app.command()
def data() -> None:
    show_json({"name": "狐 caf\\udce9"})

prepare_process()
app()
"""


def speak(which: str, redirection: str = "", **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command that speaks, under a shell's redirection."""
    return subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {which} {redirection}', sys.executable, SPEAKING],
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="needs a Unix shell")
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "shift_jis"])
def test_any_encoding_of_stdout(encoding: str) -> None:
    data = speak("data", PYTHONIOENCODING=encoding)
    assert (data.returncode, data.stderr) == (0, b"")
    assert json.loads(data.stdout.decode("ascii")) == {"name": "狐 caf\udce9"}
    words = speak("words", PYTHONIOENCODING=encoding)
    assert (words.returncode, words.stderr) == (0, b"")
    fox = "狐" if encoding in ("utf-8", "shift_jis") else "\\u72d0"
    assert words.stdout.decode(encoding).splitlines()[0] == f"{fox} caf\\udce9 end"


@pytest.mark.process
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device here")
@pytest.mark.parametrize(
    ("what", "redirection", "says"),
    [
        ("words", "> /dev/full", b"No space left"),
        ("data", "> /dev/full", b"No space left"),
        ("--help", "> /dev/full", b"No space left"),
        ("words", "| true", b"Broken pipe"),
        ("words", ">&-", b"standard output is closed"),
    ],
)
def test_a_stdout_that_takes_no_more(what: str, redirection: str, says: bytes) -> None:
    result = speak(what, redirection)
    assert says in result.stderr and result.stderr.startswith(b"error: ") and result.stderr.count(b"\n") == 1
    if "|" not in redirection:  # a shell tells the code of the last in a pipe
        assert result.returncode == 2


@pytest.mark.process
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device here")
@pytest.mark.parametrize(
    ("what", "redirection"),
    [
        ("nothing", "2>&-"),
        ("nothing", "2>/dev/full"),
        ("words", "<&- >&- 2>&-"),
        ("words", "<&- 2>&- >/dev/full"),
    ],
)
def test_without_stderr_the_code_still_tells(what: str, redirection: str) -> None:
    assert speak(what, redirection).returncode == 2


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="a working folder cannot be removed there")
def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    script = 'cd "$0" && rmdir "$0" && exec "$@"'
    result = subprocess.run(
        ["sh", "-c", script, str(folder), *command("inspect", "a.mp4")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2, result.stderr
    assert (
        result.stderr.startswith("error: the working folder cannot be used")
        and result.stderr.count("\n") == 1
    )
