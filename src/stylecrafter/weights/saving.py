"""Writing a model folder in one step."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from stylecrafter.errors import OutputError
from stylecrafter.media.files import atomic_folder, probe_beside

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


def check_new_folder(folder: str | os.PathLike[str]) -> Path:
    """Check that a model can be saved as `folder`: it is new or empty, and its parent takes files.

    Raises:
        OutputError: It is not.
    """
    target = Path(folder)
    try:
        if target.exists() and not target.is_dir():
            raise OutputError(f"{target} is a file; a model needs a folder.")
        if target.is_dir() and any(target.iterdir()):
            raise OutputError(f"{target} is not empty: name a new folder.")
        if target.is_mount():
            raise OutputError(f"{target} is a mount point, which cannot be replaced: name a folder in it.")
        probe_beside(Path(os.path.realpath(target)))
    except (OSError, ValueError) as error:
        if isinstance(error, OutputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {target}: {reason}.") from error
    return target


def save_model(pipe: DiffusionPipeline, folder: str | os.PathLike[str]) -> Path:
    """Save a pipeline so that `folder` is either absent or complete, whatever happens on the way.

    Raises:
        OutputError: The folder holds something already, or the disk does not take it.
    """
    return save_whole(folder, lambda part: pipe.save_pretrained(str(part)))


def save_whole(folder: str | os.PathLike[str], write: Callable[[Path], None]) -> Path:
    """Have `write` fill a folder beside `folder`, which takes its place once it is complete.

    Raises:
        OutputError: The folder holds something already, or the disk does not take it.
    """
    target = check_new_folder(folder)
    try:
        with atomic_folder(Path(os.path.realpath(target))) as part:
            write(part)
    except Exception as error:
        # Of a full disk safetensors says so with an exception of its own, and tokenizers with a plain one.
        if not isinstance(error, (OSError, SafetensorError)) and type(error) is not Exception:
            raise
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {target}: {reason}.") from error
    return target
