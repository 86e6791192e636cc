"""Writing a model folder in one step."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stylecrafter.errors import OutputError

if TYPE_CHECKING:
    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline


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
        probe = _beside(target)
        probe.mkdir(parents=True)
        probe.rmdir()
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}.") from error
    return target


def save_model(pipe: StyleCrafterPipeline, folder: str | os.PathLike[str]) -> Path:
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
    part = _beside(target)
    try:
        write(part)
        if target.is_dir():
            target.rmdir()
        os.replace(part, target)
    except Exception as error:
        # safetensors reports a full disk with an exception of its own.
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {target}: {reason}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _beside(target: Path) -> Path:
    real = Path(os.path.realpath(target))
    return real.with_name(f".{real.name}.{secrets.token_hex(4)}.part")
