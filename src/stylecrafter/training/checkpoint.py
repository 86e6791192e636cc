"""Checkpoints that are whole or not there: written beside, synced, then moved into place."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from stylecrafter.errors import CheckpointError, InvalidInputError, OutputError
from stylecrafter.media.documents import is_folder
from stylecrafter.media.files import atomic_file
from stylecrafter.training.old_names import todays_checkpoint
from stylecrafter.weights.tensor_files import read_file

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d{8})\.pt")
#: Seconds from the start of a process to its first checkpoint.
FIRST_SAVE_SECONDS = 20.0


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` (tensors, numbers, strings and containers of them) to `path` in one step.

    A process that is killed at any moment leaves the old file or the new one, never a part.

    Raises:
        OutputError: The file cannot be written, on a full disk for example; an old one stays as it is.
    """
    try:
        with atomic_file(path) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
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
    state = read_file(path, "not a readable checkpoint")
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a checkpoint: it holds a {type(state).__name__}")
    return todays_checkpoint(state)


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


def refuse_foreign(path: Path, state: dict[str, Any], stage: str, parameters: Collection[str]) -> None:
    """Check that a checkpoint is of this stage with these parameters.

    Raises:
        InvalidInputError: It is of others.
        CheckpointError: Something is missing.
    """
    weights = state.get("weights")
    names = set(weights) if isinstance(weights, dict) else set()
    if state.get("stage") != stage or names != set(parameters):
        raise InvalidInputError(
            f"{path} is of stage {state.get('stage')!r} with {len(names)} parameters, "
            f"not of {stage!r} with {len(parameters)}; choose another folder"
        )
    missing = {"step", "data", "moments", "ema"} - state.keys()
    if missing:
        raise CheckpointError(f"{path} is not a whole checkpoint: it has no {sorted(missing)[0]!r}")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"checkpoint-{step:08d}.pt"


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first.

    Raises:
        CheckpointError: The folder may not be looked into.
    """
    if not is_folder(folder):
        return []
    try:
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror}") from error


def step_of(path: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(path.stem.removeprefix("checkpoint-"))


def keep_last(folder: Path, count: int, step: int | None = None) -> None:
    """Delete all checkpoints but the `count` newest.

    Args:
        folder: Where they are.
        count: How many stay.
        step: Those after it do not count and stay: one that was passed over as damaged must not outlive a good one.

    Raises:
        OutputError: One cannot be deleted.
    """
    paths = [path for path in list_checkpoints(folder) if step is None or step_of(path) <= step]
    for path in paths[:-count]:
        _delete(path)


def delete_unfinished(folder: Path) -> None:
    """Delete what killed processes of earlier versions, which saved under another name, left in a folder.

    Raises:
        OutputError: One cannot be deleted.
    """
    for path in list(folder.glob("checkpoint-????????.pt.tmp")):
        _delete(path)


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot delete {path}: {error.strerror}") from error
    logger.debug("deleted %s", path)


def save_intervals(minutes: float) -> Iterator[float]:
    """Seconds from one checkpoint to the next: few at first, twice as many each time, then `minutes` for ever.

    Whatever ends a process, about half of its work is saved, or all but the last `minutes`.
    """
    seconds = FIRST_SAVE_SECONDS
    while True:
        yield min(seconds, 60 * minutes)
        seconds = min(2 * seconds, 60 * minutes)
