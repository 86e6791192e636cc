"""Checkpoints that are whole or not there: written beside, synced, then moved into place."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from stylecrafter.errors import CheckpointError, OutputError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d{8})\.pt")
_UNFINISHED = ".tmp"


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` (tensors, numbers, strings and containers of them) to `path` in one step.

    A process that is killed at any moment leaves the old file or the new one, never a part.

    Raises:
        OutputError: The file cannot be written, on a full disk for example; an old one stays as it is.
    """
    temporary = path.with_suffix(path.suffix + _UNFINISHED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write the checkpoint {path}: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """Why a write failed: torch raises a RuntimeError of its own while it handles the system's error."""
    failed = next((e for e in _chain(error) if isinstance(e, OSError)), None)
    if failed is None:
        return str(error)
    if failed.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({failed.strerror}); make room, then go on with --resume"
    return str(failed)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, tensors only (`weights_only=True`).

    Raises:
        CheckpointError: No such file, or one that cannot be read.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    return state


def newest_readable(paths: Sequence[Path]) -> tuple[Path, dict[str, Any]]:
    """The last of these checkpoints that can be read, with what it holds; a damaged one is reported and passed over.

    Raises:
        CheckpointError: None can be read.
    """
    for path in reversed(paths):
        try:
            return path, load_checkpoint(path)
        except CheckpointError as error:
            if path == paths[0]:
                raise
            logger.warning("%s; going back to the one before", error)
    raise CheckpointError("there is no checkpoint")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"checkpoint-{step:08d}.pt"


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def keep_last(folder: Path, count: int) -> None:
    """Delete all checkpoints but the `count` newest, and what was left of any that were not written to their end."""
    for path in list_checkpoints(folder)[:-count]:
        path.unlink(missing_ok=True)
        logger.debug("deleted %s", path)
    delete_unfinished(folder)


def delete_unfinished(folder: Path) -> None:
    """Delete what processes that were killed while they saved have left in a folder."""
    for path in folder.glob(f"*.pt{_UNFINISHED}"):
        path.unlink(missing_ok=True)
        logger.debug("deleted %s", path)
