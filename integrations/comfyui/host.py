"""What ComfyUI gives its nodes: folders, a progress bar, interruption, memory; or plain stand-ins where it is not."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


@dataclass(frozen=True)
class Place:
    """Where a new result goes.

    Attributes:
        path: Without suffix; nothing is there yet.
        subfolder: Of ComfyUI's output folder, as its page asks for files.
    """

    path: Path
    subfolder: str


def new_place(prefix: str) -> Place:
    """The next free name in ComfyUI's output folder, counted up as its own nodes do."""
    folders = _module("folder_paths")
    if folders is None:
        folder = Path("output", os.path.dirname(prefix))
        name = os.path.basename(prefix)
        counter = 1 + len(list(folder.glob(f"{name}_*_*")))
        subfolder = os.path.dirname(prefix)
    else:
        whole, name, counter, subfolder, _ = folders.get_save_image_path(
            prefix, folders.get_output_directory()
        )
        folder = Path(whole)
    return Place(folder / f"{name}_{counter:05}_", subfolder)


def input_path(text: str) -> Path:
    """A path as it is, or as seen from ComfyUI's input folder."""
    path = Path(os.path.expanduser(text))
    folders = _module("folder_paths")
    return path if path.is_absolute() or folders is None else Path(folders.get_input_directory()) / path


def progress_bar() -> Callable[[int, int], None]:
    """A function that is told how much is done, and of how much."""
    utils = _module("comfy.utils")
    if utils is None:
        return lambda done, total: None
    bar = utils.ProgressBar(1)
    return lambda done, total: bar.update_absolute(done, total)


def raise_if_interrupted() -> None:
    """Raise what ComfyUI expects, where its user has pressed the button."""
    management = _module("comfy.model_management")
    if management is not None:
        management.throw_exception_if_processing_interrupted()


def free_memory() -> None:
    """Take ComfyUI's own models off the accelerator, which our process needs for its model."""
    management = _module("comfy.model_management")
    if management is not None:
        management.unload_all_models()
        management.soft_empty_cache()
