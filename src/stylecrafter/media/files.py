"""Writing a result so that nobody ever sees half of it.

A result is encoded in memory, written to a hidden temporary name in the folder where it belongs, flushed
to the disk and renamed into place. Whatever goes wrong before, an older file of that name is untouched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from stylecrafter.errors import OutputError

_PART_SUFFIX = ".part"
_PROBE_BYTES = 64 * 1024


def write_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` in one step, replacing an existing file only once all of it is on the disk.

    Folders on the way are made. A link is followed, so that the file it points to is what changes.

    Returns:
        The path as given.

    Raises:
        OutputError: The folder or the disk does not take the file; an existing file is then unchanged.
    """
    target = _real_target(path)
    part = _part_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(part, data)
        if target.exists():
            os.chmod(part, target.stat().st_mode & 0o777)
        os.replace(part, target)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        # Also on Ctrl-C: after a successful rename there is nothing left to remove.
        with contextlib.suppress(OSError):
            part.unlink()
    _sync_folder(target.parent)
    return Path(path)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before a long computation whether `path` can be written, by writing a few bytes beside it.

    Raises:
        OutputError: It cannot: no permission, no space, a folder or a device in its place.
    """
    target = _real_target(path)
    part = _part_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(part, bytes(_PROBE_BYTES))
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def is_part(path: Path) -> bool:
    """Whether this is a temporary file of `write_atomic`, which only a killed process leaves behind."""
    return path.name.startswith(".") and path.suffix == _PART_SUFFIX and path.is_file()


def remove_parts(folder: str | os.PathLike[str]) -> int:
    """Remove temporary files that a killed process left in `folder`; returns how many there were."""
    parts = [path for path in Path(folder).iterdir() if is_part(path)]
    for part in parts:
        part.unlink(missing_ok=True)
    return len(parts)


def _real_target(path: str | os.PathLike[str]) -> Path:
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
    # The name is cut so that a file name near the system's limit still leaves room for what is added.
    return target.with_name(f".{target.name[:80]}.{secrets.token_hex(4)}{_PART_SUFFIX}")


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # Makes the rename itself durable. Not every system lets a folder be opened; the file is complete anyway.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _output_error(path: str | os.PathLike[str], error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or str(error)
    return OutputError(f"cannot write {os.fspath(path)!r}: {reason[0].lower() + reason[1:]}.")
