from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stylecrafter.runtime.environment import IDLE_THREADS, NO_TELEMETRY, decline_telemetry, let_threads_sleep

ROOT = Path(__file__).parents[2]
OURS = {*IDLE_THREADS, *NO_TELEMETRY}


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in OURS:
        monkeypatch.setenv(name, "")  # so that it is as before in the end, set by us or not
        monkeypatch.delenv(name)
    return monkeypatch


def test_what_is_unset_is_set(nothing_set: pytest.MonkeyPatch) -> None:
    decline_telemetry()
    assert {name: os.environ[name] for name in NO_TELEMETRY} == NO_TELEMETRY
    assert not set(IDLE_THREADS) & set(os.environ)
    let_threads_sleep()
    assert {name: os.environ[name] for name in IDLE_THREADS} == IDLE_THREADS


@pytest.mark.parametrize("value", ["0", ""])
@pytest.mark.parametrize("name", NO_TELEMETRY)
def test_what_a_user_says_of_telemetry_stays(nothing_set: pytest.MonkeyPatch, name: str, value: str) -> None:
    nothing_set.setenv(name, value)
    decline_telemetry()
    assert {key: os.environ[key] for key in NO_TELEMETRY} == {**NO_TELEMETRY, name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OMP_WAIT_POLICY", "ACTIVE"),
        ("GOMP_SPINCOUNT", "1000"),
        ("KMP_BLOCKTIME", "200"),
        ("KMP_BLOCKTIME", ""),
    ],
)
def test_a_user_who_chose_how_threads_wait_is_left_alone(
    nothing_set: pytest.MonkeyPatch, name: str, value: str
) -> None:
    nothing_set.setenv(name, value)
    let_threads_sleep()
    assert {key: os.environ[key] for key in IDLE_THREADS if key in os.environ} == {name: value}


def python(code: str, *options: str) -> str:
    """What code prints in a Python of its own, in which none of the variables is set."""
    environment = {key: value for key, value in os.environ.items() if key not in OURS}
    environment["PYTHONPATH"] = str(ROOT / "src")
    result = subprocess.run(
        [sys.executable, *options, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_importing_any_part_declines_telemetry_and_leaves_threads_alone() -> None:
    code = (
        "import os, stylecrafter.media.files\n"
        f"print(all(os.environ[k] == v for k, v in {NO_TELEMETRY!r}.items()),"
        f" [k for k in {list(IDLE_THREADS)!r} if k in os.environ])"
    )
    assert python(code) == "True []"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at what the process has loaded in Linux' way")
def test_commands_set_both_before_torch_or_openmp_is_there() -> None:
    code = (
        "import os, sys\n"
        "from stylecrafter.cli.__main__ import main\n"
        "assert 'torch' not in sys.modules\n"
        "loaded = open('/proc/self/maps').read()\n"
        "assert 'libgomp' not in loaded and 'libomp' not in loaded and 'libiomp' not in loaded\n"
        "sys.argv[1:] = ['--version']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules\n"
        f"print(all(os.environ[k] == v for k, v in {NO_TELEMETRY | IDLE_THREADS!r}.items()))"
    )
    assert python(code).splitlines()[-1] == "True"
