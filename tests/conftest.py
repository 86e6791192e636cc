from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is remembered of tests (`generation.places`, hashes of weights) out of the user's cache, and the
    user's styles out of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STYLECRAFTER_STYLES", str(tmp_path_factory.mktemp("styles")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Let what is tested hear signals that a shell without job control, or nohup, has its jobs ignore."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    if before[signal.SIGINT] is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if before[signal.SIGHUP] is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """What is dear to make and only read: `made_once(name, make)` is a folder that one test process fills for all.

    `make` is given the folder, empty, and must leave there what other processes need. Who would write in it copies it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each worker has a folder in that of the session

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, finished = root / "made_once" / name, root / "made_once" / f"{name}.finished"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_name(f"{name}.lock")):
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                folder.mkdir()
                make(folder)
                finished.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def tiny_model(made_once: MadeOnce) -> Path:
    """The folder of a saved `tiny_pipeline`: 3 frames of 24x16, sides in multiples of 4. It is only read."""

    def make(folder: Path) -> None:
        from tests.tiny import tiny_pipeline

        tiny_pipeline().save_pretrained(folder / "toy")

    return made_once("models", make) / "toy"


@pytest.fixture(scope="session")
def world_model(made_once: MadeOnce) -> str:
    """A saved `tiny_pipeline` that says which words of StyleWorld it knows, of 32x32, for studies. It is only read."""

    def make(folder: Path) -> None:
        from stylecrafter.styleworld.splits import SMALL
        from stylecrafter.styleworld.wording import words_of
        from tests.tiny import tiny_pipeline

        sizes = {"default_width": 32, "default_height": 32}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.tiny.WORDS", words_of(SMALL))
            tiny_pipeline(default_style_corners=True, **sizes).save_pretrained(folder)
        (folder / "world.json").write_text(json.dumps({"objects": SMALL.objects}))

    return str(made_once("world model", make))
