"""Writing a result so that nobody ever sees half of it.

A result is written to a hidden temporary name in the folder where it belongs, flushed to the disk and renamed into
place. Whatever goes wrong before, an older file of that name is untouched. What a killed process leaves there is
removed by the next one that writes into the folder: who is at work holds a lock on what it writes.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from stylecrafter.errors import OutputError
from stylecrafter.runtime.locks import Lock

_PART = re.compile(r"\..*\.[0-9a-f]{8}\.part", re.DOTALL)
_PROBE_BYTES = 64 * 1024
#: Where a file system keeps no locks, what nobody has written to for so long counts as left behind.
_OLD_SECONDS = 24 * 3600

#: Folders that this process has cleared of what killed ones left.
_cleared: set[Path] = set()


def write_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` in one step, replacing an existing file only once all of it is on the disk.

    Folders on the way are made. A link is followed, so that the file it points to is what changes.

    Returns:
        The path as given.

    Raises:
        OutputError: The folder or the disk does not take the file; an existing file is then unchanged.
    """
    try:
        with atomic_file(path) as file:
            file.write(data)
    except OSError as error:
        raise _output_error(path, error) from error
    return Path(path)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """As `write_atomic`, for what is written bit by bit: a file that becomes `path` at the end of the block.

    Raises:
        OSError: The disk does not take it.
        OutputError: What lies at `path` is no plain file.
    """
    target = real_target(path)
    with _placed(target, _new_file) as part:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(part, target.stat().st_mode & 0o777)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """An empty folder that becomes `target`, which is missing or empty, at the end of the block.

    Raises:
        OSError: The disk does not take it, or there is something at `target`.
    """
    with _placed(target, Path.mkdir) as part:
        yield part
        _sync_tree(part)
        if target.is_dir():
            target.rmdir()


@contextlib.contextmanager
def _placed(target: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new temporary beside `target`, which takes its place at the end of the block."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not for every file: a batch may write thousands into one folder.
    if target.parent not in _cleared:
        _clear(target.parent)
    with _held_part(target, make) as part:
        yield part
        os.replace(part, target)
    _sync_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before a long computation whether `path` can be written, by writing a few bytes beside it.

    What killed processes left in the folder is removed.

    Raises:
        OutputError: It cannot: no permission, no space, a folder or a device in its place.
    """
    try:
        probe_beside(real_target(path))
    except OSError as error:
        raise _output_error(path, error) from error


def probe_beside(target: Path) -> None:
    """Write a few bytes into the folder of `target`, as `check_writable` does.

    Raises:
        OSError: It does not take them.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear(target.parent)
    with _held_part(target, _new_file) as part, open(part, "wb") as file:
        file.write(bytes(_PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())


def is_part(path: Path) -> bool:
    """Whether this is a temporary file or folder of ours, which only a killed process leaves behind."""
    return (
        _PART.fullmatch(path.name) is not None and not path.is_symlink() and (path.is_file() or path.is_dir())
    )


def remove_parts(folder: str | os.PathLike[str]) -> int:
    """Remove what killed processes left of files and folders in `folder`; returns how many there were.

    What a living process is writing stays.
    """
    try:
        parts = [path for path in Path(folder).iterdir() if is_part(path)]
    except OSError:  # a folder that takes files need not show them
        return 0
    return sum(_remove_abandoned(part) for part in parts)


def _clear(folder: Path) -> None:
    remove_parts(folder)
    _cleared.add(folder)


def _remove_abandoned(part: Path) -> bool:
    """Remove a temporary file or folder if nobody is at work on it."""
    try:
        lock = Lock(part)
    except OSError:
        return False
    try:
        abandoned = lock.taken
        if abandoned is None:
            with contextlib.suppress(OSError):
                abandoned = time.time() - part.stat().st_mtime > _OLD_SECONDS
        if abandoned:
            _remove(part)
        return bool(abandoned)
    finally:
        lock.close()


def _remove(part: Path) -> None:
    with contextlib.suppress(OSError):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _held_part(target: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new temporary beside `target`, locked, so that no other process removes it; gone at the end, also on Ctrl-C."""
    while True:
        part = _part_name(target)
        make(part)
        with contextlib.suppress(FileNotFoundError):
            lock = Lock(part, wait=True)
            if lock.is_in_place():
                break
            lock.close()
        # Another process took it for one that was left behind, before it was locked.
    try:
        yield part
    finally:
        # Removed while it is locked; after a successful rename there is nothing left to remove.
        _remove(part)
        lock.close()


def _new_file(part: Path) -> None:
    part.touch(exist_ok=False)


def real_target(path: str | os.PathLike[str]) -> Path:
    """The file that writing to `path` would make or change: links are followed.

    Raises:
        OutputError: There is something there that is no plain file.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    except (OSError, ValueError) as error:
        raise _output_error(path, error) from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"cannot write {os.fspath(path)}: it is a folder; add a file name.")
    if not stat.S_ISREG(mode):
        # Renaming over a device node would replace it by a plain file.
        raise OutputError(f"cannot write {os.fspath(path)}: it is not a plain file.")
    return target


def _part_name(target: Path) -> Path:
    # The name is cut so that a file name near the system's limit of bytes still leaves room for what is added.
    name = os.fsencode(target.name)[:80].decode("utf-8", "ignore")
    return target.with_name(f".{name}.{secrets.token_hex(4)}.part")


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system lets a folder be opened; files are complete anyway."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _output_error(path: str | os.PathLike[str], error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or str(error)
    return OutputError(f"cannot write {os.fspath(path)!r}: {reason[0].lower() + reason[1:]}.")
