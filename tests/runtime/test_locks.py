"""One process at a time, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stylecrafter.errors import OutputError
from stylecrafter.runtime.locks import Lock, only_one

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked there")


def test_a_lock_is_taken_once_and_given_back(tmp_path: Path) -> None:
    first = Lock(tmp_path)
    second = Lock(tmp_path)
    assert first.taken and second.taken is False
    first.close()
    second.close()
    third = Lock(tmp_path)
    assert third.taken
    third.close()


@pytest.mark.process
def test_the_lock_of_a_killed_process_is_free_though_its_workers_live(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path\n"
        "from stylecrafter.runtime.locks import Lock\n"
        "lock = Lock(Path(sys.argv[1]))\n"
        "worker = os.fork()\n"
        "if worker == 0: print(flush=True); time.sleep(60)\n"
        "print(worker, flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    # Both lines: a worker that has not run yet still has the copies that it is about to close.
    worker = int("".join(process.stdout.readline() for _ in range(2)))
    try:
        held = Lock(tmp_path)
        assert held.taken is False
        held.close()
        process.send_signal(signal.SIGKILL)
        process.wait()
        free = Lock(tmp_path)
        assert free.taken
        free.close()
    finally:
        os.kill(worker, signal.SIGKILL)
        process.stdout.close()


def test_a_folder_is_made_and_goes_where_nothing_came_into_it(tmp_path: Path) -> None:
    with only_one(tmp_path / "new" / "er", "run") as lock:
        assert lock.is_in_place()
        with pytest.raises(OutputError, match="another run is at work in .*er"):
            with only_one(tmp_path / "new" / "er", "run"):
                pass
        assert lock.is_in_place()
    assert not (tmp_path / "new" / "er").exists()
    (tmp_path / "old").mkdir()
    for folder in ("old", "new"):
        with only_one(tmp_path / folder, "run"):
            (tmp_path / folder / "a").write_text("")
        assert (tmp_path / folder / "a").exists()


def test_a_folder_that_was_removed_or_replaced_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with only_one(folder, "run") as lock:
        folder.rmdir()
        assert not lock.is_in_place()
        folder.mkdir()
        assert not lock.is_in_place()


@pytest.mark.parametrize("name", ["file", "file/inside", "x" * 300, "a\0b", "loose"])
def test_places_that_are_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="cannot use the folder"), only_one(tmp_path / name, "run"):
        pass
    assert (tmp_path / "file").read_text() == "precious"


def test_where_there_are_no_locks_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with only_one(tmp_path, "run") as lock:
        assert lock.taken is None and lock.is_in_place()
    assert "only one process works in" in caplog.text
