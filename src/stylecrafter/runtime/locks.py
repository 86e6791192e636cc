"""Keeping other processes out of a file or folder, for as long as this one lives and no longer.

The locks are the system's (`flock`): they end with the process, however that ends, and leave nothing behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from stylecrafter.errors import OutputError

try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)


class Lock:
    """The lock of a file or folder, taken if no other process has it.

    Args:
        path: Of the file or folder.
        wait: Until another process gives it back.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self.path = path
        #: Whether it was taken: False where another process has it, None where system or file system keep no locks.
        self.taken: bool | None = None
        self._descriptor: int | None = None
        if fcntl is None:
            return
        self._descriptor = os.open(path, os.O_RDONLY)
        _open.add(self)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            self.taken = True
        except BlockingIOError:
            self.taken = False
        except OSError:
            pass

    def is_in_place(self) -> bool:
        """Whether what was opened still lies at its path: neither removed nor replaced."""
        if self._descriptor is None:
            return self.path.exists()
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        _open.discard(self)


_open: set[Lock] = set()


def _leave_locks_to_the_parent() -> None:
    # A worker process has a copy of the open file: it would keep the lock of a parent that was killed.
    for lock in list(_open):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_locks_to_the_parent)


@contextlib.contextmanager
def only_one(folder: Path, work: str) -> Iterator[Lock]:
    """Keep a second process out of `folder`. It is made where it is missing; one that stays empty is removed again.

    Args:
        folder: Where the work is done.
        work: What errors call it ("batch").

    Raises:
        OutputError: Another process is at work there, or the folder cannot be made or read.
    """
    try:
        new = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot use the folder {os.fspath(folder)!r}: {reason.lower()}.") from error
    try:
        if lock.taken is None:
            logger.warning("there are no locks here: see to it that only one process works in %s", folder)
        elif not lock.taken or not lock.is_in_place():
            # Taken, and yet not in place: the process before removed the folder while this one opened it.
            new = False
            raise OutputError(
                f"another {work} is at work in {folder}: wait for its end, or name another folder."
            )
        yield lock
    finally:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        lock.close()
